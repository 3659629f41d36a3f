"""`python -m policies.train data=DIR out=CKPT [policy=small] [optim.steps=N] [init=CKPT]`

Imitation of recorded demonstrations. A policy starts from the grounding-pretrained fusion that ships
with the project (`init_fusion=null`: from random weights) or from a whole checkpoint (`init=`). A
killed run goes on where it stopped, to the same weights.
"""

from dataclasses import dataclass
from pathlib import Path

from policies.core.interface import Policy, PolicyConfig
from policies.models import checkpoint
from policies.models.vla import VlaConfig
from policies.processing.data import EpisodeTable, Source, TrainingData
from policies.processing.observation import ObservationProcessor
from policies.training.fit import describe_training, fit, new_policy
from policies.training.optim import OptimConfig
from sim.core.errors import UserError
from sim.core.options import NOT_EMPTY, Options, block, one_of, option
from sim.core.paths import find_asset
from sim.core.program import run_program
from sim.core.tracker import KINDS, Tracker, open_tracker


@dataclass(frozen=True)
class TrainConfig(Options):
    """Options of the program."""

    data: tuple[str, ...] = option(("runs/demos",), "datasets", NOT_EMPTY)
    out: str = option("runs/policy", "the checkpoint")
    policy: PolicyConfig = block(VlaConfig, "the network")
    optim: OptimConfig = block(OptimConfig, "how it is trained")
    init_fusion: str | None = option("assets/fusion", "where a pretrained fusion lies; null: random weights")
    init: str | None = option(None, "a checkpoint to go on from, instead of a new policy")
    tracker: str = option("none", "where losses, rates and videos go besides `out`", one_of(*KINDS))


def train(config: TrainConfig, tracker: Tracker | None = None) -> Policy:
    """Train a policy; return it. UserError when `out` is finished or what is given does not fit."""
    out = Path(config.out)
    if (out / checkpoint.WEIGHTS).is_file():
        raise UserError(f"{out} holds a finished checkpoint; name another out=DIR")
    tables = [EpisodeTable(Source(Path(root))) for root in config.data]
    policy, start = _start(config, tables[0])
    processor = ObservationProcessor(policy)
    data = TrainingData(tables, processor, workers=config.optim.threads)
    metadata = describe_training(processor, [table.dataset for table in tables], {"config": config}, start)
    return fit(policy, data, config.optim, out, metadata, tracker)


def main(config: TrainConfig) -> None:
    """Train, tracked."""
    with open_tracker(config.tracker, config.out, config) as tracker:
        train(config, tracker)


def _start(config: TrainConfig, table: EpisodeTable) -> tuple[Policy, dict]:
    """The policy to start from, and where its weights come from."""
    if config.init:
        policy, metadata = checkpoint.load(config.init)
        return policy, metadata.provenance
    init_fusion = find_asset(config.init_fusion) if config.init_fusion else None
    return new_policy(config.policy, table, config.optim.seed, init_fusion)


if __name__ == "__main__":
    run_program("train", TrainConfig, main, __doc__)
