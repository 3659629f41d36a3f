"""Return-conditioned imitation (RCSL; Kumar et al. 2019, Chen et al. 2021) in RECAP's form: a bit, and no critic.

    I = [ return from the episode's start > epsilon ], epsilon: a fraction of this round's rollouts is positive

A failure's return is -1 whenever it came: where fewer succeeded than that fraction, fewer are positive.

Departure: one bit instead of the return as a number, so that only what the bit is computed from differs from RECAP.
"""

import numpy as np

from rl.advantage import advantage
from rl.advantage.labels import Labels
from rl.algorithms.base import ALGORITHMS, Algorithm
from rl.data.pool import Interventions
from rl.learning.round import Round


@ALGORITHMS.register("return_conditioned")
class ReturnConditioned(Algorithm):
    """All frames of an episode carry one indicator: whether it was among the fastest successes."""

    conditioned = True

    def label(self, data: Round) -> Labels:
        pool, config = data.pool, data.config.label
        score = np.full(len(pool.owner), -1.0)
        for _, part in pool.segments(Interventions(config.interventions)):
            if part.success:
                score[part.start : part.stop] = data.targets.values[part.start]
        tasks = pool.per_frame(pool.task)
        epsilons = advantage.thresholds(score, tasks, data.newest & ~pool.intervention, config.positive_fraction)
        positive = advantage.indicate(score, tasks, epsilons, pool.forced_positive)
        return Labels(positive, np.ones(len(positive), np.float32), epsilons=epsilons)
