"""Errors of a robot. Both end a run; neither is ever cleared by this project."""

from sim.core.errors import UserError


class RobotFault(UserError):
    """The robot refused a command or stopped. `code`: the return value of a call, 0 for none."""

    def __init__(self, what: str, code: int = 0, meaning: str = ""):
        self.code = code
        super().__init__(f"{what}: code {code}, {meaning}" if code else what)


class RobotUnreachable(UserError):
    """The controller, a camera or the bench does not answer."""


def with_notes(error: BaseException) -> str:
    """Return the error and its notes, in one line."""
    return "; ".join([str(error), *getattr(error, "__notes__", ())])
