"""What takes an instruction of several steps apart: the interface of a planner, and of the step that is due.

A planner is registered in `policies.core.registry.PLANNERS`; `planner=NAME` chooses one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from policies.core.registry import PLANNERS
from sim.core.registry import Choice
from sim.tasks.seen import SeemsDone

Affordance = Callable[[str], float]  # sentence -> how likely a policy does now what it says, 0..1


@dataclass(frozen=True)
class PlannedStep:
    """A sentence that a policy understands by itself."""

    sentence: str
    time_limit_s: float
    seems_done: SeemsDone | None  # by what is seen; None: that cannot be told


class Planner(ABC):
    """Says one step at a time."""

    def check(self, instruction: str) -> None:  # noqa: B027 - one may know only as it goes
        """UserError where an instruction cannot be taken apart, before an arm moves."""

    @abstractmethod
    def next_step(self, instruction: str, done: Sequence[str], affordance: Affordance) -> PlannedStep | None:
        """Return the step that follows the sentences that are done, None where there is none left."""


@dataclass(frozen=True)
class PlannerConfig(Choice):
    """Chooses a planner; subclasses add options."""

    registry = PLANNERS
    name: str = ""

    def build(self) -> Planner | None:
        """Build the planner, None where instructions are not taken apart. UserError when it lacks something."""
        raise NotImplementedError


@PLANNERS.register("none")
@dataclass(frozen=True)
class NoPlanner(PlannerConfig):
    """A policy is told the whole instruction."""

    name: str = "none"

    def build(self) -> None:
        return None
