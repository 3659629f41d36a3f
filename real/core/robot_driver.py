"""What control and work cell need of an arm's driver, and the drivers by the name of their robot.

    @DRIVERS.register("my_arm")
    def open_my_arm(connection: Any) -> RobotDriver: ...

A driver is opened by a file of `real/drivers`, or of a plug-in. The robot is that of `sim.robots`.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from real.core.checks import Check
from real.core.faults import RobotFault
from sim.core.registry import Registry
from sim.robots.robot import Robot


class GripperDriver(Protocol):
    """The gripper at the arm. Openings are 0 closed .. 1 open."""

    needs_pause: bool  # whether it moves only while nothing is streamed

    @property
    def due_in_pause(self) -> bool:
        """Whether a command waits for a pause of the stream."""
        ...

    def move(self, opening: float) -> None:
        """Set the target; returns at once."""

    def move_and_wait(self, opening: float) -> None:
        """Command the target and wait for the answer. RobotFault on refusal."""

    def send_in_pause(self) -> None:
        """Command what waits for a pause, now that nothing is streamed."""

    def refuses_while_streaming(self, error: RobotFault) -> bool:
        """Return whether `error` may come of the stream alone, so that a pause is worth a try."""
        ...

    def clear(self) -> None:
        """Drop what waits to be sent."""


class RobotDriver(Protocol):
    """One controller, owned by one program. Every call has a deadline: RobotUnreachable when it passes, RobotFault
    when the controller refuses or reports a fault; nothing clears a fault."""

    robot: Robot
    model: str
    firmware: str

    @property
    def links(self) -> str:
        """How it is connected, for people."""
        ...

    @property
    def gripper(self) -> GripperDriver: ...

    @property
    def state_age_s(self) -> float:
        """How old the newest state is."""
        ...

    @property
    def powered(self) -> bool:
        """Whether the drives are on."""
        ...

    @property
    def manual(self) -> bool:
        """Whether the controller is in manual mode."""
        ...

    def state(self, at_s: float | None = None) -> tuple[np.ndarray, float]:
        """Return (D,) joints in rad and gripper opening, at `at_s` (monotonic) or now, and their time."""
        ...

    def touch(self, at_s: float | None = None) -> np.ndarray | None:
        """Return what the tool feels (7,), `sim.core.contract.TOUCH_NAMES`, at the time of `state`; None: it does not
        tell."""
        ...

    def watch(self, on_fault: Callable[[RobotFault, float], None] | None) -> None:
        """Call `on_fault(fault, stamp_s)` at a state in which a streamed arm is faulted or not ready; None: no more."""

    def checks(self) -> list[Check]:
        """Return what a person must see before the arm moves; moves nothing."""
        ...

    def raise_fault(self) -> None:
        """Raise RobotFault for a fault in the state, RobotUnreachable for a state that is too old."""

    def power_on(self, speed_percent: int = 100) -> None:
        """Switch the drives on."""

    def activate_gripper(self) -> None:
        """Switch the gripper on, which may move its fingers."""

    def settle(self) -> None:
        """Wait until the arm is still and its state agrees with itself."""

    def start_servo(self) -> np.ndarray:
        """Begin streaming; return the measured joints (joints,) in rad."""
        ...

    def servo(self, joints_rad: np.ndarray) -> None:
        """Send one target (joints,) in rad of the stream, every `robot.servo_period_s`."""

    def stop(self) -> None:
        """Stop the arm and end the stream; returns once that is acknowledged."""

    def set_manual(self, *, on: bool) -> None:
        """Switch between manual and automatic mode."""

    def drag_teach(self, *, on: bool) -> None:
        """Release the arm for a person's hand, or hold it."""

    def close(self) -> None:
        """End threads and close every connection; nothing is sent: what moves is stopped before."""


DRIVERS: Registry[Callable[[Any], RobotDriver]] = Registry("robot driver", package="real.drivers")
