"""The distributional value: which of 201 returns an observation leads to (RECAP, pi*-0.6, section IV-A).

    V(o, l) = sum of bins * p(bin | o, l);  loss = cross-entropy with the two-hot logged return

Departures, because episodes are few and a value that memorizes its data labels noise: a small head on
frozen readings of the policy instead of a second VLM; refitted from scratch instead of from V_pre;
cross-fitted, each frame labelled by a head that has not seen its episode; stopped early on episodes
held out of its training.

Shapes: N frames, E episodes, F reading width, K folds, B batch.
"""

from dataclasses import dataclass

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional as F

from rl.advantage.returns import BINS, CENTERS, two_hot
from sim.core.errors import UserError

CHECK_FRAMES = 6000  # at most, to judge a head by
EVALUATION_BATCH = 4096


@dataclass(frozen=True)
class ValueConfig:
    """Sizes and training of the heads."""

    hidden: int = 256
    dropout: float = 0.3
    folds: int = 3
    batch: int = 512
    steps_per_epoch: int = 100
    max_epochs: int = 20
    patience: int = 3  # epochs without a better held-out loss
    validation_share: float = 0.12  # of a fold's training episodes
    learning_rate: float = 5e-4
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise UserError(
                f"value.folds={self.folds}, expected at least 2: a frame must not be labelled by its own episode"
            )


class ValueHead(nn.Module):
    """Readings -> logits of the bins. Inputs are standardized by the training frames."""

    mean: Tensor
    std: Tensor

    def __init__(self, inputs: int, config: ValueConfig):
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("std", torch.ones(inputs))
        self.net = nn.Sequential(
            nn.Linear(inputs, config.hidden), nn.LayerNorm(config.hidden), nn.SiLU(), nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.hidden), nn.SiLU(), nn.Dropout(config.dropout),
        )  # fmt: skip
        self.out = nn.Linear(config.hidden, BINS)

    def forward(self, readings: Tensor) -> Tensor:
        """(B, F) of any float type -> (B, BINS)."""
        return self.out(self.net(((readings.float() - self.mean) / self.std).clamp(-8, 8)))

    def prepare(self, readings: Tensor, targets: np.ndarray) -> None:
        """Standardize by these frames (N, F); begin with the returns' own distribution."""
        self.mean.copy_(readings.float().mean(0))
        self.std.copy_(readings.float().std(0).clamp(min=1e-3))
        share = torch.from_numpy(two_hot(targets)).mean(0)
        with torch.no_grad():
            self.out.weight.mul_(0.1)
            self.out.bias.copy_((share + 1e-4).log())


@torch.no_grad()
def predict(head: ValueHead, readings: Tensor) -> np.ndarray:
    """(N, F) -> float64 (N,) values in [-1, 0]."""
    head.eval()
    centers = torch.from_numpy(CENTERS).float()
    parts = [head(part).softmax(-1) @ centers for part in readings.split(EVALUATION_BATCH)]
    return torch.cat(parts).double().numpy()


def cross_entropy(head: ValueHead, readings: Tensor, targets: np.ndarray) -> Tensor:
    """Mean over the frames (B,)."""
    return F.cross_entropy(head(readings), torch.from_numpy(two_hot(targets)))


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


@dataclass
class CrossFit:
    """What cross-fitting gives."""

    heads: list[ValueHead]
    values: np.ndarray  # (N,) by the head that has not seen the frame's episode
    in_sample: np.ndarray  # (N,) by one that may have been trained on it
    history: list[dict]  # fold, epochs, train_loss, held_out_loss


def cross_fit(
    readings: Tensor, targets: np.ndarray, teaches: np.ndarray, owner: np.ndarray, fold: np.ndarray,
    config: ValueConfig, seed: int = 0,
) -> CrossFit:  # fmt: skip
    """One head a fold, fitted to the other folds.

    readings (N, F); targets (N,) returns in [-1, 0]; teaches bool (N,) frames to fit to; owner int
    (N,) the episode of each frame; fold int (E,) of each episode.
    """
    values, in_sample, heads, history = np.zeros(len(targets)), np.zeros(len(targets)), [], []
    for k in track(range(config.folds), "value, a head for each fold"):
        own = fold[owner] == k
        head, log = fit_head(readings, targets, teaches & ~own, owner, config, seed + k)
        values[own] = predict(head, readings[own])
        next_fold = fold[owner] == (k + 1) % config.folds
        in_sample[next_fold] = predict(head, readings[next_fold])
        log["held_out_loss"] = _loss(head, readings, targets, np.flatnonzero(own & teaches), seed)
        heads.append(head)
        history.append({"fold": k, **log})
    return CrossFit(heads, values, in_sample, history)


def fit_head(
    readings: Tensor, targets: np.ndarray, usable: np.ndarray, owner: np.ndarray, config: ValueConfig, seed: int
) -> tuple[ValueHead, dict]:
    """A head fitted to the usable frames, as it was when episodes held out of them were predicted best."""
    rng = np.random.default_rng(seed)
    episodes = rng.permutation(np.unique(owner[usable]))
    held = episodes[: max(1, round(config.validation_share * len(episodes)))] if len(episodes) > 1 else episodes
    checks = np.flatnonzero(usable & np.isin(owner, held))
    train = np.flatnonzero(usable & ~np.isin(owner, held)) if len(episodes) > 1 else checks
    torch.manual_seed(seed)  # initial weights and dropout
    head = ValueHead(readings.shape[1], config)
    sample = np.sort(rng.choice(train, min(len(train), 20_000), replace=False))
    head.prepare(readings[sample], targets[sample])
    log = _train(head, readings, targets, train, checks, config, rng)
    return head, log


def _train(head: ValueHead, readings: Tensor, targets: np.ndarray, train: np.ndarray, checks: np.ndarray,
           config: ValueConfig, rng: np.random.Generator) -> dict:  # fmt: skip
    optimizer = torch.optim.AdamW(head.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    best, best_state, waited, epoch = np.inf, head.state_dict(), 0, 0
    while epoch < config.max_epochs and waited < config.patience:
        head.train()
        for _ in range(config.steps_per_epoch):
            frames = rng.choice(train, config.batch)
            optimizer.zero_grad()
            cross_entropy(head, readings[frames], targets[frames]).backward()
            optimizer.step()
        epoch, waited = epoch + 1, waited + 1
        loss = _loss(head, readings, targets, checks, 0)
        if loss < best:
            best, waited = loss, 0
            best_state = {name: value.clone() for name, value in head.state_dict().items()}
    head.load_state_dict(best_state)
    return {"epochs": epoch, "validation_loss": best, "train_loss": _loss(head, readings, targets, train, 0)}


@torch.no_grad()
def _loss(head: ValueHead, readings: Tensor, targets: np.ndarray, frames: np.ndarray, seed: int) -> float:
    """Cross-entropy without dropout on at most CHECK_FRAMES of these frames; nan where there are none."""
    if not len(frames):
        return float("nan")
    head.eval()
    some = np.random.default_rng(seed).permutation(frames)[:CHECK_FRAMES]
    return cross_entropy(head, readings[some], targets[some]).item()
