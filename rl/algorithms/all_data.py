"""Control: imitation on all of RECAP's data, good and bad, without an indicator. Shows what more data alone gives."""

import numpy as np

from rl.advantage.labels import Labels
from rl.algorithms.base import ALGORITHMS, Algorithm
from rl.learning.round import Round


@ALGORITHMS.register("all_data")
class AllData(Algorithm):
    """Every frame counts the same; a constant indicator says nothing."""

    def label(self, data: Round) -> Labels:
        n = len(data.pool.owner)
        return Labels(np.ones(n, bool), np.ones(n, np.float32))
