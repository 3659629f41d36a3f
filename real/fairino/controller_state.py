"""The controller's state from one state frame, of either protocol."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ControllerState:
    """Degrees; stamp_s on this machine's monotonic clock, when the frame was received."""

    joint_deg: np.ndarray  # (6,) measured
    joint_deg_s: np.ndarray  # (6,)
    robot_mode: int  # 0 automatic, 1 manual
    enabled: bool
    main_code: int
    sub_code: int
    emergency_stop: bool
    safety_stop: bool
    collision: bool
    gripper_percent: int  # 0 closed, 100 open
    gripper_fault: int
    motion_done: bool
    servo_count: int | None = None  # ServoJ calls accepted so far; None where the frame has no count
    stamp_s: float = 0.0
    gripper_active: int = 0  # bit n: the gripper of index n is active
    gripper_current: int = 0  # percent of its highest
    wrench: np.ndarray | None = None  # (6,) N and N·m in the tool's frame, its weight taken off; None: no force sensor

    @property
    def faulted(self) -> bool:
        return bool(self.main_code or self.sub_code)

    @property
    def must_stop(self) -> bool:
        """A fault or a stop is active: nothing may be streamed."""
        return self.faulted or self.emergency_stop or self.safety_stop or self.collision


def state_of(values: Mapping | np.void, stamp_s: float, servo_count: int | None) -> ControllerState:
    """Return the state in a decoded frame whose fields are named as in `state_frame.FRAME`."""
    return ControllerState(
        joint_deg=values["joint_deg"].copy(),
        joint_deg_s=values["joint_deg_s"].copy(),
        robot_mode=int(values["robot_mode"]),
        enabled=bool(values["enabled"]),
        main_code=int(values["main_code"]),
        sub_code=int(values["sub_code"]),
        emergency_stop=bool(values["emergency_stop"]),
        safety_stop=bool(values["safety_stop_0"] or values["safety_stop_1"]),
        collision=bool(values["collision"]),
        gripper_percent=int(values["gripper_position"]),
        gripper_fault=int(values["gripper_fault"]),
        gripper_active=int(values["gripper_active"]),
        gripper_current=int(values["gripper_current"]),
        wrench=values["ft"].copy() if values["ft_active"] else None,
        motion_done=bool(values["motion_done"]),
        servo_count=servo_count,
        stamp_s=stamp_s,
    )
