"""Cross-fitting: each frame gets its value from a head that was not fitted to its episode.

A value that has memorized the return of a frame gives it advantage 0, and its label is noise.

Shapes: N frames, E episodes, F feature width, K folds.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from rl.value.value_head import ValueConfig, ValueHead, fit_head, mean_loss, predict
from sim.core.console import track
from sim.core.errors import UserError


@dataclass
class CrossFit:
    """Heads and their values."""

    heads: list[ValueHead]  # (K,)
    fold: np.ndarray  # int (N,) the fold of each frame's episode; head k was fitted to all others than k
    values: np.ndarray  # (N,) by the head that was not fitted to the frame's episode
    in_sample: np.ndarray  # (N,) by one that may have been
    history: list[dict]  # fold, epochs, train_loss, held_out_loss


def assign_folds(groups: np.ndarray, strata: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """int (E,): a fold for every episode, those of one group (same layout) together, strata spread evenly."""
    names, first = np.unique(groups, return_index=True)
    if len(names) < folds:
        raise UserError(f"{len(names)} different episodes cannot be split into {folds} folds; collect more")
    shuffled = np.random.default_rng(seed).permutation(len(names))
    by_stratum = shuffled[np.argsort(strata[first][shuffled], kind="stable")]
    fold_of = np.empty(len(names), int)
    fold_of[by_stratum] = np.arange(len(names)) % folds
    return fold_of[np.searchsorted(names, groups)]


def cross_fit(
    features: Tensor, targets: np.ndarray, mask: np.ndarray, layout: np.ndarray, fold: np.ndarray,
    config: ValueConfig, seed: int = 0,
) -> CrossFit:  # fmt: skip
    """Fit one head a fold to the other folds.

    features (N, F); targets (N,) returns in [-1, 0]; mask bool (N,) frames to fit to; layout and fold int
    (N,) of each frame's episode: those of one layout begin alike.
    """
    values, in_sample, heads, history = np.zeros(len(targets)), np.zeros(len(targets)), [], []
    for k in track(range(config.folds), "value, a head for each fold"):
        own = fold == k
        head, log = fit_head(features, targets, mask & ~own, layout, config, seed + k)
        values[own] = predict(head, features[own])
        next_fold = fold == (k + 1) % config.folds
        in_sample[next_fold] = predict(head, features[next_fold])
        log["held_out_loss"] = mean_loss(head, features, targets, np.flatnonzero(own & mask), seed)
        heads.append(head)
        history.append({"fold": k, **log})
    return CrossFit(heads, fold, values, in_sample, history)
