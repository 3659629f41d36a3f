"""Control: imitation of the fastest successes, without an indicator. Shows what the outcome alone gives, no value."""

import numpy as np

from rl.advantage.labels import Labels, kept_alone
from rl.algorithms.base import ALGORITHMS, Algorithm
from rl.data.pool import Pool
from rl.learning.round import Round


@ALGORITHMS.register("filtered_imitation")
class FilteredImitation(Algorithm):
    """Of each task the fastest `label.positive_fraction` of all successful episodes, demonstrations among them.

    What the policy did until somebody took over is left out.
    """

    def label(self, data: Round) -> Labels:
        kept = fastest_successes(data.pool, data.config.label.positive_fraction)
        return kept_alone(data.pool.per_frame(kept) & data.pool.exemplary)


def fastest_successes(pool: Pool, fraction: float) -> np.ndarray:
    """bool (E,): successful episodes no longer than the `fraction` quantile of their task's successes."""
    kept = np.zeros(len(pool.length), bool)
    for task in np.unique(pool.task):
        successes = pool.success & (pool.task == task)
        if successes.any():
            longest = np.quantile(pool.length[successes], fraction, method="inverted_cdf")
            kept |= successes & (pool.length <= longest)
    return kept
