"""When a falling value is an alarm: a threshold from held-out rollouts, and what it would have caught in them.

The threshold of a share is the highest at which at most that share of the successes would have been stopped. Beside
it stands the clock: an alarm after a time that at most that share of the successes took longer than.

Shapes: R autonomous rollouts of a pool that have an outcome.
"""

from dataclasses import dataclass

import numpy as np

from policies.models.watch import Forecast
from rl.advantage.returns import ReturnScale
from rl.data.pool import ROLLOUT, Pool
from sim.core.errors import UserError

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)  # of the successes that are stopped, in the table


@dataclass(frozen=True)
class Watched:
    """The looks of every rollout, from the first to the last."""

    scores: list[np.ndarray]  # (R,) of (looks,): the lower, the worse
    success: np.ndarray  # bool (R,)
    left_s: list[np.ndarray]  # (R,) of (looks,): until the time limit

    def threshold(self, share: float) -> float:
        """Return the highest score below which at most `share` of the successes come, theirs at most."""
        lowest = np.sort([one.min() for one, success in zip(self.scores, self.success, strict=True) if success])
        allowed = int(share * len(lowest) + 1e-9)  # 0.1 of 30 are 3, though the product is less
        return float(lowest[min(allowed, len(lowest) - 1)])

    def row(self, share: float) -> dict:
        """Return the threshold of a share of the successes, and of the failures: the share that an alarm below it
        catches and the median time that is left then, None where it catches none."""
        threshold = self.threshold(share)
        fails = [np.flatnonzero(one < threshold) for one, success in zip(self.scores, self.success, strict=True)
                 if not success]  # fmt: skip
        left_s = [left[low[0]] for low, left in zip(fails, self._of_failures, strict=True) if len(low)]
        return {
            "false_alarms": share, "threshold": threshold, "failures": len(fails),
            "caught": len(left_s) / len(fails) if fails else None,
            "left_s": float(np.median(left_s)) if left_s else None,
        }  # fmt: skip

    @property
    def _of_failures(self) -> list[np.ndarray]:
        return [left for left, success in zip(self.left_s, self.success, strict=True) if not success]


def watched(pool: Pool, values: np.ndarray, execute: int, scale: ReturnScale) -> tuple[Watched, Watched]:
    """Return what an alarm sees of the rollouts at every `execute`-th frame: the forecast of the values (N,), and the
    clock. scale: of the values. UserError where no rollout succeeded."""
    rollouts = np.flatnonzero((pool.source == ROLLOUT) & (pool.length > 0) & ~pool.cut_off)
    success = pool.success[rollouts]
    if not success.any():
        raise UserError(f"none of the {len(rollouts)} rollouts succeeded, expected some: they set the threshold")
    looks = [np.arange(0, pool.length[e], execute) for e in rollouts]
    left_s = [(scale.time_limit_steps - steps) / pool.fps for steps in looks]
    forecasts = [
        _forecast(values[pool.first[e] + steps], steps, scale) for e, steps in zip(rollouts, looks, strict=True)
    ]
    return Watched(forecasts, success, left_s), Watched([-steps.astype(float) for steps in looks], success, left_s)


def _forecast(values: np.ndarray, steps: np.ndarray, scale: ReturnScale) -> np.ndarray:
    forecast = Forecast(scale.time_limit_steps, scale.steps_per_unit)
    return np.array([forecast.add(float(value), int(step)) for value, step in zip(values, steps, strict=True)])
