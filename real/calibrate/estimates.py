"""Estimates with their uncertainty, and the randomization group that they become."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import yaml

from sim.randomize.ranges import RandomizeConfig, bounds

WIDTH = 2.0  # standard deviations on either side of a mean: 95 % of a normal distribution
HEAD = """\
# Measured on an arm by `python -m real.calibrate`; each range is the mean and {width:g} standard deviations on either
# side, over all joints where there is one per joint. What was not measured is drawn as in `light`.
"""


@dataclass(frozen=True)
class Estimate:
    """Mean and standard deviation, numbers or arrays with one entry per joint."""

    mean: float | np.ndarray
    std: float | np.ndarray

    @property
    def range(self) -> tuple[float, float]:
        """From the lowest to the highest plausible value."""
        half = WIDTH * np.asarray(self.std)
        return float((self.mean - half).min()), float((self.mean + half).max())

    def __str__(self) -> str:
        means, stds = np.atleast_1d(self.mean), np.atleast_1d(self.std)
        return ", ".join(f"{mean:.4g} +- {std:.2g}" for mean, std in zip(means, stds, strict=True))

    def plain(self) -> dict:
        """Return it as plain JSON values."""
        return {"mean": np.asarray(self.mean).tolist(), "std": np.asarray(self.std).tolist()}


def randomization(estimates: Mapping[str, Estimate]) -> str:
    """Return the content of a file for `conf/randomize/`: the estimates that are randomized terms, validated by the
    simulator."""
    terms = {field.name for field in fields(RandomizeConfig)}
    lines = [HEAD.format(width=WIDTH) + "defaults:\n  - light\n  - _self_\n"]
    for name, estimate in estimates.items():
        if name in terms:
            low, high = (round(float(np.clip(end, *bounds(name))), 6) for end in estimate.range)
            lines.append(f"{name}: [{low}, {high}]  # {estimate}")
    text = "\n".join(lines) + "\n"
    RandomizeConfig(**{name: value for name, value in yaml.safe_load(text).items() if name in terms})
    return text
