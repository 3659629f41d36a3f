"""A policy's random draws as its inputs: what it draws is recorded once, then given from outside."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

DRAWS = (torch.randn, torch.rand)  # all that heads draw when they act


class RecordedNoise(TorchFunctionMode):
    """Within the block, what is drawn is kept in `drawn`, in order, and the functions' names in `by`."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[Tensor] = []
        self.by: list[str] = []

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in DRAWS:
            self.drawn.append(result)
            self.by.append(func.__name__)
        return result


class GivenNoise(TorchFunctionMode):
    """Within the block, nothing is drawn: the tensors are taken instead, in order."""

    def __init__(self, given: Sequence[Tensor]):
        super().__init__()
        self._left = list(given)

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return self._left.pop(0) if func in DRAWS else func(*args, **(kwargs or {}))
