"""The advantage indicator: one definition for training, evaluation and the robot (RECAP, pi*-0.6).

It comes after the state and before the action tokens, so that only action likelihoods depend on it.
It is an input, never a target. Dropped, it is `UNKNOWN`: the unconditional branch of guidance.
"""

import enum

import torch

from sim.core.errors import UserError, nearest

DROPOUT = 0.3  # of the indicators in training (pi*-0.6, appendix F)


class Indicator(enum.IntEnum):
    """The advantage that the policy is conditioned on."""

    UNKNOWN = 0
    NEGATIVE = 1
    POSITIVE = 2


def drop(indicator: torch.Tensor, generator: torch.Generator, probability: float = DROPOUT) -> torch.Tensor:
    """Return (B,) int64 indicators with each one replaced by UNKNOWN with `probability`; none is flipped."""
    dropped = torch.rand(indicator.shape, generator=generator) < probability
    return torch.where(dropped.to(indicator.device), int(Indicator.UNKNOWN), indicator)


def parse_indicator(name: str) -> Indicator:
    """Return the indicator "positive", "negative" or "unknown". UserError names the nearest."""
    try:
        return Indicator[name.upper()]
    except KeyError:
        raise UserError(nearest(name, [i.name.lower() for i in Indicator], "indicator")) from None
