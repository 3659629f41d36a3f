"""What goes wrong with a robot. Both end a run; neither is ever cleared by this project."""

from real.wire.controller_state import ControllerState
from real.wire.state_frame import meaning
from sim.errors import UserError


class RobotFault(UserError):
    """The controller refused or stopped. `code` as in state_frame.ERRORS, 0 where it gave none."""

    def __init__(self, what: str, code: int = 0):
        self.code = code
        super().__init__(f"{what}: code {code}, {meaning(code)}" if code else what)


class RobotSilent(UserError):
    """The controller, a camera or the bench does not answer."""


def in_full(error: BaseException) -> str:
    """The error and all that was noted beside it, in one line."""
    return "; ".join([str(error), *getattr(error, "__notes__", ())])


def fault_in(state: ControllerState) -> RobotFault | None:
    """The fault or stop that `state` tells of, with its code and meaning; None when there is none."""
    if state.emergency_stop:
        return RobotFault("the emergency stop is pressed; release it, then reset on the web page")
    if state.safety_stop:
        return RobotFault("safety stop", 99)
    if state.collision:
        return RobotFault("the controller reports a collision; look at the arm, then reset on the web page")
    if state.faulted:
        what = f"controller fault main {state.main_code} sub {state.sub_code} ({meaning(state.main_code)})"
        return RobotFault(f"{what}; find the cause, then reset on the web page")
    return None
