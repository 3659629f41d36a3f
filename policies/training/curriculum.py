"""Curriculum: training begins with the easiest data and takes in what is harder by and by.

After Bengio et al. 2009, "Curriculum Learning": the weights of harder samples grow until all have their own. Departure:
what is harder is said by the order of the datasets, as a person knows what was recorded; the paper scores every sample.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from policies.core.inputs import Batch
from policies.processing.data import EpisodeTable, TrainingData


@dataclass(frozen=True)
class Curriculum:
    """Batches of datasets that come in one after another, each at an even pace."""

    data: TrainingData
    order: Sequence[int]  # of its datasets, the easiest first
    steps: float  # until all are in

    @property
    def tables(self) -> Sequence[EpisodeTable]:
        """The datasets."""
        return self.data.tables

    def at(self, step: Callable[[], int]) -> Callable[[np.random.Generator, int], Batch]:
        """Return what draws a batch of the step that `step` says: a resumed training draws what it would have drawn."""
        return lambda rng, size: self.data.sample(rng, size, self.shares(step()))

    def shares(self, step: int) -> np.ndarray:
        """Return the share of each dataset at a step: the easiest one has what the others have not got yet."""
        easiest, *harder = self.order
        entered = step / self.steps * len(harder) - np.arange(len(harder))
        shares = np.zeros(len(self.order))
        shares[harder] = self.data.shares[harder] * np.clip(entered, 0.0, 1.0)
        shares[easiest] = 1.0 - shares.sum()
        return shares
