"""What goes wrong with a robot. Both end a run; neither is ever cleared by this project."""

from real.wire.controller_state import ControllerState
from real.wire.state_frame import meaning
from sim.errors import UserError


class RobotFault(UserError):
    """The controller refused or stopped. `code`: what a call returned (state_frame.ERRORS), 0 for none."""

    def __init__(self, what: str, code: int = 0):
        self.code = code
        super().__init__(f"{what}: code {code}, {meaning(code)}" if code else what)


class RobotSilent(UserError):
    """The controller, a camera or the bench does not answer."""


# (main, sub) of the state, another numbering than the return codes of `meaning`. The one pair seen on hardware; the
# others the web page explains.
FAULTS = {(1, 22): "a joint at its soft limit; jog it inside in manual mode"}


def in_full(error: BaseException) -> str:
    """The error and all that was noted beside it, in one line."""
    return "; ".join([str(error), *getattr(error, "__notes__", ())])


def fault_in(state: ControllerState) -> RobotFault | None:
    """The fault or stop that `state` tells of, with its codes and meaning; None when there is none."""
    codes = _codes(state)
    if state.emergency_stop:
        return RobotFault(f"the emergency stop is pressed{codes}; release it, then reset on the web page")
    if state.safety_stop:
        return RobotFault(f"safety stop{codes}", 99)
    if state.collision:
        return RobotFault(f"the controller reports a collision{codes}; look at the arm, then reset on the web page")
    if state.faulted:
        return RobotFault(f"controller fault{codes}; find the cause, then reset on the web page")
    if state.gripper_fault:
        what = f"the gripper reports fault {state.gripper_fault}: it does not answer or cannot do what it was told"
        return RobotFault(f"{what}; see its cable, its 24 V and its manual, then activate it on the web page")
    return None


def _codes(state: ControllerState) -> str:
    """Both codes in brackets, a space before them; "" when both are 0."""
    if not state.faulted:
        return ""
    known = FAULTS.get((state.main_code, state.sub_code), "the web page tells what that is")
    return f" (main {state.main_code} sub {state.sub_code}: {known})"
