"""The planner that reads an instruction by the grammar of the tasks alone: the same steps every time."""

from collections.abc import Sequence
from dataclasses import dataclass

from policies.core.planner import Affordance, PlannedStep, Planner, PlannerConfig
from policies.core.registry import PLANNERS
from policies.planner.split import split
from policies.planner.understanding import Understood
from sim.core.errors import UserError
from sim.tasks.base import TASKS


@PLANNERS.register("grammar")
@dataclass(frozen=True)
class GrammarConfig(PlannerConfig):
    """It has no options."""

    name: str = "grammar"

    def build(self) -> "GrammarPlanner":
        return GrammarPlanner()


class GrammarPlanner(Planner):
    """Splits an instruction at the words that join its steps."""

    def check(self, instruction: str) -> None:
        """UserError also where a step that others follow cannot be seen to be done."""
        for one in split(instruction)[:-1]:
            if planned(one).seems_done is None:
                raise UserError(f"{one.sentence!r} is not the last step, and when it is done cannot be seen")

    def next_step(self, instruction: str, done: Sequence[str], affordance: Affordance) -> PlannedStep | None:
        left = split(instruction)[len(done) :]
        return planned(left[0]) if left else None


def planned(one: Understood) -> PlannedStep:
    """Return a sentence as the step that its task makes of it."""
    task = TASKS.get(one.task)
    return PlannedStep(one.sentence, task.time_limit_s, task.seems_done)
