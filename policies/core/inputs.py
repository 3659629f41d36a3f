"""What a policy's network takes: the inputs of B observations, and a batch of training samples.

Shapes: B batch, D state and action dimension, T chunk, L words, G grounded points.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

import torch
from torch import Tensor

Group = TypeVar("Group", bound="TensorGroup")


class TensorGroup:
    """A dataclass of tensors, dictionaries and tuples of tensors, other such dataclasses and None."""

    def to(self: Group, device: torch.device) -> Group:
        """Return a copy on `device`."""
        return self._changed(lambda one: one.to(device))

    def take(self: Group, rows: Tensor) -> Group:
        """Return the samples at these rows, in their order."""
        return self._changed(lambda one: one.take(rows) if isinstance(one, TensorGroup) else one[rows])

    def _changed(self: Group, change: Callable) -> Group:
        return type(self)(**{f.name: _map(getattr(self, f.name), change) for f in fields(self)})  # pyright: ignore[reportArgumentType]

    @classmethod
    def concatenate(cls: type[Group], items: Sequence[Group]) -> Group:
        """Return the samples of several, in order."""
        if len(items) == 1:
            return items[0]
        return cls(**{f.name: _concatenate([getattr(item, f.name) for item in items]) for f in fields(cls)})  # pyright: ignore[reportArgumentType]


@dataclass
class Inputs(TensorGroup):
    """B observations as a network takes them. What a policy does not look at is empty or None."""

    state: Tensor  # (B, D) as measured: rad, gripper opening 0..1
    maps: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)  # camera -> frozen feature maps (B, C, h, w)
    words: Tensor | None = None  # (B, L, W) token states
    word_mask: Tensor | None = None  # (B, L) bool, True at a token
    points: Tensor | None = None  # (B, G, 3 or 4) m: ground truth, or what a frozen fusion found; its error the fourth
    turn: Tensor | None = None  # (B, 2, 4) how object and target are turned, as known or found: `TURN_COLUMNS`
    looked_from: Tensor | None = None  # (B, D) the state at the look, where `state` is a later one
    touch: Tensor | None = None  # (B, 7) what the tool feels with the state, `sim.core.contract.TOUCH_NAMES`
    depth: dict[str, Tensor] = field(default_factory=dict)  # camera -> (B, SIDE, SIDE) m, `core.depth`
    commanded: Tensor | None = None  # (B, D) the last action before the chunk's first step; None: not known
    under_way: Tensor | None = None  # (B, t, D) the chunk's first steps, where they are decided already
    subtask: Tensor | None = None  # (B,) int64, true ones in training, `policies.core.subtasks`; None: to be named
    step: Tensor | None = None  # (B,) int64: which of an instruction's steps is due; None: it is told as a whole
    goal: tuple[Tensor, ...] = ()  # (B, C, h, w) feature maps of a picture of the goal, by the first camera
    before: tuple["Inputs", ...] = ()  # earlier looks, oldest first, for a policy with a memory

    def __len__(self) -> int:
        return len(self.state)

    def on(self, look: "Inputs") -> "Inputs":
        """Return this state and what is under way, on what another look has seen."""
        mine = {name: getattr(self, name) for name in ("state", "touch", "commanded", "under_way")}
        return replace(look, looked_from=look.state, **mine)

    @property
    def pose(self) -> Tensor:
        """(B, 3 D): the state with its sines and cosines."""
        return torch.cat([self.state, self.state.sin(), self.state.cos()], -1)


@dataclass
class Batch(TensorGroup):
    """Training samples."""

    inputs: Inputs
    actions: Tensor  # (B, T, D) absolute targets
    valid: Tensor  # (B, T) bool: within the episode and to be imitated
    indicator: Tensor  # (B,) int64
    points: Tensor  # (B, G, 3) m, ground truth; nan where unknown


def _map(value, change: Callable):
    if isinstance(value, dict):
        return {name: _map(one, change) for name, one in value.items()}
    if isinstance(value, tuple):
        return tuple(_map(one, change) for one in value)
    return value if value is None else change(value)


def _concatenate(values: list):
    first = values[0]
    if isinstance(first, dict):
        return {name: _concatenate([value[name] for value in values]) for name in first}
    if isinstance(first, tuple):
        return tuple(_concatenate(list(parts)) for parts in zip(*values, strict=True))
    if isinstance(first, TensorGroup):
        return type(first).concatenate(values)
    return first if first is None else torch.cat(values)
