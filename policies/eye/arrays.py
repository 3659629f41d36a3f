"""Geometry in numpy, whose calls cost a fifth of torch's on arrays this small, and in torch where a policy is exported.

Both know the functions that are used here by the same names; this file has those that differ. float64.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

Array = Any  # np.ndarray or Tensor: neither's type fits the other's


def library(array: Array) -> Any:
    """Return the module whose functions take such an array."""
    return torch if isinstance(array, Tensor) else np


def doubles(values: Sequence, *, like: Array) -> Array:
    """Return constants as an array."""
    xp = library(like)
    return xp.asarray(values, dtype=xp.float64)


def eye(size: int, *, like: Array) -> Array:
    """Return the identity matrix."""
    xp = library(like)
    return xp.eye(size, dtype=xp.float64)


def solve_linear(a: Array, b: Array) -> Array:
    """Return x (B, n, m) of a x = b for positive definite a (B, n, n), b (B, n, m) or (n, m).

    In torch by Gauss and Jordan's elimination: ONNX has neither inverse nor solution.
    """
    if library(a) is np:
        return np.linalg.solve(a, b)
    size, unit = a.shape[-1], eye(a.shape[-1], like=a)
    rows = torch.cat([a, b.expand(len(a), -1, -1)], -1)
    for k in range(size):
        pivot = rows[:, k : k + 1] / rows[:, k : k + 1, k : k + 1]
        rows = rows - (rows[:, :, k : k + 1] - unit[:, k : k + 1]) * pivot
    return rows[..., size:]
