"""What the value sees of a frame: the pretrained policy's frozen fusion, its points, the state.

The same observation and language as the policy, and no advantage. Computed once a frame, without
gradient, and kept in memory as float16 (500 frames take under 2 MB).

Shapes: N frames of a pool, B of a batch, F feature width.
"""

import numpy as np
import torch
from torch import Tensor

from policies.language.minilm import FrozenText
from policies.models.small_vla import SmallVla
from policies.processing.features import FeatureCache, cache_features
from policies.vision.efficientnet import FrozenVision
from rl.data.pool import Pool
from sim.core.console import track
from sim.dataset.reader import Dataset

BATCH = 256


@torch.no_grad()
def value_features(model: SmallVla, pool: Pool, vision: FrozenVision, text: FrozenText, workers: int = 1) -> Tensor:
    """Return float16 (N, F), frames in the pool's order."""
    model.eval()
    parts = []
    for dataset in pool.datasets:
        cache = cache_features(dataset, vision, workers)
        batches = list(_batches(dataset))
        parts += [
            _embed(model, dataset, cache, text, *batch) for batch in track(batches, f"embedding {dataset.root.name}")
        ]
    return torch.cat(parts)


def _batches(dataset: Dataset):
    """(episode indices, frame indices), each (B,), over all frames in order."""
    lengths = [dataset.length(e) for e in range(dataset.num_episodes)]
    episodes = np.repeat(np.arange(len(lengths)), lengths)
    frames = np.concatenate([np.arange(length) for length in lengths])
    cuts = range(BATCH, len(frames), BATCH)
    return zip(np.split(episodes, cuts), np.split(frames, cuts), strict=True)


def _embed(
    model: SmallVla, dataset: Dataset, cache: FeatureCache, text: FrozenText, episodes: np.ndarray, frames: np.ndarray
) -> Tensor:
    names, place = np.unique(episodes, return_inverse=True)
    states = [dataset.columns(int(e), ["observation.state"])["observation.state"] for e in names]
    state = torch.from_numpy(np.stack([states[p][t] for p, t in zip(place, frames, strict=True)]))
    words, mask = text.encode([dataset.instruction(int(e)) for e in names])
    maps = {
        camera: (torch.from_numpy(fine).float(), torch.from_numpy(coarse).float())
        for camera, (fine, coarse) in cache.gather(episodes, frames).items()
    }
    prefix, points = model.fusion(maps, torch.from_numpy(words[place]), torch.from_numpy(mask[place]), state)
    pose = [state, state.sin(), state.cos()]
    return torch.cat([prefix.flatten(1), points.flatten(1), *pose], 1).clamp(-60000, 60000).half()
