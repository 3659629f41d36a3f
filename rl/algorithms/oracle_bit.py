"""Control: RECAP with the simulator's truth in place of the learned value. Shows what better labels would give.

    V*(s_t) = -(steps that the clean expert needs from the true state s_t) / T_max,  A and threshold as RECAP's

A frame is positive where the next N steps brought the task nearer to its end than those of other rollouts. The outcome
of the whole episode is `outcome_bit`'s; here it counts only where the window reaches the end. Needs simulated episodes
of a task that the expert plans to its end.
"""

import numpy as np

from rl.advantage.labels import Labels, advantage_labels
from rl.algorithms.base import ALGORITHMS, Algorithm
from rl.data.expert_steps import expert_steps
from rl.learning.round import Round
from rl.value.value_quality import spearman
from sim.core.errors import UserError

LEAST_CORRELATION = 0.5  # of true and actual steps to go over successes


@ALGORITHMS.register("oracle_bit")
class OracleBit(Algorithm):
    """RECAP's labels by the true time to go."""

    conditioned = True

    def label(self, data: Round) -> Labels:
        pool, config = data.pool, data.config
        steps = np.concatenate([expert_steps(dataset, config) for dataset in pool.datasets])
        check_whole_plans(steps, -data.targets.raw, pool.exemplary)
        limit = np.array([config.label.scale(data.time_limits[str(task)]).steps_per_unit for task in pool.task])
        values = np.clip(-steps / pool.per_frame(limit), -1.0, 0.0)
        labels = advantage_labels(pool, data.targets, values, data.newest, data.time_limits, config.label)
        return Labels(labels.positive, labels.weight, labels.advantages, epsilons=labels.epsilons)


def check_whole_plans(steps: np.ndarray, actual: np.ndarray, success: np.ndarray) -> None:
    """UserError where plans do not say how long successes took. All (N,): steps planned and taken, whether what
    followed succeeded."""
    correlation = spearman(steps[success], actual[success]) or 0.0
    if correlation <= LEAST_CORRELATION:
        raise UserError(
            f"algorithm=oracle_bit: planned and taken steps correlate by {correlation:.2f} in the successes, expected "
            f"above {LEAST_CORRELATION}; the expert plans this task part by part"
        )
