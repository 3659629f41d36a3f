"""The training loop: batches by seed and step, a log, states saved for resume, one clear end."""

import io
import json
import logging
import pickle
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from policies.training.optim import OptimConfig, warn_of_emulation
from policies.training.ranks import from_first, ranks
from policies.training.trainer import NotFinite, Trainer
from sim.core.console import progress
from sim.core.errors import NOTHING_NEW, UserError, keeps, reason
from sim.core.files import Lock, write_atomic
from sim.core.provenance import plain
from sim.core.tracker import NoTracker, Tracker

STATE, LOG = "training.pt", "train.jsonl"
CONFIG = "config"  # of a state: the options it was begun with
DATA = "data, or draws of them"  # of `Trainer.made_of`
LOG_EVERY, MEASURE_EVERY = 50, 500  # steps
Measure = Callable[[Any], Mapping[str, float]]  # of a model
FREE = ("threads", "save_every", "device")  # options that may differ when a run is resumed
UNREADABLE = (OSError, RuntimeError, EOFError, LookupError, ValueError, NotImplementedError)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Log:
    """Where a training is logged besides `out`, and what besides its losses."""

    tracker: Tracker = field(default_factory=NoTracker)
    measure: Measure | None = None  # of the averaged weights, every MEASURE_EVERY steps


class JsonLines:
    """Appends a line of JSON a call: the step, the metrics, the seconds since it was opened."""

    def __init__(self, path: Path):
        self._path, self._begun = path, time.monotonic()

    def go_on_from(self, step: int) -> None:
        """Leave out the rows of later steps, which are taken again. UserError where the file is broken."""
        if self._path.is_file():
            kept = [row for row in read_log(self._path) if row.get("step", 0) <= step]
            write_atomic(self._path, "".join(json.dumps(row) + "\n" for row in kept).encode())

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        row = {"step": step, **metrics, "s": round(time.monotonic() - self._begun, 1)}
        try:
            with self._path.open("a") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise UserError(f"cannot write {self._path}: {error.strerror or error}") from error


def read_log(path: Path) -> list[dict]:
    """Return the rows that `JsonLines` wrote; a last one that a kill or a full disk cut off is left out."""
    lines = path.read_text(errors="replace").splitlines()
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append({**json.loads(line)})
        except (ValueError, TypeError) as error:
            if number < len(lines):
                raise UserError(f"{path} is broken: line {number} is no row of a training log") from error
    return rows


def train(
    trainer: Trainer, sample: Callable[[np.random.Generator, int], Any], out: Path, log: Log | None = None
) -> int:
    """Train to `config.steps`, or go on to there from the state that a killed run left in `out`; return the step of
    that state, 0 without one.

    sample: (rng, size) -> a batch; each depends on the seed and the step alone. Losses are averaged over 50
    steps and go to `out`/train.jsonl and to the log's tracker. NotFinite, with the state of before in `out`,
    when a loss is no number; UserError when `out` holds the state of other options.
    """
    config = trainer.config
    torch.set_num_threads(config.threads)
    warn_of_emulation(config)
    log = log or Log()
    lines, saved = JsonLines(out / LOG), 0  # an interrupt may come before it has resumed
    losses = _RunningLosses((lines.log, log.tracker.log), log.measure)
    with Lock(out, "."), keeps(lambda: kept(saved, out)), progress() as bar:
        resume(trainer, out)
        begin_alike(trainer)
        begun_at = saved = trainer.step
        lines.go_on_from(saved)
        task = bar.add_task("training", total=config.steps, completed=trainer.step)
        while trainer.step < config.steps:
            losses.add(trainer, _step(trainer, sample, out))
            bar.update(task, completed=trainer.step, description=losses.description)
            if trainer.step % config.save_every == 0 and trainer.step < config.steps:
                save_state(trainer, out)
                saved = trainer.step
    return begun_at


def follow(trainer: Trainer, sample: Callable[[np.random.Generator, int], Any]) -> None:
    """Take the same steps as `train` in another process, from the same state, with batches of its own; keep nothing."""
    config = trainer.config
    torch.set_num_threads(config.threads)
    begin_alike(trainer)
    while trainer.step < config.steps:
        trainer.update(sample(np.random.default_rng([config.seed, trainer.step]), config.batch))


def begin_alike(trainer: Trainer) -> None:
    """Let all processes of a training begin with the state of the first."""
    if ranks() > 1:
        trainer.restore(from_first(trainer.state()))


def kept(saved: int, out: Path) -> str:
    """Return what an interrupted run leaves behind. saved: the step of the last state in `out`, 0 without one."""
    return f"the state of step {saved} is kept in {out}; run again to go on" if saved else NOTHING_NEW


def _step(trainer: Trainer, sample: Callable[[np.random.Generator, int], Any], out: Path) -> dict[str, torch.Tensor]:
    config = trainer.config
    batch = sample(np.random.default_rng([config.seed, trainer.step]), config.batch)
    try:
        return trainer.update(batch)
    except NotFinite as error:
        save_state(trainer, out)
        raise NotFinite(f"training stopped: {error}; the state of step {trainer.step} is kept in {out}") from error


class _RunningLosses:
    """Averages the losses of LOG_EVERY steps and gives them to the trackers."""

    def __init__(self, logs: Sequence[Callable[[int, Mapping[str, float]], None]], measure: Measure | None):
        self._logs, self._measure = logs, measure
        self._recent: list[dict[str, torch.Tensor]] = []
        self.description = "training"

    def add(self, trainer: Trainer, parts: dict[str, torch.Tensor]) -> None:
        self._recent.append(parts)
        if trainer.step % LOG_EVERY:
            return
        means = {name: float(torch.stack([one[name] for one in self._recent]).mean()) for name in parts}
        self.description = f"training, {', '.join(f'{name} {value:.3f}' for name, value in means.items())}"
        self._recent.clear()
        measured = self._measure(trainer.averaged()) if self._measure and trainer.step % MEASURE_EVERY == 0 else {}
        for log in self._logs:
            log(trainer.step, {**means, **measured, "learning_rate": float(trainer.schedule.get_last_lr()[0])})


# ---- resume ------------------------------------------------------------------------------------


def save_state(trainer: Trainer, out: Path) -> None:
    """Write what an exact resume needs to `out`, whole or not at all."""
    buffer = io.BytesIO()
    torch.save({**trainer.state(), CONFIG: plain(trainer.config), "made_of": trainer.made_of}, buffer)
    write_atomic(out / STATE, buffer.getvalue())


def resume(trainer: Trainer, out: Path) -> None:
    """Restore the state in `out`, if any. UserError when it was begun with other options, data or another network."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / STATE).is_file():
        return
    state = _read_state(out / STATE, {CONFIG, *trainer.state()})
    check_options(state.pop(CONFIG), trainer.config, out)
    check_made_of(state.pop("made_of", {}), trainer.made_of, out)
    shapes = {name: value.shape for name, value in trainer.model.state_dict().items()}
    if shapes != {name: value.shape for name, value in state["model"].items()}:
        raise UserError(f"{out} was begun with another network; name a new out=DIR")
    if _sizes(state["optimizer"]) != _sizes(trainer.optimizer.state_dict()):
        raise UserError(f"{out} was begun with other parts learning at optim.pretrained_rate; name a new out=DIR")
    trainer.restore(state)
    _log.info("going on at step %d", trainer.step)


def _sizes(optimizer: Mapping[str, Any]) -> list[int]:
    """Return how many parameters learn at each rate."""
    return [len(group["params"]) for group in optimizer["param_groups"]]


def _read_state(path: Path, parts: set[str]) -> dict[str, Any]:
    """What `save_state` wrote, on the CPU wherever it was. UserError when the file was truncated or changed, or is
    something else: without one of `parts`.
    """
    try:
        with zipfile.ZipFile(path) as file:  # torch does not look at its checksums
            if wrong := file.testzip():
                raise ValueError(f"{wrong} was changed")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not parts <= state.keys():
            raise ValueError("it is no state of a training")
        return state
    except (*UNREADABLE, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        raise UserError(
            f"{path} is broken ({reason(error)}); remove it to begin anew, or name a new out=DIR"
        ) from error


def check_made_of(before: Mapping[str, Any] | list, now: Mapping[str, Any], out: Path) -> None:
    """UserError names what a run in `out` was begun with and that is another now."""
    known = {DATA: before} if isinstance(before, list) else before  # older states have the data alone, or nothing
    for what, value in now.items():
        if known.get(what, value) != value:
            raise UserError(f"{out} was begun with other {what}; name a new out=DIR")


def check_options(before: Mapping[str, Any], config: OptimConfig, out: Path) -> None:
    """UserError names an option that a run in `out` was begun with and that is another now."""
    for name, value in plain(config).items():
        begun = before.get(name, getattr(type(config)(), name))  # an older state lacks an option: its default
        if name not in FREE and begun != value:
            raise UserError(f"{out} was begun with optim.{name}={begun}, not {value}; name a new out=DIR")
