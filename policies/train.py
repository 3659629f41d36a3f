"""`python -m policies.train data=DIR out=CKPT [policy=small] [optim.steps=N] [init=CKPT]`

Imitation of recorded demonstrations. A policy starts from the grounding-pretrained fusion that ships
with the project (`init_fusion=null`: from random weights) or from a whole checkpoint (`init=`). A
killed run goes on where it stopped, to the same weights. Of datasets of several tasks each task is drawn
equally often, however many frames it has. A policy that learns to find things is measured on held-out
scenes every 500 steps, and a warning says when it found them better before. The last line says how much memory and disk
it took.
With `init=CKPT lora_rank=8` only low-rank updates of its linear maps learn, a few per cent of the numbers; with
`teacher=CKPT` a policy, smaller ones too, learns the chunks that another decides instead of the recorded ones.
With `data=[NEW,OLD] retrieve=0.25` only that part of the old data is used that most resembles the new, which is half of
every batch; with `data=[EASY,HARD] curriculum=0.5` the harder data come in over the first half of the steps.
`torchrun --nproc-per-node=2 -m policies.train optim.device=cuda ...` trains on two GPUs, to the weights of one.
"""

import hashlib
import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from policies.core.interface import Policy, PolicyConfig
from policies.eye_training.held_out import fit_measured
from policies.models import checkpoint
from policies.models.vla import VlaConfig
from policies.processing.data import EpisodeTable, Source, TrainingData
from policies.processing.features import cache_folder
from policies.processing.observation import ObservationProcessor
from policies.training.curriculum import Curriculum
from policies.training.distill import load_teacher
from policies.training.fit import DRAWS, describe_training, load_start, new_policy, start_from
from policies.training.lora import add_updates
from policies.training.optim import OptimConfig
from policies.training.ranks import first_alone, joined, rank
from policies.training.retrieve import keep_similar, shares_of_retrieved
from sim.core.errors import UserError
from sim.core.files import Lock
from sim.core.options import EACH_PLACE_ONCE, FOLDER, NOT_EMPTY, PART, Options, at_least, block, one_of, option, shown
from sim.core.paths import find_asset
from sim.core.program import run_program
from sim.core.provenance import plain
from sim.core.tracker import KINDS, NoTracker, Tracker, open_tracker
from sim.core.usage import peak_memory_mib, size_mib

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainConfig(Options):
    """Options of the program."""

    data: tuple[str, ...] = option(("runs/demos",), "datasets", NOT_EMPTY, EACH_PLACE_ONCE)
    out: str = option("runs/policy", "the checkpoint", FOLDER)
    policy: PolicyConfig = block(VlaConfig, "the network")
    optim: OptimConfig = block(OptimConfig, "how it is trained")
    init_fusion: str | None = option("assets/fusion", "where a pretrained fusion lies; null: random weights")
    init: str | None = option(None, "a checkpoint to go on from, instead of a new policy")
    lora_rank: int = option(0, "of updates of the linear maps of `init`, which alone learn; 0: all of it", at_least(0))
    teacher: str | None = option(None, "a checkpoint whose chunks are learned instead of the recorded ones")
    retrieve: float | None = option(
        None, "part of all datasets but the first that is used: what most resembles the first; null: all of them", PART
    )
    curriculum: float | None = option(
        None, "part of the steps in which datasets come in, in the order they are named; null: all at once", PART
    )
    tracker: str = option("none", "where losses, rates and videos go besides `out`", one_of(*KINDS))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lora_rank and not self.init:
            raise UserError(f"lora_rank={self.lora_rank} updates a trained policy: add init=CKPT")
        for name, order in (("retrieve", "NEW,OLD"), ("curriculum", "EASY,HARD")):
            if (value := getattr(self, name)) is not None and len(self.data) < 2:
                raise UserError(f"{name}={value:g} data={shown(self.data)}, expected data=[{order}]: two or more")


def train(config: TrainConfig, tracker: Tracker | None = None, timed: AbstractContextManager | None = None) -> Policy:
    """Train a policy; return it. UserError when `out` is finished or what is given does not fit.

    timed: around the training steps alone, after images are encoded, which only the first training on data does.
    """
    out = Path(config.out)
    checkpoint.check_new(out)
    if not rank():
        Lock(out, ".").close()  # another process that writes there is an error before features are made
    named = [EpisodeTable(Source(Path(root))) for root in config.data]
    tables = sorted(named, key=lambda table: table.dataset.fingerprint())  # as named only where an option says so
    policy, start, guidance = _start(config, tables)
    _check_tells_apart(policy, tasks_of(tables))
    teacher = load_teacher(config.teacher, policy) if config.teacher else None
    processor = ObservationProcessor(policy)
    with first_alone():
        data = _training_data(config, named, tables, processor)
    made_by = replace(config, policy=policy.config, init_fusion=None if config.init else config.init_fusion)
    learned_from = teacher.learned_from(start) if teacher else start
    made = {"config": made_by, **_draws(config, named)}
    datasets = [table.dataset for table in tables]
    metadata = describe_training(processor, datasets, made, learned_from, guidance)
    if teacher:
        metadata.provenance["data"][config.teacher] = teacher.fingerprint
    loss = teacher.loss(policy) if teacher else None
    with timed or nullcontext():
        trained = fit_measured(policy, data, config.optim, out, metadata, tracker or NoTracker(), loss)
    if not rank():
        features = sum(size_mib(cache_folder(table.dataset.root)) for table in tables)
        used = (peak_memory_mib(), features, size_mib(out))
        _log.info("peak memory %.0f MiB; on disk %.1f MiB of features, %.1f MiB of the policy", *used)
    return trained


def _training_data(
    config: TrainConfig, named: Sequence[EpisodeTable], tables: Sequence[EpisodeTable], processor: ObservationProcessor
) -> TrainingData | Curriculum:
    """Return samples of the tables; named: the same in the order of `data`."""
    shares = shares_by_task(tables)
    if config.retrieve is not None:
        keep_similar(named[0], named[1:], processor, config.retrieve, config.optim.threads)
        shares = shares_of_retrieved(named[0], tables)
    data = TrainingData(tables, processor, shares, config.optim.threads)
    if config.curriculum is None:
        return data
    return Curriculum(data, [tables.index(table) for table in named], config.curriculum * config.optim.steps)


def _draws(config: TrainConfig, named: Sequence[EpisodeTable]) -> dict[str, str]:
    """Return a digest of how batches are drawn, which a resumed training keeps to; {} where it follows from data."""
    if config.retrieve is None and config.curriculum is None:
        return {}
    order = " ".join(table.dataset.fingerprint() for table in named)
    digest = hashlib.sha256(f"{config.retrieve} {config.curriculum} {order}".encode())
    for table in named:
        digest.update((table.weight > 0).tobytes())
    return {DRAWS: digest.hexdigest()}


def tasks_of(tables: Sequence[EpisodeTable]) -> list[str]:
    """Return the task of each table, "" where it is not known."""
    return [table.dataset.provenance.get("world", {}).get("task", "") for table in tables]


def _check_tells_apart(policy: Policy, tasks: Sequence[str]) -> None:
    known = sorted(set(filter(None, tasks)))  # what LeRobot edited has lost its task
    if not policy.keeps_words and len(known) > 1:
        raise UserError(
            f"data holds {', '.join(known)}; a policy whose actions follow from points alone cannot tell "
            "them apart: add policy.fusion.sentence=16, or train on one task"
        )


def shares_by_task(tables: Sequence[EpisodeTable]) -> list[float] | None:
    """Return the share of each table in a batch, None where there are no two tasks: equal ones of tasks, a task's by
    frames. A frame whose task is not known is drawn as often as those of known tasks are on average.
    """
    tasks = tasks_of(tables)
    frames = [int((~table.perturbed).sum()) for table in tables]
    of_task = dict.fromkeys(filter(None, tasks), 0)
    if len(of_task) < 2:
        return None
    for task, number in zip(tasks, frames, strict=True):
        if task:
            of_task[task] += number
    average = sum(of_task.values()) / len(of_task)
    return [number / of_task.get(task, average) for task, number in zip(tasks, frames, strict=True)]


def main(config: TrainConfig) -> None:
    """Train, tracked, with the other processes where torchrun started several."""
    with joined(config.optim), open_tracker("none" if rank() else config.tracker, config.out, config) as tracker:
        train(config, tracker)


def _start(config: TrainConfig, tables: Sequence[EpisodeTable]) -> tuple[Policy, dict, float]:
    """The policy to start from, where its weights come from, and the guidance it is played with.

    A student of a teacher learns what that one decides with its guidance, and needs none itself.
    """
    if config.init:
        policy, metadata = checkpoint.load(config.init)
        start = start_from(policy, metadata)
        check_same_policy(f"init={config.init}", policy.config, config.policy)
        if config.lora_rank:
            add_updates(policy, config.lora_rank, config.optim.seed)
        return policy, start, 1.0 if config.teacher else metadata.guidance
    return *new_policy(config.policy, tables, config.optim.seed, _folder(config.init_fusion)), 1.0


def check_start(policy: Policy, init_fusion: str | None) -> None:
    """UserError where a new policy could not start from what `init_fusion` names: asked before data are collected."""
    load_start(policy, _folder(init_fusion))


def _folder(init_fusion: str | None) -> Path | None:
    return find_asset(init_fusion) if init_fusion else None


def check_same_policy(given_by: str, has: PolicyConfig, given: PolicyConfig) -> None:
    """UserError names an option that a checkpoint's policy has otherwise, unless it is the default.

    given_by: the option that names the checkpoint, "init=DIR".
    """
    _check_same(given_by, plain(has), plain(given), plain(VlaConfig()), "policy")


def _check_same(given_by: str, has: dict, given: dict, defaults: dict, where: str) -> None:
    for name, value in given.items():
        if isinstance(value, dict) and isinstance(has.get(name), dict):
            known = defaults.get(name)
            _check_same(given_by, has[name], value, known if isinstance(known, dict) else {}, f"{where}.{name}")
        elif value not in (has.get(name), defaults.get(name)):
            raise UserError(
                f"{where}.{name}={value}, expected {has.get(name)}, which {given_by} was made with; leave it out, or "
                f"begin without {given_by.partition('=')[0]}="
            )


if __name__ == "__main__":
    run_program("train", TrainConfig, main, __doc__)
