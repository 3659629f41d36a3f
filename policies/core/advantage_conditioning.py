"""Conditioning of a policy on the advantage indicator in training (RECAP, pi*-0.6).

It comes after the state and before the action tokens, so that only action likelihoods depend on it.
It is an input, never a target. Dropped, it is `UNKNOWN`: the unconditional branch of guidance.
"""

import torch

from policies.core.indicator import Indicator

DROPOUT = 0.3  # of the indicators in training (pi*-0.6, appendix F)


def drop(indicator: torch.Tensor, generator: torch.Generator, probability: float = DROPOUT) -> torch.Tensor:
    """Return (B,) int64 indicators with each one replaced by UNKNOWN with `probability`; none is flipped."""
    dropped = torch.rand(indicator.shape, generator=generator) < probability
    return torch.where(dropped.to(indicator.device), int(Indicator.UNKNOWN), indicator)
