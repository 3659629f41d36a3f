"""`python -m policies.prune checkpoint=CKPT data=DIR out=CKPT [keep=0.75] [optim.steps=500]`

Removes a quarter of the inner units of a trained head's residual blocks, those that do least on the data, trains what
is left on and writes a checkpoint of its smaller sizes. Heads flow, diffusion, consistency, regression and cvae.
A killed run goes on where it stopped.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from policies.core.interface import Policy
from policies.heads.pruning import pruned
from policies.models import checkpoint
from policies.models.companion import check_alone
from policies.models.vla import Vla, with_head
from policies.processing.data import EpisodeTable, Source, TrainingData
from policies.processing.observation import ObservationProcessor
from policies.train import shares_by_task
from policies.training.fit import describe_training, fit, start_from
from policies.training.optim import OptimConfig
from sim.core.console import event
from sim.core.errors import UserError
from sim.core.options import EACH_PLACE_ONCE, FOLDER, NOT_EMPTY, Options, between, block, option
from sim.core.program import run_program

BATCHES, SAMPLES = 8, 256  # on which units are watched

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PruneConfig(Options):
    """Options of the program."""

    checkpoint: str = option("runs/policy", "the policy to make smaller")
    data: tuple[str, ...] = option(("runs/demos",), "datasets to train it on with", NOT_EMPTY, EACH_PLACE_ONCE)
    out: str = option("runs/pruned", "the smaller checkpoint", FOLDER)
    keep: float = option(0.75, "share of the inner units that stays", between(0.01, 0.99))
    optim: OptimConfig = block(
        lambda: OptimConfig(steps=500, batch=256, learning_rate=3e-4, warmup_steps=50, ema_decay=0.99),
        "how it is trained on",
    )


def prune(config: PruneConfig) -> Policy:
    """Prune, train on, write; return the policy. UserError for one that cannot be pruned, or a finished `out`."""
    out = Path(config.out)
    checkpoint.check_new(out)
    check_alone(config.checkpoint)
    policy, metadata = checkpoint.load(config.checkpoint)
    if not isinstance(policy, Vla):
        raise UserError(f"checkpoint {config.checkpoint} has no head; expected a policy made of parts")
    tables = [EpisodeTable(Source(Path(root))) for root in config.data]
    processor = ObservationProcessor(policy)
    data = TrainingData(tables, processor, shares_by_task(tables), config.optim.threads)
    smaller = without_units(policy, data, config.keep, config.optim.seed)
    _report(policy, smaller)
    datasets = [table.dataset for table in tables]
    begun_from = start_from(policy, metadata)
    made = describe_training(processor, datasets, {"config": config}, begun_from, metadata.guidance)
    return fit(smaller, data, config.optim, out, made)


def without_units(policy: Vla, data: TrainingData, keep: float, seed: int) -> Vla:
    """Return a policy that lacks the units which do least in what its loss computes on random batches."""

    @torch.no_grad()
    def use() -> None:
        rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
        for _ in range(BATCHES):
            policy.losses(data.sample(rng, SAMPLES), noise)

    found = pruned(policy.config.head, policy.head, keep, use)
    smaller = with_head(policy, found.config)
    smaller.head.load_state_dict(found.weights)
    return smaller


def _report(before: Vla, after: Vla) -> None:
    counts = [sum(one.numel() for one in policy.parameters()) for policy in (before, after)]
    _log.info(
        "parameters %d -> %d, %.1f %% fewer", *counts, 100 * (1 - counts[1] / counts[0]),
        extra=event("pruned", parameters_before=counts[0], parameters=counts[1]),
    )  # fmt: skip


if __name__ == "__main__":
    run_program("prune", PruneConfig, prune, __doc__)
