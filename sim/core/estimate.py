"""Where an agent believes that a named thing is, and how sure it is: for people who watch it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """One thing."""

    name: str  # object, target
    pos_w: np.ndarray  # (3,) m
    within_m: float  # horizontally in 95 of 100 cases, by the agent's own estimate
