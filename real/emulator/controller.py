"""The emulated controller: modes, enabling, faults, servo mode, drag teaching and gripper; no sockets.

Where the vendor documents nothing (what StopMotion and a lost stream do, main and sub codes of most
faults) the choice is ours: hold the last target; main_code = the error code, which means nothing to
a client. A soft limit is main 1 sub 22, as seen on hardware.
"""

import math
import threading
import time

import numpy as np

from real.emulator.collision import CollisionDetector
from real.emulator.drives import Drives
from real.emulator.gripper import Gripper
from real.emulator.inputs_outputs import InputsOutputs
from real.emulator.limit_monitor import LimitMonitor
from real.emulator.tool_frames import ToolFrames
from real.emulator.twin import Twin
from real.fairino.fault_codes import Code
from real.fairino.protocol import AUTOMATIC, MANUAL
from real.fairino.releases import release_of
from sim.core.errors import UserError

CMD_PERIOD_S = (0.001, 0.016)
STEP_TOLERANCE_DEG = 1e-3
LIMIT_TOLERANCE_DEG = 0.01
# Older releases refuse MoveGripper in servo mode, V3.9.7 with ServoJ by UDP does not; since when is not known.
GRIPPER_IN_SERVO = (3, 9, 4)
# How long the state shows manual mode after enabling: seen on hardware, its length is not known.
MANUAL_CYCLES = 12
SERVOJ_WITHOUT_START_S = 20.0  # seen on hardware: the call blocks about so long, then fails


class Controller:
    """State of one controller around a twin of the arm. Every method may be called by any thread.

    What clients call returns 0 or an error code of `Code`.
    """

    def __init__(self, twin: Twin, firmware: str = "3.9.6", *, force_sensor: bool = False):
        """force_sensor: whether there is one between flange and gripper, active from the beginning."""
        self.twin, self.force_sensor = twin, force_sensor
        self.version = release_of(firmware)
        self.firmware = f"V{firmware.lstrip('vV')}"
        self.servo_j_block_s = SERVOJ_WITHOUT_START_S
        self.robot_mode, self.enabled = MANUAL, False
        self.in_servo = self.drag_teach_active = False
        self.main_code, self.sub_code = 0, 0
        self.emergency_stop = self.safety_stop = self.collided = False
        self.servo_calls = 0
        self.cycles = self.reports = 0  # of the drives; of these, whose state has left
        self._manual_until = 0  # cycle
        self.speeds_percent = {MANUAL: 100, AUTOMATIC: 100}
        self.low_deg = np.rad2deg(twin.robot.position_min_rad)
        self.high_deg = np.rad2deg(twin.robot.position_max_rad)
        self.top_speed_deg_s = np.rad2deg(twin.robot.max_speed_rad_s)
        present = self.measured_deg()
        self.drives = Drives(present, self.top_speed_deg_s)
        self.gripper = Gripper(twin.robot.gripper_speed_per_s, 1.0)
        self.outputs = InputsOutputs()
        self.frames = ToolFrames(load_kg=twin.robot.gripper_kg)
        self.collision = CollisionDetector(present)
        self.monitor = LimitMonitor(twin.robot)
        self.lock = threading.RLock()
        # Held for a whole cycle, so that a ServoJ does not wait for the physics but a reset does.
        self._cycle = threading.Lock()
        self._hold_present()

    def _hold_present(self) -> None:
        """Command what is measured."""
        state = self.twin.state()
        self.drives.reset(np.rad2deg(state[:-1].astype(float)))
        self.collision.reset(self.drives.target_deg)
        self.monitor.reset()
        self.gripper.reset(float(state[-1]))

    def measured_deg(self) -> np.ndarray:
        """Return the joints (6,) as the encoders read."""
        return np.rad2deg(self.twin.state()[:-1].astype(float))

    # ---- the 125 Hz cycle ----------------------------------------------------------------------

    def tick(self, periods: int = 1) -> None:
        """Advance the arm by `periods` of 8 ms towards the last target: it is held without a stream."""
        for _ in range(periods):
            with self._cycle:
                self._advance()

    def _advance(self) -> None:
        with self.lock:
            opening = self.gripper.advance(self.twin.gripper_speed)
            target_deg = self.drives.advance()
            self.monitor.record_command(target_deg)
        self.twin.tick(np.deg2rad(target_deg), opening)
        self.cycles += 1
        measured_deg = self.measured_deg()
        with self.lock:
            if self.collision.update(target_deg, measured_deg):
                self.collide()

    def in_motion(self) -> bool:
        return self.in_servo or self.drives.path_cycles > 0

    @property
    def shown_mode(self) -> int:
        """The mode as the state tells it: enabling passes through manual mode for a moment. Commands are accepted."""
        return MANUAL if self.cycles < self._manual_until else self.robot_mode

    # ---- commands of clients -------------------------------------------------------------------

    def set_mode(self, mode: int) -> int:
        if mode not in (AUTOMATIC, MANUAL):
            return Code.WRONG_VALUE
        with self.lock:
            if self.drag_teach_active:
                return Code.IN_DRAG_MODE
            if mode != self.robot_mode:
                self._stop()
            self.robot_mode = int(mode)
        return Code.OK

    def set_enabled(self, enabled: int) -> int:
        if enabled not in (0, 1):
            return Code.WRONG_VALUE
        with self.lock:
            if enabled and (self.emergency_stop or self.main_code):
                return Code.FAILED
            if not enabled:
                self._stop()
            self.enabled = bool(enabled)
            self._manual_until = self.cycles + MANUAL_CYCLES if enabled else 0
        return Code.OK

    def refusal(self, *, automatic: bool = True) -> int:
        """Return why no motion is possible now, or OK. automatic: of a motion that needs automatic mode."""
        if self.emergency_stop:
            return Code.EMERGENCY_STOP
        if self.main_code:
            return Code.FAILED
        if not self.enabled:
            return Code.NOT_ENABLED
        if self.drag_teach_active:
            return Code.IN_DRAG_MODE
        return Code.SAFETY_STOP if self.safety_stop or (automatic and self.robot_mode != AUTOMATIC) else Code.OK

    def servo_start(self) -> int:
        with self.lock:
            if code := self.refusal():
                return code
            if self.outside(self.measured_deg()):
                return Code.OUTSIDE_AT_START
            if self.drives.path_cycles:
                return Code.FAILED
            if not self.in_servo:
                # An arm that presses on something stands beside its command: the stream begins where it is.
                self.drives.servo(self.measured_deg())
                self.monitor.start_stream()
            self.in_servo = True
        return Code.OK

    def servo_end(self) -> int:
        """Leave servo mode; the last target is still reached."""
        with self.lock:
            self.in_servo = False
        return Code.OK

    def servo_j(self, joint_deg: list, cmd_period_s: float, number: int | None = None, *, waits: bool = True) -> int:
        """Take a target; `number` as the client counts. Outside servo mode the call blocks (`waits`) and fails."""
        with self.lock:
            if code := self.refusal():
                return code
            if self.in_servo:
                return self._servo_target(joint_deg, cmd_period_s, number)
        if waits:
            time.sleep(self.servo_j_block_s)
        return Code.FAILED

    def servo_speed(self, speed_deg_s: list, cmd_period_s: float) -> int:
        """Take a target as far from the last one as (6,) speeds reach in one command's period."""
        if len(speed_deg_s) != len(self.low_deg):
            return Code.WRONG_COUNT
        with self.lock:
            target = self.drives.goal_deg + np.array(speed_deg_s, float) * cmd_period_s
            return self.servo_j(target.tolist(), cmd_period_s, waits=False)

    def _servo_target(self, joint_deg: list, cmd_period_s: float, number: int | None) -> int:
        if len(joint_deg) != len(self.low_deg):
            return Code.WRONG_COUNT
        if not all(map(math.isfinite, joint_deg)) or not CMD_PERIOD_S[0] <= cmd_period_s <= CMD_PERIOD_S[1]:
            return Code.WRONG_VALUE
        if not isinstance(number, int | float | None):
            return Code.WRONG_VALUE
        target = np.array(joint_deg, float)
        if self.outside(target):
            return self._latch(Code.BEYOND_LIMIT, main=1, sub=22)
        if (np.abs(target - self.drives.goal_deg) > self.top_speed_deg_s * cmd_period_s + STEP_TOLERANCE_DEG).any():
            return self._latch(Code.SERVOJ_OVERRUN)
        self.drives.servo(target)
        self.servo_calls += 1
        self.monitor.record_target(self.servo_calls if number is None else number, target)
        return Code.OK

    def set_drag_teach(self, switch: int) -> int:
        """Switch drag teaching; 1: the arm follows a hand (`guide`), in manual mode only; 0: it holds where it is."""
        with self.lock:
            if switch and self.robot_mode != MANUAL:
                return Code.NOT_MANUAL_OR_MOVING
            if self.main_code or not self.enabled:
                return Code.FAILED if self.main_code else Code.NOT_ENABLED
            self.drag_teach_active = bool(switch)
            self.drives.brake()
        return Code.OK

    def guide(self, joint_deg: list) -> None:
        """Let a hand lead the arm there. UserError when drag teaching is off or the angles are none."""
        target = np.array(joint_deg, float)
        if target.shape != self.low_deg.shape or not np.isfinite(target).all():
            raise UserError(f"joint_deg={joint_deg}: expected {len(self.low_deg)} angles in deg")
        with self.lock:
            if not self.drag_teach_active:
                raise UserError("the arm does not follow a hand: DragTeachSwitch is off")
            self.drives.servo(np.clip(target, self.low_deg, self.high_deg))

    def stop_motion(self) -> int:
        """Brake and drop what was planned; servo mode stays."""
        with self.lock:
            self.drives.brake()
            self.gripper.stop()
        return Code.OK

    def move_gripper(self, index: int, percent: int, speed_percent: int) -> int:
        with self.lock:
            if self.emergency_stop or self.main_code:
                return Code.FAILED
            if not self.gripper.is_active(index) or (self.in_servo and self.version < GRIPPER_IN_SERVO):
                return Code.GRIPPER_FAULT
            return self.gripper.move(percent, speed_percent)

    def set_limit(self, limit_deg: list, *, positive: bool) -> int:
        """Set the soft limits, inside those of the data sheet."""
        wanted, robot = np.array(limit_deg, float), self.twin.robot
        low, high = np.rad2deg(robot.position_min_rad), np.rad2deg(robot.position_max_rad)
        if wanted.shape != low.shape or not ((low - LIMIT_TOLERANCE_DEG <= wanted) & (wanted <= high + 0.01)).all():
            return Code.WRONG_VALUE
        with self.lock:
            if positive:
                self.high_deg = wanted
            else:
                self.low_deg = wanted
        return Code.OK

    def reset_errors(self) -> int:
        with self.lock:
            if self.emergency_stop:
                return Code.FAILED
            self.main_code = self.sub_code = 0
            self.collided = False
            self.collision.reset(self.drives.target_deg)
        return Code.OK

    # ---- events --------------------------------------------------------------------------------

    def press_emergency_stop(self) -> None:
        with self.lock:
            self.emergency_stop, self.enabled = True, False
            self._latch(Code.EMERGENCY_STOP)

    def release_emergency_stop(self) -> None:
        """Release the button; the fault stays latched until ResetAllError."""
        with self.lock:
            self.emergency_stop = False

    def set_safety_stop(self, *, active: bool) -> None:
        with self.lock:
            self.safety_stop = active
            if active:
                self._stop()

    def collide(self) -> None:
        """Make a protective stop for a collision, detected or injected."""
        with self.lock:
            self.collided = True
            self._latch(Code.FAILED)

    def power_off(self) -> None:
        """Take the control box's power: the brakes engage, and nothing is enabled when it comes back."""
        with self.lock:
            self._stop()
            self.enabled, self.robot_mode = False, MANUAL
            self.main_code = self.sub_code = 0
            self.collided = False
            self.gripper.power_off()

    def place(self, seed: int) -> None:
        """Set the bench up for episode `seed`, the arm at its start pose. UserError in servo mode."""
        with self._cycle, self.lock:
            if self.in_servo:
                raise UserError("the bench cannot be reset while the arm is in servo mode")
            self.twin.reset(seed)
            self._hold_present()

    def outside(self, joint_deg: np.ndarray) -> bool:
        """Return whether a joint is beyond its soft limit."""
        return bool(
            ((joint_deg < self.low_deg - LIMIT_TOLERANCE_DEG) | (joint_deg > self.high_deg + LIMIT_TOLERANCE_DEG)).any()
        )

    def _latch(self, code: Code, main: int = 0, sub: int = 0) -> Code:
        self.main_code, self.sub_code = main or int(code), sub
        self._stop()
        return code

    def _stop(self) -> None:
        self.in_servo = self.drag_teach_active = False
        self.drives.brake()
