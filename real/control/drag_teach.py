"""Leading the arm by hand (the controller's drag teach) while an episode is recorded.

The servo stream ends, the controller goes to manual mode and gives way; handing back, it holds, goes
to automatic mode and the stream begins anew where the arm was left. What the arm measures is the
action: `real.workcell.recording` takes it from the reading that follows.
"""

import contextlib

import numpy as np

from real.control.servo_stream import ServoStream
from real.core.faults import RobotSilent
from real.fairino.driver import AUTOMATIC, MANUAL, FairinoDriver
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.guard.motion_guard import MotionGuard
from sim.teleop.device import Command
from sim.teleop.operator import Operator

RELEASE_TRIES = 3  # as long as nothing answers


class HandGuiding:
    """Whether a person holds the arm of one driver now, and the way there and back.

    `active` from before the arm is told to give way until it has answered that it holds again.
    """

    def __init__(self, driver: FairinoDriver, stream: ServoStream):
        self._driver, self._stream = driver, stream
        self.active = False

    def begin(self) -> None:
        """The arm gives way. RobotFault or RobotSilent when the controller refuses or does not answer; it is then told
        to hold, and `active` says whether it answered that.
        """
        self._stream.stop()
        self._driver.set_mode(MANUAL)
        self.active = True  # the answer alone may be lost
        try:
            self._driver.drag_teach(on=True)
        except UserError:
            self.let_go()
            raise

    def end(self) -> None:
        """The arm holds, and is streamed again where it is."""
        self.release()
        self._driver.set_mode(AUTOMATIC)
        self._driver.settle()
        self._stream.start()

    def release(self) -> None:
        """The arm holds; nothing else. RobotFault or RobotSilent, and still active, when it did not answer so."""
        for left in reversed(range(RELEASE_TRIES if self.active else 0)):
            try:
                self._driver.drag_teach(on=False)
            except RobotSilent:
                if not left:
                    raise
            else:
                self.active = False
                return

    def let_go(self) -> None:
        """As `release`, whatever the controller answers."""
        with contextlib.suppress(UserError):
            self.release()


class DragCorrector:
    """Corrects by hand on the arm itself; satisfies `sim.teleop.corrector.Corrector`."""

    reason = "operator by hand"

    def __init__(self, guiding: HandGuiding, operator: Operator, guard: MotionGuard):
        self._guiding, self._operator, self._guard = guiding, operator, guard

    def begin(self, observation: Observation) -> None:
        self._operator.take(Command.GRIPPER)
        self._opening = float(self._guard.sent[-1])
        self._guiding.begin()

    def act(self, observation: Observation) -> np.ndarray:
        """(D,) where the arm is; the gripper as it was told, by turns."""
        for _ in self._operator.take(Command.GRIPPER):
            self._opening = 0.0 if self._opening > 0.5 else 1.0
        return np.array([*observation.state[:-1], self._opening], np.float32)

    def end(self) -> None:
        if self._guiding.active:  # not after a fault let go of it
            self._guiding.end()
