"""Control: RECAP with its labels shuffled. Shows what conditioning gives when the label means nothing."""

from dataclasses import replace

import numpy as np

from rl.advantage.labels import Labels
from rl.algorithms.base import ALGORITHMS, Algorithm
from rl.algorithms.recap import Recap
from rl.learning.round import Round


@ALGORITHMS.register("random_bit")
class RandomBit(Algorithm):
    """RECAP's indicators permuted among the frames of each dataset: the positive rates stay, the information goes."""

    conditioned = True

    def label(self, data: Round) -> Labels:
        labels, rng = Recap().label(data), np.random.default_rng([data.config.seed, data.number])
        positive, dataset = labels.positive.copy(), data.pool.per_frame(data.pool.dataset)
        for d in np.unique(dataset):
            rows = dataset == d
            positive[rows] = rng.permutation(positive[rows])
        return replace(labels, positive=positive)
