"""A watch beside a checkpoint: the value of what its policy sees, and below which forecast an episode goes wrong.

watch.safetensors   the heads of the value, of which the mean counts
watch.json          their sizes, the alarm, and how it did on held-out rollouts

Written by `rl.watch`.

Shapes: F width of the policy's embedding.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from policies.models import companion
from policies.models.value_head import ValueHead
from sim.core.errors import UserError

NAME = "watch"
LOOKS = 5  # whose forecasts are averaged


@dataclass(frozen=True)
class WatchSizes:
    """What the heads are built from."""

    features: int
    hidden: int
    bins: int
    heads: int


@dataclass(frozen=True)
class AlarmConfig:
    """When an episode is taken to go wrong."""

    threshold: float  # of the forecast, in time limits
    limit_steps: int  # the task's time limit
    grasps: bool  # whether the task is done by holding things
    steps_per_unit: float  # what a value of -1 stands for, by `label.convention`

    def in_limits(self, value: float) -> float:
        """Return a value in time limits."""
        return value * (self.steps_per_unit / self.limit_steps)


class Forecast:
    """What the value says the whole episode's return will be: minus elapsed and remaining time, in time limits.

    Where the value is right about a policy, this does not drift while time passes, however long the episode is
    (it is a martingale); it falls when something goes wrong. Below -1 the value expects no success in time.
    """

    def __init__(self, limit_steps: int, steps_per_unit: float):
        """steps_per_unit: what a value of -1 stands for."""
        self._limit_steps, self._limits_per_unit = limit_steps, steps_per_unit / limit_steps
        self._latest: deque[float] = deque(maxlen=LOOKS)

    def reset(self) -> None:
        """Begin an episode."""
        self._latest.clear()

    def add(self, value: float, elapsed_steps: int) -> float:
        """Return the mean over the latest looks, this one included, at which the value was `value`."""
        self._latest.append(value * self._limits_per_unit - elapsed_steps / self._limit_steps)
        return float(np.mean(self._latest))


class Watch(nn.Module):
    """(1, F) embedding -> value in [-1, 0]."""

    def __init__(self, sizes: WatchSizes, alarm: AlarmConfig, seeds: Sequence[Sequence[int]] = ()):
        """seeds: (first, last) of the episodes that it was fitted to, of each dataset."""
        super().__init__()
        self.sizes, self.alarm, self.seeds = sizes, alarm, seeds
        self.heads = nn.ModuleList(ValueHead(sizes.features, sizes.hidden, sizes.bins) for _ in range(sizes.heads))

    @torch.no_grad()
    def value(self, embedding: Tensor) -> float:
        """Return the mean of the heads' values of one look."""
        return float(np.mean([cast(ValueHead, head).values(embedding).item() for head in self.heads]))


def save_watch(root: Path, watch: Watch, about: dict) -> None:
    """Write it beside the checkpoint in `root`. about: how it came about, for people."""
    companion.save(root, NAME, watch, {"sizes": asdict(watch.sizes), "alarm": asdict(watch.alarm), **about})


def load_watch(root: Path | str) -> Watch:
    """Return a checkpoint's watch. UserError when it has none or it is broken."""
    watch = companion.load(
        root, NAME, lambda sizes, alarm, seeds=(), **_: Watch(WatchSizes(**sizes), _alarm_of(alarm), seeds)
    )
    if watch is None:
        raise UserError(
            f"watch=true: {root} has no watch; python -m rl.watch checkpoint={root} rollouts=[DIR] makes one"
        )
    return watch


def _alarm_of(content: dict) -> AlarmConfig:
    """Alarms of before do not say their unit: it was the time limit."""
    return AlarmConfig(**{"steps_per_unit": content["limit_steps"], **content})
