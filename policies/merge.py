"""`python -m policies.merge checkpoints=[OLD,NEW] weights=[0.25,0.75] out=CKPT`

A policy whose weights are the weighted mean of others' that went on from one another: a fine-tuned one, moved back a
part of the way, knows again what it forgot (Wortsman et al. 2022, WiSE-FT and model soups; ReVLA, Dey et al. 2024).
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from policies.core.interface import Policy
from policies.evaluation.leakage import splits_of
from policies.models import checkpoint
from policies.models.checkpoint import CheckpointMetadata
from policies.models.companion import check_alone
from policies.processing.observation import ObservationProcessor
from policies.training.fit import distinct
from sim.core.console import event
from sim.core.errors import UserError
from sim.core.options import EACH_PLACE_ONCE, FOLDER, Options, at_least, option, shown
from sim.core.program import run_program
from sim.core.provenance import plain, provenance

TOLERANCE = 1e-6  # of the weights' sum

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MergeConfig(Options):
    """Options of the program."""

    checkpoints: tuple[str, ...] = option(("runs/policy", "runs/adapted"), "policies of one origin", EACH_PLACE_ONCE)
    weights: tuple[float, ...] = option((0.25, 0.75), "of each, 1 in all", at_least(0.0))
    out: str = option("runs/merged", "the checkpoint", FOLDER)

    def __post_init__(self) -> None:
        super().__post_init__()
        given = f"checkpoints={shown(self.checkpoints)} weights={shown(self.weights)}"
        if len(self.checkpoints) < 2 or len(self.weights) != len(self.checkpoints):
            raise UserError(f"{given}: expected two checkpoints or more, and a weight for each")
        if not math.isclose(sum(self.weights), 1.0, abs_tol=TOLERANCE):
            raise UserError(f"{given}: expected weights that add up to 1")


def merge(config: MergeConfig) -> Policy:
    """Merge, write; return the policy. UserError for policies that do not fit together, or a finished `out`."""
    out = Path(config.out)
    checkpoint.check_new(out)
    for root in config.checkpoints:
        check_alone(root)
    loaded = [checkpoint.load(root) for root in config.checkpoints]
    for root, one in zip(config.checkpoints[1:], loaded[1:], strict=True):
        _check_fits(loaded[0], one, f"{config.checkpoints[0]} and {root}")
    policy = mean_of([one for one, _ in loaded], config.weights)
    checkpoint.save(out, policy, _joined([metadata for _, metadata in loaded], config))
    _log.info("%s", out, extra=event("merged", out=str(out)))
    return policy


@torch.no_grad()
def mean_of(policies: Sequence[Policy], weights: Sequence[float]) -> Policy:
    """Return the first policy, with the weighted mean of what was learned; what is equal stays to the bit."""
    for first, *others in zip(*(policy.parameters() for policy in policies), strict=True):
        first += torch.stack([w * (one - first) for w, one in zip(weights[1:], others, strict=True)]).sum(0)
    return policies[0]


def _check_fits(first: tuple[Policy, CheckpointMetadata], other: tuple[Policy, CheckpointMetadata], which: str) -> None:
    """UserError where the mean of two policies' weights would mean nothing."""
    (a, about_a), (b, about_b) = first, other
    if plain(a.config) != plain(b.config) or a.spec != b.spec:
        raise UserError(f"{which} are of other parts, sizes or robots; expected policies that went on from one another")
    if (about_a.vision, about_a.text) != (about_b.vision, about_b.text) and not _both_known(a, about_a, about_b):
        raise UserError(f"{which} were made with other frozen encoders; expected the same")
    if about_a.guidance != about_b.guidance:
        raise UserError(f"{which} are played with guidance {about_a.guidance:g} and {about_b.guidance:g}; expected one")
    if not all(torch.equal(mine, others) for mine, others in zip(a.buffers(), b.buffers(), strict=True)):
        raise UserError(f"{which} normalize otherwise; expected policies that went on from one another (init=CKPT)")


def _both_known(policy: Policy, *every: CheckpointMetadata) -> bool:
    """Return whether an older and a newer checkpoint call the same encoders otherwise."""
    processor = ObservationProcessor(policy)
    known = [(processor.encoders[name], earlier) for name, earlier in processor.earlier_encoders.items()]
    return all(name in names for one in every for name, names in zip((one.vision, one.text), known, strict=True))


def _joined(every: Sequence[CheckpointMetadata], config: MergeConfig) -> CheckpointMetadata:
    """Return what is known of the policy: its data, seeds and tasks are those of all."""
    known = [one.provenance for one in every]
    made = {
        "data": {root: digest for one in known for root, digest in one.get("data", {}).items()},
        "seeds": distinct([seeds for one in known for seeds in one.get("seeds", [])]),
        "splits": distinct([split for one in known for split in splits_of(one)]),
        "config": config,
    }
    tasks = tuple(sorted({task for one in every for task in one.tasks})) if all(one.tasks for one in every) else ()
    return replace(every[0], tasks=tasks, provenance=provenance(made))


if __name__ == "__main__":
    run_program("merge", MergeConfig, merge, __doc__)
