"""`python -m policies.train data=DIR out=CKPT [policy=small] [optim.steps=N] [init=CKPT]`

Imitation: flow matching on action chunks with grounding co-training. Starts from the
grounding-pretrained fusion that ships with the project (`backbone=null`: from scratch) or from a
whole checkpoint (`init=`). A killed run goes on where it stopped, to the same weights.
"""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from policies.evaluation.leakage import splits_of
from policies.language.minilm import FrozenText
from policies.models import checkpoint
from policies.models.checkpoint import CheckpointMetadata
from policies.models.small_vla import SmallVla, VlaConfig
from policies.pretrain_grounding import load_backbone
from policies.processing.data import Source, TrainingData
from policies.vision.efficientnet import FrozenVision
from sim.core.errors import UserError
from sim.core.paths import find_asset
from sim.core.program import run_program
from sim.core.provenance import plain, provenance
from sim.dataset.reader import Dataset


@dataclass(frozen=True)
class OptimConfig:
    """How weights are found."""

    steps: int = 8000
    batch: int = 128
    learning_rate: float = 1e-3
    backbone_rate: float = 0.2  # times the learning rate, for the pretrained eyes and word reader
    warmup_steps: int = 200
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    average: float = 0.998  # decay of the exponential average of the weights, which is what is kept
    seed: int = 0
    threads: int = 2
    save_every: int = 500


@dataclass(frozen=True)
class TrainConfig:
    """Options of the program."""

    data: tuple[str, ...] = ("runs/demos",)  # datasets
    out: str = "runs/policy"
    policy: VlaConfig = field(default_factory=VlaConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    backbone: str | None = "assets/fusion"
    init: str | None = None


def learning_rate(step: int, config: OptimConfig) -> float:
    """Linear warm-up, then half a cosine down to a hundredth."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(config.steps - config.warmup_steps, 1)
    return config.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * min(done, 1.0))) / 2)


class Trainer:
    """Weights, their running average, optimizer and random generators: all that a resume needs."""

    def __init__(self, model: SmallVla, config: OptimConfig):
        self.model, self.config, self.step = model, config, 0
        self.average = {name: value.clone() for name, value in model.state_dict().items()}
        eye = [*model.fusion.eyes.parameters(), *model.fusion.words.parameters()]
        known = {id(parameter) for parameter in eye}
        rest = [parameter for parameter in model.parameters() if id(parameter) not in known]
        groups = [{"params": rest, "rate": 1.0}, {"params": eye, "rate": config.backbone_rate}]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay, betas=(0.9, 0.99))
        self.generator = torch.Generator().manual_seed(config.seed)

    def update(self, data: TrainingData) -> dict[str, float]:
        """One gradient step; the batch depends on the seed and the step alone."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * learning_rate(self.step, self.config)
        batch = data.sample(np.random.default_rng([self.config.seed, self.step]), self.config.batch)
        loss, parts = self.model.loss(batch, self.generator)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self._average()
        self.step += 1
        return parts

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.config.average, (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            self.average[name].lerp_(value, 1 - decay)

    def averaged_model(self) -> SmallVla:
        model = SmallVla(self.model.config)
        model.load_state_dict(self.average)
        return model.eval()

    def state(self) -> dict:
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }

    def restore(self, state: dict) -> None:
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])


def fit(model: SmallVla, data: TrainingData, config: OptimConfig, out: Path, about: CheckpointMetadata) -> SmallVla:
    """Train to `config.steps`, saving now and then; returns the averaged weights, also in `out`."""
    torch.set_num_threads(config.threads)
    trainer = Trainer(model.train(), config)
    _resume(trainer, out, config)
    begun, first = time.monotonic(), trainer.step
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bar, (out / "train.jsonl").open("a") as log:
        task = bar.add_task("training", total=config.steps, completed=trainer.step)
        while trainer.step < config.steps:
            parts = trainer.update(data)
            bar.update(task, completed=trainer.step)
            if trainer.step % 50 == 0:
                row = {"step": trainer.step, **parts, "s": round(time.monotonic() - begun, 1)}
                log.write(json.dumps(row) + "\n")
                log.flush()
                bar.update(task, description=f"training, flow {parts['flow']:.3f} grounding {parts['grounding']:.3f}")
            if trainer.step % config.save_every == 0 and trainer.step < config.steps:
                checkpoint.save_training(out, {**trainer.state(), "config": plain(config)})
    averaged = trainer.averaged_model()
    checkpoint.save(out, averaged, about)
    (out / checkpoint.TRAINING).unlink(missing_ok=True)
    took = time.monotonic() - begun
    print(f"{trainer.step - first} steps in {took / 60:.1f} min; {out}")
    return averaged


def _resume(trainer: Trainer, out: Path, config: OptimConfig) -> None:
    out.mkdir(parents=True, exist_ok=True)
    state = checkpoint.load_training(out)
    if state is None:
        return
    before = state.pop("config")
    for name, value in plain(config).items():
        if name != "threads" and before[name] != value:
            raise UserError(f"{out} was begun with optim.{name}={before[name]}, not {value}; name a new out=DIR")
    trainer.restore(state)
    print(f"going on at step {trainer.step}")


def encoders(threads: int) -> tuple[FrozenVision, FrozenText]:
    return FrozenVision(threads=threads), FrozenText()


def about_training(
    vision: FrozenVision, text: FrozenText, roots: Sequence[Path], metadata: dict, start: Mapping, guidance: float = 1.0
) -> CheckpointMetadata:
    """What the checkpoint says of itself; all datasets must be of one robot and picture size.

    start: the provenance of the weights that training began from, empty for random ones.
    """
    datasets = [Dataset(root) for root in roots]
    made_of = {str(root): dataset.fingerprint() for root, dataset in zip(roots, datasets, strict=True)}
    seeds = [*start.get("seeds", []), *map(_seeds, datasets)]
    splits = [
        split for one in (start, *(dataset.provenance for dataset in datasets)) if one for split in splits_of(one)
    ]
    first = datasets[0]
    return CheckpointMetadata(
        robot=first.info["robot_type"],
        image_size=first.features.image_size,
        vision=vision.fingerprint,
        text=text.fingerprint,
        task=first.provenance.get("world", {}).get("task", ""),
        provenance=provenance({"data": made_of, "seeds": _distinct(seeds), "splits": _distinct(splits), **metadata}),
        guidance=guidance,
        control_hz=first.fps,
    )


def _distinct(items: list) -> list:
    return [item for i, item in enumerate(items) if item not in items[:i]]


def _seeds(dataset: Dataset) -> list[int]:
    """First and last seed of the episodes: evaluation keeps away from them."""
    seeds = [int(dataset.episode_metadata(i)["seed"]) for i in range(dataset.num_episodes)]
    return [min(seeds), max(seeds)]


def new_model(config: TrainConfig, data: TrainingData) -> tuple[SmallVla, dict]:
    """The network to start from, a checkpoint, the shipped fusion or random weights, and where it comes from."""
    if config.init:
        model, about = checkpoint.load(config.init)
        return model, about.provenance
    torch.manual_seed(config.optim.seed)
    model = SmallVla(config.policy)
    data.fit_normalization(model, np.random.default_rng(config.optim.seed))
    return model, load_backbone(model, find_asset(config.backbone)) if config.backbone else {}


def train(config: TrainConfig) -> SmallVla:
    out, roots = Path(config.out), [Path(root) for root in config.data]
    if (out / checkpoint.WEIGHTS).is_file():
        raise UserError(f"{out} holds a finished checkpoint; name another out=DIR")
    vision, text = encoders(1)
    data = TrainingData([Source(root) for root in roots], config.policy, vision, text, workers=config.optim.threads)
    model, start = new_model(config, data)
    return fit(model, data, config.optim, out, about_training(vision, text, roots, {"config": config}, start))


if __name__ == "__main__":
    run_program("train", TrainConfig, train, __doc__)
