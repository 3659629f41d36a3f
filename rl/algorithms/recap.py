"""RECAP: label by the advantage of a cross-fitted value, improve by conditioning on the label (see rl/recap.py)."""

from rl.advantage.labels import Labels, advantage_labels
from rl.algorithms.base import ALGORITHMS, Algorithm
from rl.learning.round import Round


@ALGORITHMS.register("recap")
class Recap(Algorithm):
    """All frames, good and bad, each with its indicator; at run time the positive one is asked for, with guidance."""

    conditioned = True

    def label(self, data: Round) -> Labels:
        values = data.fit.values
        return advantage_labels(data.pool, data.targets, values, data.newest, data.time_limits, data.config.label)
