"""`python -m policies.exit_early checkpoint=CKPT data=DIR out=CKPT [tolerance_rad=0.05]`

Chooses when a flow head may leave its path from noise to a chunk: the largest threshold (`policy.head.exit_below`) with
which what is played of 95 of 100 chunks keeps within `tolerance_rad` of where all steps lead, on frames of
demonstrations that the policy was not trained on. Writes the checkpoint with it, and says how many steps it takes
there; `policies.benchmark checkpoints=[CKPT,CKPT] data=DIR` says how long decisions take.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from policies.core.indicator import Indicator
from policies.core.inputs import Inputs
from policies.evaluation.leakage import trained_on
from policies.heads.flow import FlowConfig, FlowHead
from policies.models import checkpoint
from policies.models.checkpoint import CheckpointMetadata
from policies.models.companion import check_alone
from policies.models.vla import Vla, with_head
from policies.processing.data import EpisodeTable, FrameInputs, Source
from policies.processing.observation import ObservationProcessor
from sim.core.console import event
from sim.core.errors import UserError
from sim.core.options import FOLDER, Options, above, at_least, option
from sim.core.program import run_program
from sim.core.provenance import plain

THRESHOLDS = tuple(2.0 ** (k / 4) for k in range(0, -25, -1))  # standard deviations of actions, largest first
WITHIN = 0.95  # of the chunks

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExitEarlyConfig(Options):
    """Options of the program."""

    checkpoint: str = option("runs/policy", "the policy, with a flow head")
    data: str = option("runs/held_out", "a dataset that it was not trained on")
    out: str = option("runs/exits", "the checkpoint that exits early", FOLDER)
    tolerance_rad: float = option(0.05, "of any joint from where all steps lead", above(0.0))
    frames: int = option(500, "on which is measured", at_least(20))


def exit_early(config: ExitEarlyConfig) -> float:
    """Choose, write, report; return the threshold. UserError where none keeps to the tolerance."""
    out = Path(config.out)
    checkpoint.check_new(out)
    check_alone(config.checkpoint)
    policy, metadata = load_flow(config.checkpoint)
    inputs = held_out(policy, metadata, config)
    threshold = choose(policy, inputs, config.tolerance_rad, metadata.guidance)
    exits = exiting(policy, threshold)
    steps, all_steps = mean_steps(exits, inputs, metadata.guidance), cast(FlowConfig, policy.config.head).euler_steps
    made_by = {**metadata.provenance, "exit_early": plain(config)}
    checkpoint.save(out, exits, replace(metadata, provenance=made_by))
    _log.info(
        "exit_below=%.3g: %.2f of %d steps on average; %s", threshold, steps, all_steps, out,
        extra=event("exits", exit_below=threshold, steps=steps, all_steps=all_steps),
    )  # fmt: skip
    return threshold


def load_flow(root: str) -> tuple[Vla, CheckpointMetadata]:
    """Return a checkpoint. UserError for a policy whose chunks are not made along a path."""
    policy, metadata = checkpoint.load(root)
    if not isinstance(policy, Vla) or not isinstance(policy.config.head, FlowConfig):
        raise UserError(f"checkpoint {root} has no flow head; expected a policy with policy.head.name=flow")
    return policy, metadata


def held_out(policy: Vla, metadata: CheckpointMetadata, config: ExitEarlyConfig) -> Inputs:
    """Return random frames. UserError for data that the policy was trained on."""
    table = EpisodeTable(Source(Path(config.data)))
    trained = metadata.provenance
    seeds = [seed for seed in table.dataset.metadata_table().get("seed", []) if seed is not None]
    if trained_on(seeds, trained.get("seeds", [])) or table.dataset.fingerprint() in trained.get("data", {}).values():
        raise UserError(f"data={config.data} is what {config.checkpoint} was trained on; name demonstrations of others")
    rows = np.random.default_rng(0).permutation(len(table.frame))[: config.frames]
    return FrameInputs(table, ObservationProcessor(policy))(rows)


def choose(policy: Vla, inputs: Inputs, tolerance_rad: float, guidance: float) -> float:
    """Return the largest threshold that, as all below it, keeps to the tolerance. UserError where none does."""
    whole, found = _chunks(exiting(policy, 0.0), inputs, guidance), None
    config = policy.config
    played = config.execute if config.ensemble is None else config.chunk  # of chunks that are averaged every step is
    for threshold in reversed(THRESHOLDS):
        off_rad = (_chunks(exiting(policy, threshold), inputs, guidance) - whole)[:, :played, :-1].abs().amax((1, 2))
        if off_rad.quantile(WITHIN) > tolerance_rad:
            break
        found = threshold
    if found is None:
        raise UserError(
            f"tolerance_rad={tolerance_rad}: expected more, as even exit_below={THRESHOLDS[-1]:.3g} goes beyond it"
        )
    return found


def exiting(policy: Vla, threshold: float) -> Vla:
    """Return the same policy with another threshold."""
    changed = with_head(policy, replace(cast(FlowConfig, policy.config.head), exit_below=threshold))
    changed.load_state_dict(policy.state_dict())
    return changed.eval()


def _chunks(policy: Vla, inputs: Inputs, guidance: float) -> Tensor:
    """(B, T, D), always of the same noise."""
    return policy.act(inputs, torch.Generator().manual_seed(0), Indicator.POSITIVE, guidance).chunk


def mean_steps(policy: Vla, inputs: Inputs, guidance: float) -> float:
    """Return how many steps a decision on one frame takes on average."""
    taken: list[int] = []
    hook = cast(FlowHead, policy.head).out.register_forward_hook(lambda *_: taken.append(1))
    for i in range(len(inputs)):
        _chunks(policy, inputs.take(torch.tensor([i])), guidance)
    hook.remove()
    return len(taken) / len(inputs)


if __name__ == "__main__":
    run_program("exit_early", ExitEarlyConfig, exit_early, __doc__)
