"""What a FAIRINO controller is checked for before its arm moves."""

import contextlib
import re
import time
from collections.abc import Iterator

import numpy as np

from real.core.checks import Check
from real.core.faults import RobotFault, RobotUnreachable
from real.fairino.controller_state import ControllerState
from real.fairino.fault_codes import readiness_fault
from real.fairino.protocol import AUTOMATIC, OLDEST_RELEASE
from real.fairino.state_frame import parse_version
from real.fairino.state_link import StateLink
from real.fairino.xmlrpc import RpcLink
from sim.core.errors import UserError
from sim.robots.robot import Robot

MODEL = re.compile(r"FR3(?![0-9A-Z])")  # as the controller begins its name; FR30 and FR3WML are other arms
UPDATE = f"update the controller to V{'.'.join(map(str, OLDEST_RELEASE))} or later"
STEADY_S = 0.5  # enabling passes through manual mode for a moment, which may begin after its answer
LOAD_TOLERANCE_KG, TOOL_TOLERANCE_MM = 0.1, 5.0
LOAD_REMEDY = "enter payload and tool on the controller's web page: its collision detection rests on them"


def await_first_state(states: StateLink, query: RpcLink, timeout_s: float) -> None:
    """Wait for a state. Where none comes, RobotFault if the release is one whose frames are not known, else
    RobotUnreachable."""
    try:
        states.wait_newer(0.0, timeout_s)
    except RobotUnreachable as error:
        release = ""
        with contextlib.suppress(UserError):
            release = str(query.query("GetSoftwareVersion", least=2)[1])
        if release and parse_version(release) < OLDEST_RELEASE:
            raise RobotFault(
                f"the controller's release is {release}: its state frames are unknown; {UPDATE}"
            ) from error
        raise


def await_steady(states: StateLink, timeout_s: float, max_age_s: float) -> bool:
    """Wait until every state of STEADY_S was automatic and enabled; False where that does not come about."""
    since_s = time.monotonic()
    ends_s = since_s + timeout_s
    while time.monotonic() < ends_s:
        state = states.wait_newer(time.monotonic(), max_age_s)
        if readiness_fault(state):
            since_s = state.stamp_s
        elif state.stamp_s - since_s >= STEADY_S:
            return True
    return False


def load_checks(query: RpcLink, robot: Robot) -> Iterator[Check]:
    """Yield what the controller holds for payload and tool; its collision check rests on them."""
    try:
        load_kg = float(query.query("GetTargetPayload", 0, least=1)[0])
        tool_mm = [float(one) for one in query.query("GetTCPOffset", 0, least=3)[:3]]
    except (UserError, TypeError, ValueError) as error:
        yield Check("payload", str(error), good=False, needed_before_power=False, remedy=LOAD_REMEDY)
        return
    reading = f"{load_kg:.2f} kg, the gripper weighs {robot.gripper_kg:.2f} kg"
    near = abs(load_kg - robot.gripper_kg) <= LOAD_TOLERANCE_KG
    yield Check("payload", reading, near, needed_before_power=False, remedy=LOAD_REMEDY)
    wanted_mm = 1e3 * np.array(robot.tcp_from_flange_m)
    reading = f"{np.round(tool_mm, 1).tolist()} mm from the flange, in the description {wanted_mm.round(1).tolist()}"
    close = np.abs(np.array(tool_mm) - wanted_mm).max() <= TOOL_TOLERANCE_MM
    yield Check("tool", reading, bool(close), needed_before_power=False, remedy=LOAD_REMEDY)


def controller_checks(model: str, firmware: str, version: tuple[int, int, int]) -> Iterator[Check]:
    """Yield the checks of what is connected."""
    remedy = "this program drives a FAIRINO FR3; see robot.ip"
    yield Check("controller", f"{model} {firmware}", bool(MODEL.match(model.upper())), remedy=remedy)
    yield Check("release", firmware, version >= OLDEST_RELEASE, remedy=UPDATE)


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


def outside(joint_deg: np.ndarray, robot: Robot) -> str:
    """Return the names of the joints (joints,) in deg that are outside their soft limits."""
    low, high = np.rad2deg(robot.position_min_rad), np.rad2deg(robot.position_max_rad)
    return ", ".join(np.array(robot.joint_names)[(joint_deg < low) | (joint_deg > high)])


def _inside(joint_deg: np.ndarray, robot: Robot) -> Check:
    names = outside(joint_deg, robot)
    reading = f"{np.round(joint_deg, 1).tolist()} deg{f', {names} outside the soft limits' if names else ''}"
    return Check("joints", reading, not names, remedy="jog the arm inside in manual mode")
