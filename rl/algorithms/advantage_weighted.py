"""Advantage-weighted regression (AWR, Peng et al. 2019) with RECAP's value: weighting instead of conditioning.

    w_t = exp(clip((A_t - mean) / std, -CLIP, CLIP) / TEMPERATURE), mean and std over this round's rollouts, by task

Departure: weights are sampling rates instead of factors of the loss, so that no gradient step is nearly empty.
"""

from dataclasses import replace

import numpy as np

from rl.advantage.labels import Labels
from rl.algorithms.base import ALGORITHMS, Algorithm
from rl.algorithms.recap import Recap
from rl.learning.round import Round

TEMPERATURE, CLIP = 1.0, 2.0


@ALGORITHMS.register("advantage_weighted")
class AdvantageWeighted(Algorithm):
    """Every frame without an indicator, drawn the more often the greater its advantage."""

    def label(self, data: Round) -> Labels:
        labels, task = Recap().label(data), data.pool.per_frame(data.pool.task)
        assert labels.advantages is not None
        score = np.zeros(len(task))
        for name in np.unique(task):
            rows = task == name
            reference = labels.advantages[rows & data.newest]
            score[rows] = (labels.advantages[rows] - reference.mean()) / max(reference.std(), 1e-6)
        score[data.pool.forced_positive] = CLIP
        weight = np.exp(np.clip(score, -CLIP, CLIP) / TEMPERATURE).astype(np.float32)
        return replace(labels, positive=np.ones_like(labels.positive), weight=weight)
