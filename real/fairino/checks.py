"""What a FAIRINO controller is checked for before its arm moves."""

from collections.abc import Iterator

import numpy as np

from real.core.checks import Check
from real.fairino.controller_state import ControllerState
from real.fairino.protocol import AUTOMATIC, OLDEST_RELEASE
from sim.core.errors import UserError
from sim.robots.robot import Robot

MODEL = "FR3"  # as the controller begins its name


def controller_checks(model: str, firmware: str, version: tuple[int, int, int]) -> Iterator[Check]:
    """Yield the checks of what is connected."""
    remedy = "this program drives a FAIRINO FR3; see robot.ip"
    yield Check("controller", f"{model} {firmware}", model.upper().startswith(MODEL), remedy=remedy)
    remedy = f"update the controller to V{'.'.join(map(str, OLDEST_RELEASE))} or later"
    yield Check("release", firmware, version >= OLDEST_RELEASE, remedy=remedy)


def state_checks(state: ControllerState, fault: UserError | None, robot: Robot) -> Iterator[Check]:
    """Yield the checks of the present state. fault: of controller or gripper."""
    remedy = "find the cause, then reset the errors on the controller's web page"
    yield Check("fault", str(fault) if fault else "none", fault is None, remedy=remedy)
    automatic = state.robot_mode == AUTOMATIC
    yield Check("mode", "automatic" if automatic else "manual", automatic, needed_before_power=False)
    yield Check("drives", "on" if state.enabled else "off", state.enabled, needed_before_power=False)
    yield _inside(state.joint_deg, robot)
    remedy = "check its cable and power, then activate it on the controller's web page"
    yield Check("gripper", f"{state.gripper_percent} % open", state.gripper_fault == 0, remedy=remedy)


def _inside(joint_deg: np.ndarray, robot: Robot) -> Check:
    low, high = np.rad2deg(robot.position_min_rad), np.rad2deg(robot.position_max_rad)
    outside = (joint_deg < low) | (joint_deg > high)
    names = ", ".join(np.array(robot.joint_names)[outside])
    reading = f"{np.round(joint_deg, 1).tolist()} deg{f', {names} outside the soft limits' if names else ''}"
    return Check("joints", reading, not outside.any(), remedy="jog the arm inside in manual mode")
