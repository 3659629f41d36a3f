"""What the value sees of a frame: the pretrained policy's embedding, everything its actions depend on.

The same observation and language as the policy, and no advantage. Computed once a frame, without
gradient, and kept in memory as float16 (500 frames take under 2 MB).

Shapes: N frames of a pool, B of a batch, F feature width.
"""

import numpy as np
import torch
from torch import Tensor

from policies.processing.data import EpisodeTable, FrameInputs, Source
from policies.processing.observation import ObservationProcessor
from rl.data.pool import Pool
from sim.core.console import track

BATCH = 256
LARGEST = 60000.0  # float16 ends at 65504


@torch.no_grad()
def value_features(processor: ObservationProcessor, pool: Pool, workers: int = 1) -> Tensor:
    """Return float16 (N, F), frames in the pool's order."""
    policy, parts = processor.policy.eval(), []
    for dataset in pool.datasets:
        table = EpisodeTable(Source(dataset.root))
        inputs = FrameInputs(table, processor, workers)
        rows = np.arange(len(table.frame))
        batches = np.split(rows, range(BATCH, len(rows), BATCH))
        parts += [
            policy.embedding(inputs(batch)).clamp(-LARGEST, LARGEST).half()
            for batch in track(batches, f"embedding {dataset.root.name}")
        ]
    return torch.cat(parts)
