"""Rewards and returns of every frame of a pool: what the value is fitted to.

Shapes: N frames of a pool, E episodes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rl.advantage.returns import Convention, ReturnScale, normalize, returns, rewards
from rl.data.pool import Interventions, Pool
from sim.core.errors import UserError, nearest
from sim.core.options import SHARE, Options, above, at_least, one_of, option


@dataclass(frozen=True)
class LabelConfig(Options):
    """How returns, advantages and the indicator are computed."""

    lookahead_steps: int = option(20, "N of the advantage; one second", at_least(1))
    positive_fraction: float = option(0.4, "of the frames of the round's rollouts", above(0.0), SHARE)
    convention: str = option(
        "A",
        "A: returns / time limit, clipped at -1; B: / (time limit + fail_cost)",
        one_of(*(c.value for c in Convention)),
    )
    fail_cost: float | None = option(None, "C_fail in steps; null: the time limit", above(0.0))
    interventions: str = option(
        "cut", "cut: the part before an intervention has failed; whole: the paper's way",
        one_of(*(one.value for one in Interventions)),
    )  # fmt: skip

    def scale(self, time_limit_steps: int) -> ReturnScale:
        """Return the scale of a task with this time limit."""
        try:
            return ReturnScale(time_limit_steps, self.fail_cost, Convention(self.convention))
        except ValueError as error:
            raise UserError(f"label.{error}") from error


@dataclass(frozen=True)
class Targets:
    """Rewards and returns."""

    steps: np.ndarray  # (N,) rewards in steps
    raw: np.ndarray  # (N,) returns in steps
    values: np.ndarray  # (N,) returns in [-1, 0]
    value_mask: np.ndarray  # bool (N,) frames the value is fitted to


def compute_targets(pool: Pool, time_limits: Mapping[str, int], config: LabelConfig) -> Targets:
    """Compute rewards and returns of every frame. time_limits: task -> T_max in steps."""
    interventions, n = Interventions(config.interventions), len(pool.owner)
    steps, raw, values = np.zeros(n), np.zeros(n), np.zeros(n)
    for task in np.unique(pool.task):
        if task not in time_limits:
            raise UserError(nearest(str(task), time_limits, "task of a dataset"))
    for e, part in pool.segments(interventions):
        scale, rows = config.scale(time_limits[str(pool.task[e])]), slice(part.start, part.stop)
        steps[rows] = rewards(part.stop - part.start, scale, success=part.success)
        raw[rows] = returns(steps[rows])
        values[rows] = normalize(raw[rows], scale)
    return Targets(steps, raw, values, pool.value_mask(interventions))
