"""The emulated controller's mind: modes, faults and servo semantics, without sockets.

Where the vendor documents nothing (what StopMotion and a lost stream do, main and sub codes of most
faults) the choice is ours: hold the last target; main_code = the error code, which means nothing to
who reads it. A soft limit is main 1 sub 22, as seen on hardware.
"""

import math
import threading
import time

import numpy as np

from real.emulator import kinematics
from real.emulator.collision import CollisionWatch
from real.emulator.drives import Drives
from real.emulator.speed_monitor import Witness
from real.emulator.tooling import Tooling
from real.emulator.twin import Twin
from real.fairino.state_frame import parse_version
from sim.core.errors import UserError
from sim.robots.fairino_fr3 import SERVO_PERIOD_S

OK, BAD_COUNT, BAD_VALUE, FAILED, OVER_STEP, BEYOND_LIMIT = 0, 3, 4, 14, 29, 32
SAFETY_STOP, NOT_ENABLED, OUTSIDE_AT_START, GRIPPER_FAULT = 99, 101, 171, 73
STOPPED_BY_EMERGENCY = 186
IN_DRAG, NOT_MANUAL = 123, 128
CMD_PERIOD_S = (0.001, 0.016)
STEP_TOLERANCE_DEG = 1e-3
OLDEST = (3, 7, 6)
# Older releases refuse MoveGripper in servo mode, V3.9.7 with ServoJ by UDP does not; since when is not known.
GRIPPER_IN_SERVO = (3, 9, 4)
SERVOJ_WITHOUT_START_S = 20.0  # seen on hardware: the call blocks about so long, then fails


class Controller:
    """State of one controller around a twin of the arm. Every method may be called by any thread."""

    def __init__(self, twin: Twin, firmware: str = "3.9.6"):
        self.twin = twin
        self.version = parse_version(firmware)
        if self.version < OLDEST:
            raise UserError(f"firmware={firmware} is older than {'.'.join(map(str, OLDEST))}, the first with this wire")
        self.firmware = firmware if firmware.startswith("V") else f"V{firmware}"
        self.block_s = SERVOJ_WITHOUT_START_S
        self.robot_mode, self.enabled, self.in_servo = 1, False, False
        self.main_code, self.sub_code = 0, 0
        self.emergency_stop = self.safety_stop = self.collided = False
        self.gripper_active, self.dragged = 0, False
        self.gripper_fault = 0  # as the gripper itself reports
        self.servo_calls = 0
        self.speed_percent = 100
        self.low_deg = np.rad2deg(twin.robot.position_min_rad)
        self.high_deg = np.rad2deg(twin.robot.position_max_rad)
        self.top_speed_deg_s = np.rad2deg(twin.robot.max_speed_rad_s)
        present = self.measured_deg()
        self.drives = Drives(present, self.top_speed_deg_s)
        self.tooling = Tooling()
        self.collision = CollisionWatch(present)
        self.witness = Witness(twin.robot)
        self.lock = threading.RLock()
        # Held for a whole cycle, so that a ServoJ does not wait for the physics but a reset does.
        self._cycle = threading.Lock()
        self._settle()

    def _settle(self) -> None:
        """Command what is measured."""
        state = self.twin.state()
        self.drives.reset(np.rad2deg(state[:-1].astype(float)))
        self.collision.reset(self.drives.target_deg)
        self.witness.forget()
        self._opening = self._opening_target = float(state[-1])
        self._opening_speed = self.twin.robot.gripper_speed_per_s

    def measured_deg(self) -> np.ndarray:
        """(6,) as the encoders read."""
        return np.rad2deg(self.twin.state()[:-1].astype(float))

    # ---- the 125 Hz cycle ----------------------------------------------------------------------

    def tick(self, periods: int = 1) -> None:
        """Advance the arm by `periods` of 8 ms towards the last target: it is held without a stream."""
        for _ in range(periods):
            with self._cycle:
                with self.lock:
                    step = self._opening_speed * self.twin.gripper_speed * SERVO_PERIOD_S
                    self._opening += float(np.clip(self._opening_target - self._opening, -step, step))
                    target_deg, opening = self.drives.advance(), self._opening
                    self.witness.saw_command(target_deg)
                self.twin.tick(np.deg2rad(target_deg), opening)
                if self.collision.sees(target_deg, self.measured_deg()):
                    self.collide()

    def readings(self) -> dict:
        """The state as both state ports tell it; names of `state_frame.FRAME` and of CNDE where that has more."""
        with self.lock:
            state, moving = self.twin.state(), self.gripper_moving()
            # Short numbers: the vendor's SDK compares the whole byte sum with 16 bits, and loses a
            # frame of many long ones.
            joint_deg = np.rad2deg(state[:-1])
            flange = kinematics.forward(joint_deg)
            return {
                "program_state": 1, "robot_state": 2 if self.in_motion() else 1, "robot_mode": self.robot_mode,
                "main_code": self.main_code, "sub_code": self.sub_code,
                "joint_deg": joint_deg, "joint_deg_s": np.rad2deg(self.twin.speed_rad_s()).astype(np.float32),
                "tcp_pose": np.array(kinematics.pose_of(flange @ self.tooling.tool_from_flange()), np.float32),
                "flange_pose": np.array(kinematics.pose_of(flange), np.float32),
                "tool": self.tooling.tool, "user": self.tooling.user,
                "emergency_stop": self.emergency_stop, "safety_stop_0": self.safety_stop, "collision": self.collided,
                "motion_done": not self.in_motion(), "queue_length": int(self.drives.path_cycles > 0),
                "gripper_motion_done": not moving, "gripper_active": self.gripper_active,
                "gripper_fault": self.gripper_fault,
                "gripper_position": round(100 * float(state[-1])), "enabled": self.enabled,
                "servo_target_deg": self.drives.goal_deg.astype(np.float32), "servo_count": self.servo_calls,
                "tool_coord": self.tooling.tools[self.tooling.tool],
                "wobj_coord": self.tooling.users[self.tooling.user], "payload": self.tooling.load_kg,
                "pay_cog": self.tooling.load_mm, "collision_level": np.round(self.collision.levels),
            }  # fmt: skip

    def in_motion(self) -> bool:
        return self.in_servo or self.drives.path_cycles > 0

    def gripper_moving(self) -> bool:
        return abs(self._opening - self._opening_target) > 1e-6

    # ---- what clients call: 0 or an error code -------------------------------------------------

    def set_mode(self, mode: int) -> int:
        if mode not in (0, 1):
            return BAD_VALUE
        with self.lock:
            if self.dragged:
                return IN_DRAG
            if mode != self.robot_mode:
                self._stop()
            self.robot_mode = mode
        return OK

    def set_enabled(self, enabled: int) -> int:
        if enabled not in (0, 1):
            return BAD_VALUE
        with self.lock:
            if enabled and (self.emergency_stop or self.main_code):
                return FAILED
            if not enabled:
                self._stop()
            self.enabled = bool(enabled)
        return OK

    def refusal(self) -> int:
        """Why no motion is possible now, or OK."""
        if self.emergency_stop:
            return STOPPED_BY_EMERGENCY
        if self.main_code:
            return FAILED
        if not self.enabled:
            return NOT_ENABLED
        return SAFETY_STOP if self.safety_stop or self.robot_mode != 0 else OK

    def servo_start(self) -> int:
        with self.lock:
            if code := self.refusal():
                return code
            if self.outside(self.measured_deg()):
                return OUTSIDE_AT_START
            if self.drives.path_cycles:
                return FAILED
            if not self.in_servo:
                # An arm that presses on something stands beside its command: the stream begins where it is.
                self.drives.servo(self.measured_deg())
                self.witness.begins()
            self.in_servo = True
        return OK

    def servo_end(self) -> int:
        """Leave servo mode; the last target is still reached."""
        with self.lock:
            self.in_servo = False
        return OK

    def servo_j(self, joint_deg: list, cmd_period_s: float, number: int | None = None, *, waits: bool = True) -> int:
        """A target; `number` as the client counts. Outside servo mode the call blocks (`waits`) and fails."""
        with self.lock:
            if code := self.refusal():
                return code
            if self.in_servo:
                return self._servo_target(joint_deg, cmd_period_s, number)
        if waits:
            time.sleep(self.block_s)
        return FAILED

    def _servo_target(self, joint_deg: list, cmd_period_s: float, number: int | None) -> int:
        if len(joint_deg) != len(self.low_deg):
            return BAD_COUNT
        if not all(map(math.isfinite, joint_deg)) or not CMD_PERIOD_S[0] <= cmd_period_s <= CMD_PERIOD_S[1]:
            return BAD_VALUE
        target = np.array(joint_deg, float)
        if self.outside(target):
            return self._latch(BEYOND_LIMIT, main=1, sub=22)
        if (np.abs(target - self.drives.goal_deg) > self.top_speed_deg_s * cmd_period_s + STEP_TOLERANCE_DEG).any():
            return self._latch(OVER_STEP)
        self.drives.servo(target)
        self.servo_calls += 1
        self.witness.saw_target(self.servo_calls if number is None else number, target)
        return OK

    def drag_teach(self, switch: int) -> int:
        """1: the arm gives way to a hand (`lead`), in manual mode only; 0: it holds where it is."""
        with self.lock:
            if switch and self.robot_mode != 1:
                return NOT_MANUAL
            if self.main_code or not self.enabled:
                return FAILED if self.main_code else NOT_ENABLED
            self.dragged = bool(switch)
            self.drives.brake()
        return OK

    def lead(self, joint_deg: list) -> None:
        """A hand pulls the arm there. RuntimeError when it does not give way."""
        with self.lock:
            if not self.dragged:
                raise RuntimeError("the arm does not give way: DragTeachSwitch is off")
            self.drives.servo(np.clip(np.array(joint_deg, float), self.low_deg, self.high_deg))

    def stop_motion(self) -> int:
        """Brake, and forget what was planned; servo mode stays."""
        with self.lock:
            self.drives.brake()
            self._opening_target = self._opening
        return OK

    def activate_gripper(self, index: int, action: int) -> int:
        """action 0 resets, 1 activates."""
        self.gripper_active = (action == 1) << index  # a bit a gripper
        return OK

    def move_gripper(self, percent: int, speed_percent: int) -> int:
        if not (0 <= percent <= 100 and 0 < speed_percent <= 100):
            return BAD_VALUE
        with self.lock:
            if self.emergency_stop or self.main_code:
                return FAILED
            if not self.gripper_active or (self.in_servo and self.version < GRIPPER_IN_SERVO):
                return GRIPPER_FAULT
            self._opening_target = percent / 100
            self._opening_speed = self.twin.robot.gripper_speed_per_s * speed_percent / 100
        return OK

    def reset_errors(self) -> int:
        with self.lock:
            if self.emergency_stop:
                return FAILED
            self.main_code = self.sub_code = 0
            self.collided = False
            self.collision.reset(self.drives.target_deg)
        return OK

    # ---- what happens to it --------------------------------------------------------------------

    def press_emergency_stop(self) -> None:
        with self.lock:
            self.emergency_stop, self.enabled = True, False
            self._latch(STOPPED_BY_EMERGENCY)

    def release_emergency_stop(self) -> None:
        """The fault stays latched until ResetAllError."""
        with self.lock:
            self.emergency_stop = False

    def set_safety_stop(self, *, active: bool) -> None:
        with self.lock:
            self.safety_stop = active
            if active:
                self._stop()

    def collide(self) -> None:
        """A protective stop for a collision, seen or rehearsed."""
        with self.lock:
            self.collided = True
            self._latch(FAILED)

    def power_off(self) -> None:
        """The box goes dark: the brakes fall, and nothing is enabled when it comes back."""
        with self.lock:
            self._stop()
            self.enabled, self.robot_mode = False, 1
            self.main_code = self.sub_code = 0
            self.collided, self.gripper_active = False, 0

    def place(self, seed: int) -> None:
        """The bench is set up anew and the arm stands at its start pose. RuntimeError in servo mode."""
        with self._cycle, self.lock:
            if self.in_servo:
                raise RuntimeError("the bench cannot be reset while the arm is in servo mode")
            self.twin.reset(seed)
            self._settle()

    def outside(self, joint_deg: np.ndarray) -> bool:
        """Whether a joint is beyond its soft limit."""
        return bool(((joint_deg < self.low_deg - 0.01) | (joint_deg > self.high_deg + 0.01)).any())

    def _latch(self, code: int, main: int = 0, sub: int = 0) -> int:
        self.main_code, self.sub_code = main or code, sub
        self._stop()
        return code

    def _stop(self) -> None:
        self.in_servo = self.dragged = False
        self.drives.brake()
