"""From recorded episodes to a cross-fitted value of what a policy's embedding shows of them."""

from pathlib import Path

import numpy as np
import torch

from policies.models import checkpoint
from policies.processing.observation import ObservationProcessor
from rl.advantage.targets import Targets
from rl.data.pool import Pool
from rl.value.cross_fit import CrossFit, assign_folds, cross_fit
from rl.value.value_features import value_features
from rl.value.value_head import ValueConfig


def fit_value(
    pool: Pool, targets: Targets, policy_root: Path, config: ValueConfig, seeds: tuple[int, int], workers: int
) -> CrossFit:
    """Fit a value to the pool on embeddings of a checkpoint's policy. seeds: of the folds, of the heads."""
    torch.set_num_threads(workers)
    policy, _ = checkpoint.load(policy_root)
    features = value_features(ObservationProcessor(policy), pool, workers)
    strata = np.unique(np.char.add(pool.source, pool.success.astype(str)), return_inverse=True)[1]
    fold = assign_folds(pool.seed, strata, config.folds, seeds[0])  # a seed is a layout
    layout, fold = pool.per_frame(pool.seed), pool.per_frame(fold)
    return cross_fit(features, targets.values, targets.value_mask, layout, fold, config, seeds[1])
