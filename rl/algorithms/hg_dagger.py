"""HG-DAgger (Kelly et al. 2019): imitation of demonstrations and of the expert's interventions. No value."""

from rl.advantage.labels import Labels, kept_alone
from rl.algorithms.base import ALGORITHMS, Algorithm
from rl.learning.round import Round


@ALGORITHMS.register("hg_dagger")
class HgDagger(Algorithm):
    """Autonomous frames are left out."""

    def label(self, data: Round) -> Labels:
        return kept_alone(data.pool.demonstrated | data.pool.forced_positive)
