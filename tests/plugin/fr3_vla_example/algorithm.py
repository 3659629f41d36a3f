"""An offline RL algorithm of somebody else's: imitate successes alone, shorter ones more often."""

import numpy as np

from rl.advantage.labels import Labels
from rl.algorithms.base import ALGORITHMS, Algorithm
from rl.learning.round import Round


@ALGORITHMS.register("short_successes")
class ShortSuccesses(Algorithm):
    """A frame is drawn in proportion to one over its episode's length; frames of failures never."""

    def label(self, data: Round) -> Labels:
        weight = np.where(data.pool.success, 1.0 / data.pool.length, 0.0)
        n = len(data.pool.owner)
        return Labels(np.ones(n, bool), data.pool.per_frame(weight).astype(np.float32))
