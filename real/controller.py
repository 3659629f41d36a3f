"""The emulated controller's mind: modes, faults and servo semantics, without sockets.

Where the vendor documents nothing (what StopMotion and a lost stream do, main and sub codes of most
faults) the choice is ours: hold the last target; main_code = the error code. A soft limit is main 1
sub 22, as seen on hardware.
"""

import math
import threading
import time

import numpy as np

from real.twin import Twin
from real.wire import encode, frame_bytes, parse_version
from sim.contract import SERVO_PERIOD_S

OK, BAD_COUNT, BAD_VALUE, FAILED, OVER_STEP, BEYOND_LIMIT = 0, 3, 4, 14, 29, 32
SAFETY_STOP, NOT_ENABLED, OUTSIDE_AT_START, GRIPPER_FAULT = 99, 101, 171, 73
STOPPED_BY_EMERGENCY = 186
CMD_PERIOD_S = (0.001, 0.016)
STEP_TOLERANCE_DEG = 1e-3
SERVOJ_WITHOUT_START_S = 20.0  # seen on hardware: the call blocks about so long, then fails


class Controller:
    """State of one controller around a twin of the arm. Every method may be called by any thread."""

    def __init__(self, twin: Twin, firmware: str = "V3.8.7"):
        self.twin = twin
        self.firmware = firmware
        self.version = parse_version(firmware)
        self.block_s = SERVOJ_WITHOUT_START_S
        self.robot_mode, self.enabled, self.in_servo = 1, False, False
        self.main_code, self.sub_code = 0, 0
        self.emergency_stop = self.safety_stop = False
        self.gripper_active = False
        self.servo_calls = 0
        self.speed_percent = 100
        self._lock = threading.RLock()
        # Held for a whole cycle, so that a ServoJ does not wait for the physics but a reset does.
        self._cycle = threading.Lock()
        self._frames = 0
        self._low_deg = np.rad2deg(twin.robot.position_min_rad)
        self._high_deg = np.rad2deg(twin.robot.position_max_rad)
        self._speed_deg_s = np.rad2deg(twin.robot.max_speed_rad_s)
        self._settle()

    def _settle(self) -> None:
        """Command what is measured."""
        state = self.twin.state()
        self._target_deg = np.rad2deg(state[:-1].astype(float))
        self._opening = self._opening_target = float(state[-1])
        self._opening_speed = self.twin.robot.gripper_speed_per_s

    # ---- the 125 Hz cycle ----------------------------------------------------------------------

    def tick(self, periods: int = 1) -> None:
        """Advance the arm by `periods` of 8 ms towards the last target: it is held without a stream."""
        for _ in range(periods):
            with self._cycle:
                with self._lock:
                    step = self._opening_speed * SERVO_PERIOD_S
                    self._opening += float(np.clip(self._opening_target - self._opening, -step, step))
                    target_rad, opening = np.deg2rad(self._target_deg), self._opening
                self.twin.tick(target_rad, opening)

    def frame(self) -> bytes:
        """The state as the state port sends it."""
        with self._lock:
            self._frames += 1
            state, moving = self.twin.state(), self.gripper_moving()
            values = {
                "program_state": 1, "robot_state": 2 if self.in_servo else 1, "robot_mode": self.robot_mode,
                "main_code": self.main_code, "sub_code": self.sub_code,
                "joint_deg": np.rad2deg(state[:-1].astype(float)), "joint_deg_s": np.rad2deg(self.twin.speed_rad_s()),
                "emergency_stop": self.emergency_stop, "safety_stop_0": self.safety_stop,
                "motion_done": not self.in_servo, "gripper_motion_done": not moving,
                "gripper_active": self.gripper_active, "gripper_position": round(100 * float(state[-1])),
                "enabled": self.enabled, "servo_target_deg": self._target_deg, "servo_count": self.servo_calls,
            }  # fmt: skip
            return encode(values, self._frames, frame_bytes(self.version))

    def gripper_moving(self) -> bool:
        return abs(self._opening - self._opening_target) > 1e-6

    # ---- what clients call: 0 or an error code -------------------------------------------------

    def set_mode(self, mode: int) -> int:
        if mode not in (0, 1):
            return BAD_VALUE
        with self._lock:
            self.robot_mode = mode
            self.in_servo = self.in_servo and mode == 0
        return OK

    def set_enabled(self, enabled: int) -> int:
        if enabled not in (0, 1):
            return BAD_VALUE
        with self._lock:
            if enabled and (self.emergency_stop or self.main_code):
                return FAILED
            self.enabled = bool(enabled)
            self.in_servo = self.in_servo and self.enabled
            self._hold()
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
        with self._lock:
            if code := self.refusal():
                return code
            if self._outside(np.rad2deg(self.twin.state()[:-1])):
                return OUTSIDE_AT_START
            self.in_servo = True
        return OK

    def servo_end(self) -> int:
        with self._lock:
            self.in_servo = False
        return OK

    def servo_j(self, joint_deg: list, cmd_period_s: float) -> int:
        with self._lock:
            if code := self.refusal():
                return code
            if self.in_servo:
                return self._servo_target(joint_deg, cmd_period_s)
        time.sleep(self.block_s)
        return FAILED

    def _servo_target(self, joint_deg: list, cmd_period_s: float) -> int:
        if len(joint_deg) != len(self._target_deg):
            return BAD_COUNT
        if not all(map(math.isfinite, joint_deg)) or not CMD_PERIOD_S[0] <= cmd_period_s <= CMD_PERIOD_S[1]:
            return BAD_VALUE
        target = np.array(joint_deg, float)
        if self._outside(target):
            return self._latch(BEYOND_LIMIT, main=1, sub=22)
        if (np.abs(target - self._target_deg) > self._speed_deg_s * cmd_period_s + STEP_TOLERANCE_DEG).any():
            return self._latch(OVER_STEP)
        self._target_deg = target
        self.servo_calls += 1
        return OK

    def stop_motion(self) -> int:
        with self._lock:
            self._opening_target = self._opening
        return OK

    def move_gripper(self, percent: int, speed_percent: int) -> int:
        if not (0 <= percent <= 100 and 0 < speed_percent <= 100):
            return BAD_VALUE
        with self._lock:
            if self.emergency_stop or self.main_code:
                return FAILED
            if not self.gripper_active:
                return GRIPPER_FAULT
            self._opening_target = percent / 100
            self._opening_speed = self.twin.robot.gripper_speed_per_s * speed_percent / 100
        return OK

    def reset_errors(self) -> int:
        with self._lock:
            if self.emergency_stop:
                return FAILED
            self.main_code = self.sub_code = 0
        return OK

    # ---- what happens to it --------------------------------------------------------------------

    def press_emergency_stop(self) -> None:
        with self._lock:
            self.emergency_stop, self.enabled = True, False
            self._latch(STOPPED_BY_EMERGENCY)

    def release_emergency_stop(self) -> None:
        """The fault stays latched until ResetAllError."""
        with self._lock:
            self.emergency_stop = False

    def set_safety_stop(self, *, active: bool) -> None:
        with self._lock:
            self.safety_stop = active
            if active:
                self.in_servo = False
                self._hold()

    def place(self, seed: int) -> None:
        """The bench is set up anew and the arm stands at its start pose. RuntimeError in servo mode."""
        with self._cycle, self._lock:
            if self.in_servo:
                raise RuntimeError("the bench cannot be reset while the arm is in servo mode")
            self.twin.reset(seed)
            self._settle()

    def _latch(self, code: int, main: int = 0, sub: int = 0) -> int:
        self.main_code, self.sub_code = main or code, sub
        self.in_servo = False
        self._hold()
        return code

    def _hold(self) -> None:
        """Brake: command the measured position."""
        self._target_deg = np.rad2deg(self.twin.state()[:-1].astype(float))

    def _outside(self, joint_deg: np.ndarray) -> bool:
        return bool(((joint_deg < self._low_deg - 0.01) | (joint_deg > self._high_deg + 0.01)).any())
