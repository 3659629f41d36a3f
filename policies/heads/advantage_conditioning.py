"""The advantage indicator: one definition for training, evaluation and the robot (RECAP, pi*-0.6).

It stands between the state and the action tokens, so that only action likelihoods depend on it. It
is an input, never a target. Dropped, it is `UNKNOWN`: the unconditional branch of guidance.
"""

import enum

import torch

DROPOUT = 0.3  # of the indicators in training (pi*-0.6, appendix F)


class Indicator(enum.IntEnum):
    """What the policy is told of the actions it is asked for."""

    UNKNOWN = 0
    NEGATIVE = 1
    POSITIVE = 2


def drop(indicator: torch.Tensor, generator: torch.Generator, probability: float = DROPOUT) -> torch.Tensor:
    """(B,) int64 indicators with each one replaced by UNKNOWN with `probability`; never flipped."""
    dropped = torch.rand(indicator.shape, generator=generator) < probability
    return torch.where(dropped, int(Indicator.UNKNOWN), indicator)


def from_positive(positive: torch.Tensor) -> torch.Tensor:
    """(B,) bool -> (B,) int64 indicators."""
    return torch.where(positive, int(Indicator.POSITIVE), int(Indicator.NEGATIVE))
