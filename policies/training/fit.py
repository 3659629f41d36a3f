"""Training of a policy on recorded episodes, for imitation and for RECAP: from a policy and data to a checkpoint."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch

from policies.core.interface import Policy, PolicyConfig
from policies.core.weight_files import SHA256, as_bytes
from policies.evaluation.leakage import splits_of
from policies.models import checkpoint
from policies.models.checkpoint import CheckpointMetadata
from policies.processing.data import EpisodeTable, check_fits, fit_normalization
from policies.processing.observation import ObservationProcessor
from policies.training.curriculum import Curriculum
from policies.training.loop import DATA, STATE, Log, follow, train
from policies.training.lora import merged
from policies.training.optim import OptimConfig
from policies.training.ranks import mean_gradients, rank, ranks
from policies.training.share import Share
from policies.training.trainer import Loss, Trainer
from sim.core.errors import UserError
from sim.core.provenance import plain, provenance
from sim.dataset.reader import Dataset

BEGUN_FROM = "begun_from"  # of a checkpoint's provenance: the checksum of the weights, where not of random ones
DRAWS = "draws"  # of a checkpoint's provenance: a digest of how batches were drawn, where not evenly
_log = logging.getLogger(__name__)


class Samples(Protocol):
    """Gives random batches."""

    def sample(self, rng: np.random.Generator, size: int) -> Any: ...


def fit(
    policy: Policy, data: Samples | Curriculum, config: OptimConfig, out: Path, metadata: CheckpointMetadata,
    log: Log | None = None, loss: Loss | None = None,
) -> Policy:  # fmt: skip
    """Train to `config.steps` and write the averaged policy to `out`; return it. A killed run is resumed.

    loss: of a batch of `data`; None: the policy's own. Several processes share every batch, and the first writes.
    """
    share = Share(rank(), ranks())
    slow = policy.pretrained_parameters()
    trainer = Trainer(policy, share.loss(loss or policy.loss), config, slow, mean_gradients)
    sample = share.batches(data.at(lambda: trainer.step) if isinstance(data, Curriculum) else data.sample)
    if share.index:
        follow(trainer, sample)
        return merged(cast(Policy, trainer.averaged()))
    begun = time.monotonic()
    trainer.made_of = _made_of(metadata.provenance, policy)
    begun_at = train(trainer, sample, out, log)
    averaged = merged(cast(Policy, trainer.averaged()))
    checkpoint.save(out, averaged, metadata)
    (out / STATE).unlink(missing_ok=True)
    taken = f"{trainer.step} steps" + (f", the last {trainer.step - begun_at}" if begun_at else "")
    _log.info("%s in %.1f min; %s", taken, (time.monotonic() - begun) / 60, out)
    return averaged


def _made_of(provenance: Mapping, policy: Policy) -> dict[str, Any]:
    """Return what a resumed training keeps to, by the name that an error gives it."""
    drawn = [*sorted(provenance.get("data", {}).values()), *filter(None, [provenance.get(DRAWS)])]
    options = {f"policy.{name}": value for name, value in plain(policy.config).items()}
    return {DATA: drawn, "weights to begin from": provenance.get(BEGUN_FROM, ""), **options}


def start_from(policy: Policy, metadata: CheckpointMetadata) -> dict:
    """Return what `describe_training` takes of a checkpoint that training goes on from, `policy` as it was loaded."""
    return {**metadata.provenance, "tasks": metadata.tasks, SHA256: as_bytes(policy.state_dict())[1][SHA256]}


def new_policy(
    config: PolicyConfig, tables: Sequence[EpisodeTable], seed: int, init_fusion: Path | None
) -> tuple[Policy, dict]:
    """Return a policy for the robot of these datasets, normalized by them, and the provenance of what it starts from.

    init_fusion: a fusion from grounding pretraining; None: random weights. UserError when it is missing, was
    made for other sizes, or the policy is useless without.
    """
    torch.manual_seed(seed)
    policy = config.build(tables[0].spec)
    for table in tables:
        check_fits(table, policy)
    fit_normalization(policy, tables, np.random.default_rng(seed))
    start = load_start(policy, init_fusion)
    if "horizontal_error_mm" in start:
        kept = "frozen, so nothing is measured while training" if policy.frozen_weights() else "trained on"
        errors = ", ".join(f"{name} {mm:g} mm" for name, mm in _medians(start["horizontal_error_mm"]))
        _log.info("%s, %s: held-out median errors %s", init_fusion, kept, errors)
    return policy, start


def load_start(policy: Policy, init_fusion: Path | None) -> dict:
    """Load the pretrained weights that a policy starts from; return their provenance. UserError as `new_policy`."""
    if init_fusion is None and policy.requires_pretrained:
        raise UserError("init_fusion=null: this policy's fusion is frozen and needs pretrained weights; name a folder")
    return policy.load_pretrained(init_fusion) if init_fusion else {}


def _medians(errors: Mapping, where: str = "") -> Iterator[tuple[str, float]]:
    """Yield the medians of a pretrained part's card under the names of what they are of."""
    for name, value in errors.items():
        if name == "median":
            yield where, value
        elif isinstance(value, Mapping):
            yield from _medians(value, f"{where} {name}".strip())


def describe_training(
    processor: ObservationProcessor, datasets: Sequence[Dataset], metadata: dict, start: Mapping, guidance: float = 1.0
) -> CheckpointMetadata:
    """Return the metadata of a policy trained on these datasets.

    metadata: what else its provenance holds. start: the provenance of the weights that training began
    from, its tasks and checksum; empty for random ones.
    """
    seeds = [*start.get("seeds", []), *filter(None, map(_seeds, datasets))]
    splits = [
        split for one in (start, *(dataset.provenance for dataset in datasets)) if one for split in splits_of(one)
    ]
    tasks = [task for one in datasets if (task := one.provenance.get("world", {}).get("task"))]
    made_of = {
        "data": {str(dataset.root): dataset.fingerprint() for dataset in datasets},
        "seeds": distinct(seeds),
        "splits": distinct(splits),
        **({BEGUN_FROM: start[SHA256]} if SHA256 in start else {}),
    }
    return CheckpointMetadata(
        tasks=tuple(sorted({*start.get("tasks", ()), *tasks})),
        provenance=provenance({**made_of, **metadata}),
        guidance=guidance,
        **processor.encoders,
    )


def distinct(items: list) -> list:
    """Return the items without those that come again, which need not be hashable."""
    return [item for i, item in enumerate(items) if item not in items[:i]]


def _seeds(dataset: Dataset) -> list[int]:
    """Return first and last seed of the episodes: evaluation keeps away from them. Nothing where none is known."""
    seeds = [int(seed) for seed in dataset.metadata_table().get("seed", []) if seed is not None]
    return [min(seeds), max(seeds)] if seeds else []
