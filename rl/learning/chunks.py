"""The chunks that a policy decided in recorded episodes, before the guard made actions of them, as training samples.

Shapes: N frames of a pool, M decisions, B batch.
"""

import numpy as np
import torch

from policies.core.inputs import Batch
from policies.core.interface import Policy
from policies.models.vla import Vla
from policies.processing.data import EpisodeTable, Source, TrainingData
from policies.processing.observation import ObservationProcessor
from rl.learning.round import Round
from sim.core.errors import UserError


def check_draws_chunks(policy: Policy) -> None:
    """UserError for a policy with one chunk a look: between its own chunks there is nothing to choose."""
    if isinstance(policy, Vla) and not policy.head.draws_chunks:
        raise UserError(
            f"policy.head.name={policy.config.head.name}: one look always has the same chunk, and the algorithm learns "
            "which of several is better; expected flow, diffusion or consistency, or bins or fast with "
            "policy.head.temperature above 0 (bins: and policy.head.choice=drawn)"
        )


class Chunks:
    """Those of a round's episodes."""

    def __init__(self, played: Round, policy: Policy):
        """policy: that played them; of the pool's frames it decided in every `execute`-th of an episode."""
        pool, self._execute = played.pool, policy.config.execute
        tables = [EpisodeTable(Source(dataset.root), "requested_action") for dataset in pool.datasets]
        self._data = TrainingData(tables, ObservationProcessor(policy), workers=played.config.workers)
        self._first = np.cumsum([0, *(len(table.frame) for table in tables)])
        self.decided = np.flatnonzero((pool.frame % self._execute == 0) & pool.counted)  # (M,)

    def batch(self, rows: np.ndarray) -> Batch:
        """Return the chunks (B,) that begin at these frames of the pool: of each the steps that were played."""
        owner = np.searchsorted(self._first, rows, side="right") - 1
        order = np.argsort(owner, kind="stable")
        parts = [self._data.batch(d, rows[owner == d] - self._first[d]) for d in np.unique(owner)]
        batch = Batch.concatenate(parts).take(torch.from_numpy(np.argsort(order)))
        batch.valid[:, self._execute :] = False
        return batch
