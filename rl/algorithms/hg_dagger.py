"""HG-DAgger (Kelly et al. 2019): imitation of demonstrations and of the expert's interventions. No value."""

import numpy as np

from rl.advantage.labels import Labels
from rl.algorithms.base import ALGORITHMS, Algorithm
from rl.data.pool import DEMONSTRATION
from rl.learning.round import Round


@ALGORITHMS.register("hg_dagger")
class HgDagger(Algorithm):
    """Autonomous frames are left out."""

    def label(self, data: Round) -> Labels:
        pool = data.pool
        kept = (pool.per_frame(pool.source) == DEMONSTRATION) | pool.forced_positive
        return Labels(np.ones(len(kept), bool), kept.astype(np.float32))
