"""The share of a batch that one of several processes trains on: together they take the step of one with the whole.

Every process draws the whole batch and the whole of its loss's noise, and keeps the rows of its share. So all hold the
same random state, which one process would hold too: a training may go on with another number of them. The mean of the
shares' losses is the loss of the batch where that is a mean over samples; one over what is known of them (grounded
points, sub-tasks) differs where more is known in one share than in another, as under DistributedDataParallel.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from policies.training.trainer import Loss
from sim.core.errors import UserError

Sample = Callable[[np.random.Generator, int], Any]


@dataclass(frozen=True)
class Share:
    """One of `of` equal shares."""

    index: int = 0
    of: int = 1

    def batches(self, sample: Sample) -> Sample:
        """Return what draws this share of what `sample` draws."""
        if self.of == 1:
            return sample
        return lambda rng, size: sample(rng, size).take(self._rows(size))

    def loss(self, loss: Loss) -> Loss:
        """Return the loss of a batch of this share, on this share of the noise of a whole batch."""
        if self.of == 1:
            return loss

        def own(batch: Any, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
            with _WholeDraws(self, generator):
                return loss(batch, generator)

        return own

    def part(self, whole: Tensor) -> Tensor:
        """Return this share of rows (B, ...)."""
        return whole[self._rows(len(whole))]

    def _rows(self, whole: int) -> Tensor:
        size = whole // self.of
        return torch.arange(self.index * size, (self.index + 1) * size)


class _WholeDraws(TorchFunctionMode):
    """What is drawn by a generator, samples first, is drawn for a whole batch; the share of it is returned."""

    def __init__(self, share: Share, generator: torch.Generator):
        super().__init__()
        self._share, self._generator = share, generator

    def __torch_function__(self, func: Callable, types: Any, args: Sequence = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("generator") is not self._generator:
            return func(*args, **kwargs)
        return self._share.part(func(*_enlarged(func, args, self._share.of), **kwargs))


def _enlarged(func: Callable, args: Sequence, times: int) -> Sequence:
    """Return the arguments of a draw of `times` as many samples. UserError for one that is not known."""
    if func is torch.multinomial:
        chances, samples = args
        return chances, times * samples
    if func not in (torch.rand, torch.randn, torch.randint):
        raise UserError(f"this policy's loss draws by {func.__name__}, which processes cannot share: train in one")
    *limits, shape = args if isinstance(args[-1], Sequence) else (args,)  # or every size an argument of its own
    samples, *rest = shape
    return (*limits, (times * samples, *rest))
