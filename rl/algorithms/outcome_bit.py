"""Control: RECAP's conditioning with the episode's outcome as the indicator. Shows what the value's frame by frame
credit adds."""

import numpy as np

from rl.advantage.labels import Labels
from rl.algorithms.base import ALGORITHMS, Algorithm
from rl.data.pool import Interventions
from rl.learning.round import Round


@ALGORITHMS.register("outcome_bit")
class OutcomeBit(Algorithm):
    """Frames of successful episodes and of interventions in them are positive; before one an episode has failed."""

    conditioned = True

    def label(self, data: Round) -> Labels:
        positive = np.zeros(len(data.pool.owner), bool)
        for _, part in data.pool.segments(Interventions(data.config.label.interventions)):
            positive[part.start : part.stop] = part.success
        return Labels(positive | data.pool.forced_positive, np.ones(len(positive), np.float32))
