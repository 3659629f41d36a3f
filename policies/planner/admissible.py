"""The sentences that an instruction may mean: every task's first one, about the things that the instruction names."""

import itertools

from policies.planner.understanding import (
    TOO,
    Understood,
    kinds_of,
    named_in,
    templates_of,
    things_in,
)
from sim.tasks.base import TASKS, single_step_tasks
from sim.tasks.instructions import WORD_KINDS, thing


def admissible(instruction: str) -> list[Understood]:
    """Return sentences about the things named, of tasks that can be seen to be done; [] where nothing is named."""
    named = list(dict.fromkeys(named_in(instruction)))
    return [one for task in single_step_tasks() if TASKS.get(task).seems_done for one in _about(task, named)]


def _about(task: str, named: list[str]) -> list[Understood]:
    """Return a task's first sentence about each choice of named things, no thing twice."""
    template = templates_of(task)[0]
    roles = [role.removesuffix(TOO) for role in things_in(template)]
    choices = [_fitting(kinds_of(role, task), named) for role in roles]
    chosen = [dict(zip(roles, things, strict=True)) for things in itertools.product(*choices)]
    different = [one for one in chosen if len(set(one.values())) == len(roles)]
    return [Understood(template.format(**one, **{f"{k}{TOO}": v for k, v in one.items()}), task) for one in different]


def _fitting(kinds: tuple[str, ...], named: list[str]) -> list[str]:
    """Return those of the things that are of these kinds, by the first word for it: "red cube" of "red block"."""
    found = []
    for colour, word in (one.split() for one in named):
        found += [thing(colour, kind) for kind in WORD_KINDS[word] if kind in kinds]
    return found
