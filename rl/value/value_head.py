"""The distributional value: which of 201 returns an observation leads to (RECAP, pi*-0.6, section IV-A).

    V(o, l) = sum of bins * p(bin | o, l);  loss = cross-entropy with the two-hot logged return

Departures, because episodes are few and a value that memorizes its data labels noise: a small head on
frozen embeddings of the policy instead of a second VLM; fitted from scratch instead of from V_pre;
stopped early on episodes held out of its training.

Shapes: N frames, F feature width, B batch.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from policies.models.value_head import ValueHead
from rl.advantage.returns import BINS, two_hot
from sim.core.errors import UserError
from sim.core.options import SHARE, Options, above, at_least, option

CHECK_FRAMES = 6000  # at most, for a loss without gradient
EVALUATION_BATCH = 4096


@dataclass(frozen=True)
class ValueConfig(Options):
    """Sizes and training of the heads."""

    hidden: int = option(256, "width", at_least(1))
    dropout: float = option(0.3, "of hidden units, in training", SHARE)
    folds: int = option(3, "each frame is labelled by a head that was not fitted to its episode", at_least(2))
    batch: int = option(512, "frames", at_least(1))
    steps_per_epoch: int = option(100, "gradient steps between two checks of the held-out loss", at_least(1))
    max_epochs: int = option(20, "at most", at_least(1))
    patience: int = option(3, "epochs without a better held-out loss", at_least(1))
    validation_share: float = option(0.12, "of a fold's training episodes", SHARE)
    learning_rate: float = option(5e-4, "of AdamW", above(0.0))
    weight_decay: float = option(0.01, "of AdamW", at_least(0.0))


def _prepare(head: ValueHead, features: Tensor, targets: np.ndarray) -> None:
    """Standardize by these frames (N, F); begin with the returns' own distribution."""
    head.mean.copy_(features.float().mean(0))
    head.std.copy_(features.float().std(0).clamp(min=1e-3))
    share = torch.from_numpy(two_hot(targets)).mean(0)
    with torch.no_grad():
        head.out.weight.mul_(0.1)
        head.out.bias.copy_((share + 1e-4).log())


@torch.no_grad()
def predict(head: ValueHead, features: Tensor) -> np.ndarray:
    """(N, F) -> float64 (N,) values in [-1, 0]."""
    head.eval()
    return torch.cat([head.values(part) for part in features.split(EVALUATION_BATCH)]).double().numpy()


def cross_entropy(head: ValueHead, features: Tensor, targets: np.ndarray) -> Tensor:
    """Return the mean over the frames (B,)."""
    return F.cross_entropy(head(features), torch.from_numpy(two_hot(targets)))


def fit_head(
    features: Tensor, targets: np.ndarray, usable: np.ndarray, layout: np.ndarray, config: ValueConfig, seed: int
) -> tuple[ValueHead, dict]:
    """Fit a head to the usable frames; return it at its lowest loss on layouts held out of them, and a log.

    features (N, F); targets (N,) in [-1, 0]; usable bool (N,); layout int (N,) of each frame's episode: a corrected one
    begins as the failed one did. UserError when the loss is never a finite number.
    """
    rng = np.random.default_rng(seed)
    layouts = rng.permutation(np.unique(layout[usable]))
    most = max(len(layouts) - 1, 1)  # something is left to fit to
    held = layouts[: min(max(1, round(config.validation_share * len(layouts))), most)]
    checks = np.flatnonzero(usable & np.isin(layout, held))
    train = np.flatnonzero(usable & ~np.isin(layout, held)) if len(layouts) > 1 else checks
    torch.manual_seed(seed)  # initial weights and dropout
    head = ValueHead(features.shape[1], config.hidden, BINS, config.dropout)
    sample = np.sort(rng.choice(train, min(len(train), 20_000), replace=False))
    _prepare(head, features[sample], targets[sample])
    log = _train(head, features, targets, train, checks, config, rng)
    return head, log


def _train(head: ValueHead, features: Tensor, targets: np.ndarray, train: np.ndarray, checks: np.ndarray,
           config: ValueConfig, rng: np.random.Generator) -> dict:  # fmt: skip
    optimizer = torch.optim.AdamW(head.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    best, best_state, waited, epoch = np.inf, head.state_dict(), 0, 0
    while epoch < config.max_epochs and waited < config.patience:
        head.train()
        for _ in range(config.steps_per_epoch):
            frames = rng.choice(train, config.batch)
            optimizer.zero_grad()
            cross_entropy(head, features[frames], targets[frames]).backward()
            optimizer.step()
        epoch, waited = epoch + 1, waited + 1
        loss = mean_loss(head, features, targets, checks, 0)
        if loss < best:
            best, waited = loss, 0
            best_state = {name: value.clone() for name, value in head.state_dict().items()}
    if not np.isfinite(best):
        raise UserError(
            f"the value's held-out loss is never a finite number with value.learning_rate={config.learning_rate:g}; "
            "expected a lower rate"
        )
    head.load_state_dict(best_state)
    return {"epochs": epoch, "validation_loss": best, "train_loss": mean_loss(head, features, targets, train, 0)}


@torch.no_grad()
def mean_loss(head: ValueHead, features: Tensor, targets: np.ndarray, frames: np.ndarray, seed: int) -> float:
    """Return the cross-entropy without dropout on at most CHECK_FRAMES of these frames; nan where there are none."""
    if not len(frames):
        return float("nan")
    head.eval()
    some = np.random.default_rng(seed).permutation(frames)[:CHECK_FRAMES]
    return cross_entropy(head, features[some], targets[some]).item()
