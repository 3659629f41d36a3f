"""Train the policy again from the pretrained checkpoint, on labelled frames of all datasets."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from policies.eye_training.held_out import fit_measured
from policies.models import checkpoint
from policies.models.checkpoint import CheckpointMetadata
from policies.processing.data import EpisodeTable, Source, TrainingData
from policies.processing.observation import ObservationProcessor
from policies.training.fit import describe_training, start_from
from rl.learning.round import Round
from sim.dataset.reader import Dataset, read_sidecar


def retrain(data: Round, guidance: float) -> None:
    """Train `data.policy`, unless it is there. guidance: beta that the checkpoint is played with."""
    if data.is_trained:
        return
    policy, before = checkpoint.load(data.pretrained)
    start, processor = start_from(policy, before), ObservationProcessor(policy)
    samples = labelled(data, processor)
    metadata = describe_round(data, processor, start, guidance, labels=data.read_labels())
    fit_measured(policy, samples, data.config.retrain, data.policy, metadata, data.tracker)


def describe_round(
    data: Round, processor: ObservationProcessor, start: Mapping, guidance: float = 1.0, **more: Any
) -> CheckpointMetadata:
    """Return the metadata of a policy trained on the round's data.

    start: `policies.training.fit.start_from` what training began from. more: what else its provenance holds.
    """
    made_of = {"config": data.config, "round": data.number, **more, "init": str(data.pretrained)}
    datasets = [Dataset(root) for root in data.datasets]
    return describe_training(processor, datasets, made_of, start, guidance)


def labelled(data: Round, processor: ObservationProcessor) -> TrainingData:
    """Return the round's frames with their labels; a batch holds `demo_share` of demonstrations at least."""
    name, datasets = data.labels_name, data.datasets
    weights = [float(read_sidecar(root, name)["weight"].sum()) for root in datasets]
    shares = batch_shares(weights, data.config.demo_share)
    used = [(EpisodeTable(Source(root, name)), share) for root, share in zip(datasets, shares, strict=True) if share]
    return TrainingData([table for table, _ in used], processor, [share for _, share in used], data.config.workers)


def batch_shares(weights: Sequence[float], demo_share: float) -> list[float]:
    """Return each dataset's share of a batch: by weight, but the first (demonstrations) at least `demo_share`."""
    total = np.sum(weights)
    rest = total - weights[0]
    first = max(weights[0] / total, demo_share) if rest and weights[0] else float(weights[0] > 0)
    return [first, *((1 - first) * weight / rest if rest else 0.0 for weight in weights[1:])]
