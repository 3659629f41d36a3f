"""The controller's error codes and their meaning: of return values, and of the faults in its state."""

from enum import IntEnum

from real.core.faults import RobotFault
from real.fairino.controller_state import ControllerState
from real.fairino.protocol import AUTOMATIC


class Code(IntEnum):
    """The return values that this project sends, compares or emulates; `ERRORS` explains these and others."""

    OK = 0
    WRONG_COUNT = 3
    WRONG_VALUE = 4
    FAILED = 14
    COMPUTATION_FAILED = 25
    SERVOJ_OVERRUN = 29
    BEYOND_LIMIT = 32
    WRONG_WORK_OBJECT = 34
    WRONG_TOOL = 37
    SINGULAR = 38
    WRONG_SPEED = 40
    NO_FORCE_SENSOR = 59
    GRIPPER_FAULT = 73
    WAIT_TIMEOUT = 76
    SAFETY_STOP = 99
    NOT_ENABLED = 101
    UNREACHABLE = 112
    IN_DRAG_MODE = 123
    NOT_MANUAL_OR_MOVING = 128
    OUTSIDE_AT_START = 171
    EMERGENCY_STOP = 186
    COLLISION_LEVEL = 187


UNKNOWN_METHOD, WRONG_ARITY = -506, -502  # XML-RPC faults
ERRORS = {
    3: "wrong number of parameters", 4: "a parameter's value is not allowed", 14: "execution failed",
    18: "a program is running", 25: "computation failed", 28: "inverse kinematics failed",
    29: "ServoJ joint overrun: the step is faster than the arm",
    30: "fault that cannot be reset: power-cycle the control box",
    31: "emergency stop was released: power-cycle the control box",
    32: "joint beyond its limit", 34: "wrong work object number", 37: "wrong tool number", 38: "singular pose",
    40: "wrong speed percentage", 42: "posture changes along the line", 59: "force sensor not active",
    64: "not queued", 73: "gripper motion fault", 74: "wrong line point", 75: "wrong channel", 76: "wait timed out",
    99: "safety stop active (or not in automatic mode, or the web page holds control)", 101: "not enabled",
    112: "target unreachable", 122: "joint torque limit", 123: "leave drag mode first",
    128: "not in manual mode or not stopped", 154: "wrong joint command point",
    171: "the joints must start inside the soft limits", 182: "physical speed limit",
    183: "physical acceleration limit", 185: "stopped by an error", 186: "stopped by the emergency stop",
    187: "collision level too low", 193: "torque control speed limit", 194: "torque control power limit",
    203: "RS485 of the tool", 204: "command queue full",
}  # fmt: skip


def meaning(code: int) -> str:
    """Return the meaning of an error code of the controller."""
    return ERRORS.get(code, "a code that is not in our table; see the controller's manual")


class ControllerFault(RobotFault):
    """The FAIRINO controller refused or stopped. `code`: what a call returned (ERRORS), 0 for none."""

    def __init__(self, what: str, code: int = 0):
        super().__init__(what, code, meaning(code))


# (main, sub) of the state, numbered differently from the return codes of `meaning`. The one pair seen on hardware; the
# web page explains the others.
FAULTS = {(1, 22): "a joint at its soft limit; jog it inside in manual mode"}


def fault_in(state: ControllerState) -> ControllerFault | None:
    """Return the fault or stop in `state`, with its codes and meaning; None when there is none."""
    codes = _codes(state)
    if state.emergency_stop:
        return ControllerFault(f"the emergency stop is pressed{codes}; release it, then reset on the web page")
    if state.safety_stop:
        return ControllerFault(f"safety stop{codes}", Code.SAFETY_STOP)
    if state.collision:
        return ControllerFault(
            f"the controller reports a collision{codes}; look at the arm, then reset on the web page"
        )
    if state.faulted:
        return ControllerFault(f"controller fault{codes}; find the cause, then reset on the web page")
    if state.gripper_fault:
        what = f"the gripper reports fault {state.gripper_fault}: it does not answer or cannot move"
        return ControllerFault(f"{what}; check its cable, its 24 V and its manual, then activate it on the web page")
    return None


def _codes(state: ControllerState) -> str:
    """Return both codes in brackets, a space before them; "" when both are 0."""
    if not state.faulted:
        return ""
    known = FAULTS.get((state.main_code, state.sub_code), "the web page explains it")
    return f" (main {state.main_code} sub {state.sub_code}: {known})"


def readiness_fault(state: ControllerState) -> ControllerFault | None:
    """Return the fault of an arm whose drives or mode were switched while it was streamed; None when it is ready."""
    if not state.enabled:
        return ControllerFault("the drives went off while the arm was moving", Code.NOT_ENABLED)
    if state.robot_mode != AUTOMATIC:
        return ControllerFault("the controller left automatic mode while the arm was moving")
    return None
