"""What goes wrong with a robot. Both end a run; neither is ever cleared by this project."""

from real.wire import meaning
from sim.errors import UserError


class RobotFault(UserError):
    """The controller refused or stopped. `code` as in wire.ERRORS, 0 where it gave none."""

    def __init__(self, what: str, code: int = 0):
        self.code = code
        super().__init__(f"{what}: code {code}, {meaning(code)}" if code else what)


class RobotSilent(UserError):
    """The controller, a camera or the bench does not answer."""
