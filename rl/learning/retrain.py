"""Train the policy again from the pretrained checkpoint, on labelled frames of all datasets."""

from collections.abc import Sequence

import numpy as np

from policies.models import checkpoint
from policies.processing.data import Source, TrainingData
from policies.train import about_training, encoders, fit
from rl.learning.round import Round
from sim.dataset.reader import read_sidecar


def retrain(data: Round, guidance: float) -> None:
    """Train `data.policy`, unless it is there. guidance: beta that the checkpoint is played with."""
    if (data.policy / checkpoint.WEIGHTS).is_file():
        return
    config, name = data.config, data.labels_name
    weights = [float(read_sidecar(root, name)["weight"].sum()) for root in data.datasets]
    shares = batch_shares(weights, config.demo_share)
    sources = [Source(root, name) for root, share in zip(data.datasets, shares, strict=True) if share]
    shares = [share for share in shares if share]
    model, before = checkpoint.load(data.pretrained)
    vision, text = encoders(1)
    samples = TrainingData(sources, model.config, vision, text, shares, config.workers)
    metadata = {"config": config, "round": data.number, "labels": data.read_labels(), "init": str(data.pretrained)}
    about = about_training(vision, text, data.datasets, metadata, before.provenance, guidance)
    fit(model, samples, config.retrain, data.policy, about)


def batch_shares(weights: Sequence[float], demo_share: float) -> list[float]:
    """Return each dataset's share of a batch: by weight, but the first (demonstrations) at least `demo_share`."""
    total = np.sum(weights)
    rest = total - weights[0]
    first = max(weights[0] / total, demo_share) if rest and weights[0] else float(weights[0] > 0)
    return [first, *((1 - first) * weight / rest if rest else 0.0 for weight in weights[1:])]
