"""Hand guiding (the controller's drag teaching) while an episode is recorded.

The servo stream ends, the controller goes to manual mode and releases the arm; afterwards it holds, goes
to automatic mode and the stream starts again where the arm was left. The measured position is the
action: `real.workcell.recording` takes it from the following frame.
"""

import contextlib
from collections.abc import Callable

import numpy as np

from real.control.servo_stream import ServoStream
from real.core.faults import RobotFault, RobotUnreachable
from real.core.robot_driver import RobotDriver
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.guard.motion_guard import MotionGuard
from sim.teleop.device import Command
from sim.teleop.operator import Operator

HOLD_TRIES = 3  # while nothing answers


class HandGuiding:
    """Drag teaching of one driver's arm.

    active: from before the arm is released until it has acknowledged that it holds again.
    raise_halt: raises where a stop was requested: no stream runs meanwhile that would remember it.
    """

    def __init__(self, driver: RobotDriver, stream: ServoStream, raise_halt: Callable[[], None]):
        self._driver, self._stream, self._raise_halt = driver, stream, raise_halt
        self.active = False
        self._manual = False  # the controller may be in manual mode

    def begin(self) -> None:
        """Release the arm. RobotFault or RobotUnreachable when the controller refuses or does not answer; the arm is
        then commanded to hold, and `active` shows whether that was acknowledged. As `ServoStream.pause` and
        `raise_halt` before it is released.
        """
        self._stream.pause()
        self._manual = True
        self._driver.set_manual(on=True)
        self._raise_halt()
        self.active = True  # the command may have arrived although its answer was lost
        try:
            self._driver.drag_teach(on=True)
        except UserError:
            self.hold_quietly()
            raise

    def end(self) -> np.ndarray:
        """Hold the arm and stream to it again where it is: (joints,) rad. As `raise_halt`."""
        self.hold()
        self.leave_manual()
        self._driver.settle()
        self._raise_halt()
        self._stream.start()
        self._raise_halt()  # a stop that came before the stream had started is not one of the stream's
        return self._stream.commanded_rad

    def raise_if_ended(self) -> None:
        """Raise RobotFault where a released arm no longer gives way: its drives are off, or manual mode was left."""
        if self.active and not self._driver.powered:
            raise RobotFault("the drives went off while a person led the arm")
        if self.active and not self._driver.manual:
            raise RobotFault("the controller left manual mode while a person led the arm")

    def hold(self) -> None:
        """Hold the arm, nothing else. RobotFault or RobotUnreachable, and still active, without an acknowledgement.

        A refusal with the drives off, as after an emergency stop, is none: the brakes hold the arm.
        """
        for left in reversed(range(HOLD_TRIES if self.active else 0)):
            try:
                self._driver.drag_teach(on=False)
            except RobotUnreachable:
                if not left:
                    raise
            except RobotFault:
                if self._driver.powered:
                    raise
                self.active = False
                return
            else:
                self.active = False
                return

    def leave_manual(self) -> None:
        """Return to automatic mode, also where an episode ended while the arm was led. RobotFault when that
        is refused."""
        if self._manual:
            self._driver.set_manual(on=False)
            self._manual = False

    def hold_quietly(self) -> None:
        """Hold the arm as `hold` does, whatever the controller answers."""
        with contextlib.suppress(UserError):
            self.hold()


class DragCorrector:
    """Interventions by guiding the arm by hand; satisfies `sim.teleop.corrector.Corrector`.

    look: a new observation.
    """

    reason = "operator by hand"

    def __init__(self, guiding: HandGuiding, operator: Operator, guard: MotionGuard, look: Callable[[], Observation]):
        self._guiding, self._operator, self._guard, self._look = guiding, operator, guard, look

    def begin(self, observation: Observation) -> None:
        self._operator.take(Command.GRIPPER)
        self._opening = float(self._guard.sent[-1])
        self._guiding.begin()

    def act(self, observation: Observation) -> np.ndarray:
        """Return the measured arm (D,); the gripper toggles with its key."""
        for _ in self._operator.take(Command.GRIPPER):
            self._opening = 0.0 if self._opening > 0.5 else 1.0
        return np.array([*observation.state[:-1], self._opening], np.float32)

    def end(self, observation: Observation) -> Observation:
        """Let the guard go on from where the person left the arm, not from where it had followed to."""
        if not self._guiding.active:  # a fault ended it
            return observation
        self._guard.rebase(np.array([*self._guiding.end(), self._opening], np.float32))
        return self._look()
