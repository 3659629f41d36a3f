"""Control: imitation of the frames that RECAP labels positive. Shows what selection alone gives, no conditioning."""

from dataclasses import replace

import numpy as np

from rl.advantage.labels import Labels
from rl.algorithms.base import ALGORITHMS, Algorithm
from rl.algorithms.recap import Recap
from rl.learning.round import Round


@ALGORITHMS.register("positives_only")
class PositivesOnly(Algorithm):
    """RECAP's positive frames, without an indicator."""

    def label(self, data: Round) -> Labels:
        labels = Recap().label(data)
        return replace(labels, positive=np.ones_like(labels.positive), weight=labels.positive.astype(np.float32))
