"""`python -m policies.gpu_check [device=auto] [data=DIR] [policy=small]`

Checks that a GPU learns and decides as the CPU does, and times it; prints a table and ends with exit code 1 where
something differs. Without a GPU it ends with exit code 2; `device=cpu` runs the same on the CPU. Where there are two
GPUs, two processes train on them to the weights of one; with fewer they do so on the CPU.
"""

import copy
import itertools
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.table import Table
from safetensors.torch import load_file
from torch import Tensor, nn

from policies.core.inputs import Batch, Inputs
from policies.core.interface import Policy, PolicyConfig
from policies.models.checkpoint import WEIGHTS
from policies.models.vla import VlaConfig
from policies.processing.data import EpisodeTable, Source, TrainingData, fit_normalization
from policies.processing.observation import ObservationProcessor
from policies.processing.resize import resize
from policies.runtime.latency import percentiles
from policies.training.optim import DEVICES, PRECISIONS, OptimConfig, choose_device
from policies.training.trainer import Trainer
from sim.core.checkout import Checkout
from sim.core.console import table as as_table
from sim.core.errors import UserError
from sim.core.options import Options, at_least, block, one_of, option
from sim.core.program import run_program

# Relative differences that are let pass: of sums in another order, and of features kept as float16.
LOSS, GRADIENT, FEATURES, PROCESSES = 1e-4, 1e-3, 5e-3, 1e-3
FRAMES = 8  # whose features are compared
EPISODES = 4  # that are collected where no data is given
WARM_UP = 3  # steps and decisions that are not counted
SHORT = ("policy=points", "init_fusion=null", "optim.steps=10", "optim.batch=16", "optim.warmup_steps=1")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GpuCheckConfig(Options):
    """Options of the program."""

    device: str = option("auto", "auto: the GPU where there is one", one_of(*DEVICES))
    data: str | None = option(None, "demonstrations; null: four episodes are collected")
    policy: PolicyConfig = block(VlaConfig, "the network, with random weights")
    batch: int = option(128, "samples of a step", at_least(1))
    steps: int = option(30, "training steps that are timed", at_least(1))
    decisions: int = option(100, "decisions that are timed", at_least(1))


class Row(NamedTuple):
    """A line of the table: what was compared or timed."""

    what: str
    found: str
    at_most: float | None = None
    difference: float = 0.0  # relative

    @property
    def differs(self) -> bool:
        return self.at_most is not None and not self.difference <= self.at_most  # of no number too


def compared(what: str, difference: float, at_most: float) -> Row:
    """Return the line of a relative difference."""
    return Row(what, f"{difference:.1e}", at_most, difference)


class Subject:
    """A policy with random weights and a dataset that fits it."""

    def __init__(self, config: GpuCheckConfig, data: Path, device: torch.device):
        self.config, self.device, self.table = config, device, EpisodeTable(Source(data))
        torch.manual_seed(0)
        self.policy = config.policy.build(self.table.spec)
        fit_normalization(self.policy, [self.table], np.random.default_rng(0))
        for weights in self.policy.parameters():
            if weights.requires_grad and not weights.any():  # last layers begin at zero, which hides everything
                nn.init.normal_(weights, std=0.02)
        self.processor = ObservationProcessor(self.policy)
        self.data = TrainingData([self.table], self.processor)
        self.batch = self.data.sample(np.random.default_rng(0), config.batch)
        size, episode = self.policy.spec.image_size, self.table.dataset
        self.images = {camera: resize(episode.images(0, camera), size) for camera in self.processor.cameras}

    def on(self, device: str | torch.device) -> Policy:
        """Return a copy of the policy there."""
        return copy.deepcopy(self.policy).to(device)

    def fresh(self, frames: np.ndarray) -> Inputs:
        """Return the inputs of frames of the first episode, their images encoded now."""
        table, images = self.table, {camera: shown[frames] for camera, shown in self.images.items()}
        told = [table.dataset.instruction(0)] * len(frames)
        seen = self.processor.inputs(images, table.state[frames], told, (table.truth[frames], table.turn[frames]))
        return replace(self.cached(frames), maps=seen.maps, points=seen.points, turn=seen.turn)

    def cached(self, frames: np.ndarray) -> Inputs:
        """Return the same inputs, of the feature cache."""
        return self.data.batch(0, frames).inputs


# ---- equal results -----------------------------------------------------------------------------


def equalities(subject: Subject) -> Iterator[Row]:
    """Compare the device with the CPU: loss and gradient of a batch, and what actions depend on."""
    device = subject.device
    found, expected = (learned(subject.on(one), subject.batch, one) for one in (device, "cpu"))
    for what, a, b, at_most in zip(("loss", "gradient"), found, expected, (LOSS, GRADIENT), strict=True):
        yield compared(f"{what} on {device} and cpu", apart(a, b), at_most)
    frames = np.arange(min(FRAMES, subject.table.lengths[0]))
    with torch.no_grad(), exact_products():
        cached = subject.on(device).embedding(subject.cached(frames).to(device)).cpu()
        fresh = subject.policy.embedding(subject.fresh(frames))
    yield compared(f"cached features on {device} and fresh ones on cpu", apart(cached, fresh), FEATURES)


def learned(policy: Policy, batch: Batch, device: str | torch.device) -> tuple[Tensor, Tensor]:
    """Return loss () and gradient (P,) of a batch with the same noise, on the CPU."""
    with exact_products():
        loss, _ = policy.loss(batch.to(torch.device(device)), torch.Generator().manual_seed(0))
        loss.backward()
    return loss.detach().cpu(), torch.cat([p.grad.flatten().cpu() for p in policy.parameters() if p.grad is not None])


def exact_products():
    """Let convolutions be float32 on a GPU too, inside."""
    return torch.backends.cudnn.flags(enabled=torch.backends.cudnn.is_available(), allow_tf32=False)


def apart(found: Tensor, expected: Tensor) -> float:
    """Return the relative difference of two tensors."""
    return float((found - expected).norm() / expected.norm())


def processes_compared(data: Path, folder: Path) -> Row:
    """Train a small policy in one process and in two by their real commands, and compare the weights."""
    device = "cuda" if torch.cuda.device_count() > 1 else "cpu"
    one, two = (trained(n, data, folder / f"processes_{n}", device) for n in (1, 2))
    return compared(f"weights of two processes and one, on {device}", apart(two, one), PROCESSES)


def trained(processes: int, data: Path, out: Path, device: str) -> Tensor:
    """Return the weights (P,) of a training in so many processes."""
    words = (f"data={data.resolve()}", f"out={out}", f"optim.device={device}", "optim.threads=1", *SHORT)
    start = ("--standalone", f"--nproc-per-node={processes}", "-m", "policies.train")
    Checkout.own().run("torch.distributed.run", *start, *words)
    weights = load_file(out / WEIGHTS)
    return torch.cat([weights[name].flatten().float() for name in sorted(weights)])


# ---- speed -------------------------------------------------------------------------------------


def speeds(subject: Subject) -> Iterator[Row]:
    """Time training steps in each precision, and decisions from images to actions."""
    for precision in PRECISIONS:
        ms = step_ms(subject, precision)
        yield Row(f"training step, {precision}", f"{ms:.1f} ms, {1e3 * subject.config.batch / ms:.0f} samples/s")
    found = percentiles(decision_s(subject))
    yield Row("decision, images encoded on the cpu", f"p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms")


def step_ms(subject: Subject, precision: str) -> float:
    """Return the median time of a training step."""
    config, model = subject.config, subject.on("cpu")
    optim = OptimConfig(batch=config.batch, device=subject.device.type, precision=precision)
    trainer = Trainer(model, model.loss, optim)
    return 1e3 * float(np.median(timed(lambda: trainer.update(subject.batch), config.steps, subject.device)))


def decision_s(subject: Subject) -> list[float]:
    """Return the times of decisions on looks of the first episode."""
    policy, generator, looks = subject.on(subject.device).eval(), torch.Generator(), itertools.count()

    def decide() -> None:
        frame = np.array([next(looks) % subject.table.lengths[0]])
        policy.act(subject.fresh(frame).to(subject.device), generator).chunk.cpu()

    return timed(decide, subject.config.decisions, subject.device)


def timed(call: Callable[[], object], times: int, device: torch.device) -> list[float]:
    """Return the seconds of so many calls, what the device does for them included."""
    seconds = []
    for _ in range(WARM_UP + times):
        begun = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return seconds[WARM_UP:]


# ---- program -----------------------------------------------------------------------------------


def asked(name: str) -> torch.device:
    """Return the device to check. UserError where it would be the CPU without being asked for."""
    device = choose_device(name, "device")
    if device.type == "cpu" and name != "cpu":
        raise UserError(f"device={name}: torch finds no GPU here; device=cpu runs the same checks on the CPU")
    return device


def main(config: GpuCheckConfig) -> None:
    """Check, time, print the table."""
    device = asked(config.device)
    with tempfile.TemporaryDirectory() as place:
        data = Path(config.data) if config.data else Path(place) / "demos"
        if not config.data:
            Checkout.own().run("sim.collect", f"episodes={EPISODES}", "workers=1", f"out={data}")
        subject = Subject(config, data, device)
        rows = [*equalities(subject), processes_compared(data, Path(place)), *speeds(subject)]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    table = Table("check", "relative difference or time", "at most", "", title=f"GPU check of {name}")
    for row in rows:
        verdict = "" if row.at_most is None else "differs" if row.differs else "equal"
        table.add_row(row.what, row.found, "" if row.at_most is None else f"{row.at_most:g}", verdict)
    found = [{**row._asdict(), "differs": row.differs} for row in rows]
    _log.info("GPU check", extra=as_table("gpu_check", table, device=name, rows=found))
    if any(row.differs for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    run_program("gpu_check", GpuCheckConfig, main, __doc__)
