"""`python -m policies.benchmark [steps=150] [repeats=3] [plays=9] [baseline=CHECKOUT] [busy=2] [backend=onnxruntime]`

Times a gradient step of the default policy and one decision, by the programs themselves: demonstrations are
collected, a policy is trained on them and plays. With `baseline=`, another checkout of this repository does the
same by turns in the same run, and the ratio to it is printed; without, the frozen encoders are timed too. With
`busy=2` training takes turns with training beside two processes that spin. The rate at which the machine multiplies
matrices, and how much of it training uses, stand beside.
`backend=onnxruntime` times alone whole decisions by torch and by the graph that `policies.export` writes; of
`checkpoint=`, by every graph in its folder. `checkpoints=[A,B] data=DIR` times alone whole decisions of several
checkpoints by turns on frames of a dataset, with their energy where the processor counts it.
"""

import json
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from policies.benchmark.backends import BACKENDS, backend_table
from policies.benchmark.encoders import encoder_table
from policies.benchmark.side_by_side import side_by_side
from policies.benchmark.work import matrix_gflops, sample_gflop, spinning
from sim.core.checkout import Checkout
from sim.core.comparison import BASELINE, THIS, Figures, by_turns, comparison_table, medians
from sim.core.console import table as as_table
from sim.core.errors import UserError
from sim.core.options import EACH_PLACE_ONCE, Options, at_least, one_of, option

LOG_EVERY = 50  # steps between two rows of train.jsonl
BATCH = 128
MATRICES = "matrix_gflops"
TITLES = {
    "training_step_ms": "training step, ms",
    "samples_a_second": "training, samples a second",
    MATRICES: "matrix products, GFLOP/s",
    "decision_ms": "decision, ms",
}
Found = dict[str, list[Figures]]  # checkout -> its figures by repeat

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PolicyBenchmarkConfig(Options):
    """Options of the program."""

    steps: int = option(150, "of a training", at_least(3 * LOG_EVERY))
    repeats: int = option(3, "trainings of every checkout", at_least(1))
    plays: int = option(9, "evaluations of every checkout, two episodes each", at_least(1))
    episodes: int = option(8, "demonstrations to train on", at_least(1))
    threads: int = option(2, "of training", at_least(1))
    baseline: str | None = option(None, "another checkout of this repository, measured by turns")
    busy: int = option(0, "processes that spin beside every second training, which alone is timed then", at_least(0))
    backend: str = option(
        "torch", "what decides; onnxruntime: timed beside torch, and nothing else is", one_of(*BACKENDS)
    )
    checkpoint: str | None = option(None, "whose graphs backend=onnxruntime times; null: of the default policy")
    checkpoints: tuple[str, ...] = option((), "policies whose decisions are timed by turns", EACH_PLACE_ONCE)
    data: str | None = option(None, "dataset on whose frames checkpoints= decide")

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.checkpoints) != bool(self.data):
            given = f"checkpoints=[{','.join(self.checkpoints)}] data={self.data}"
            raise UserError(f"{given}: expected both, or neither")
        if self.checkpoints and (self.checkpoint or self.baseline or self.backend != "torch"):
            raise UserError("checkpoints= is timed alone: expected no checkpoint=, baseline= or backend= beside it")
        if self.busy and (self.checkpoints or self.baseline or self.backend != "torch"):
            raise UserError(f"busy={self.busy} times training: expected no checkpoints=, baseline= or backend= too")
        if self.baseline and self.backend != "torch":
            given = f"baseline={self.baseline} backend={self.backend}"
            raise UserError(f"{given}: expected one of them, backend= times this checkout alone")
        if self.checkpoint and self.backend == "torch":
            raise UserError(f"checkpoint={self.checkpoint}: expected with backend=onnxruntime alone")


class Course:
    """Collects, trains and plays with one checkout, in a folder of its own."""

    def __init__(self, checkout: Checkout, folder: Path, config: PolicyBenchmarkConfig):
        self._checkout, self._folder, self._config, self._demos = checkout, folder, config, folder / "demos"
        checkout.run("sim.collect", f"episodes={config.episodes}", "workers=1", f"out={self._demos}")

    def train(self, repeat: int) -> Figures:
        """Train once more; return the median time of a training step, what that comes to, and the matrix rate."""
        steps, threads = self._config.steps, self._config.threads
        optim = (f"optim.steps={steps}", f"optim.threads={threads}", f"optim.batch={BATCH}")
        out = self._policy(repeat)
        self._checkout.run("policies.train", f"data={self._demos}", f"out={out}", *optim)
        step_ms = float(np.median(step_times_ms(out / "train.jsonl")))
        return {
            "training_step_ms": step_ms, "samples_a_second": 1e3 * BATCH / step_ms, MATRICES: matrix_gflops(threads),
        }  # fmt: skip

    def train_beside(self, repeat: int) -> Figures:
        """Return the same beside processes that spin."""
        with spinning(self._config.busy):
            return self.train(self._config.repeats + repeat)

    def sample_gflop(self) -> float:
        """Return the operations of one sample of the first policy, 1e9."""
        return sample_gflop(self._policy(0), self._demos)

    def play(self, repeat: int) -> Figures:
        """Play the first policy once more; return the median time of a decision, ms."""
        out = self._folder / f"played_{repeat}"
        where = (f"checkpoint={self._policy(0)}", f"out={out}")
        self._checkout.run("policies.evaluate", *where, "episodes=2", "workers=1")
        return {"decision_ms": json.loads((out / "results.json").read_text())["decision_ms_median"]}

    def _policy(self, repeat: int) -> Path:
        return self._folder / f"policy_{repeat}"


def step_times_ms(log: Path) -> list[float]:
    """Return the time of a step between rows of a training log; the first row holds what is done once."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    seconds = np.diff([row["s"] for row in rows])
    return [float(ms) for ms in 1e3 * seconds / np.diff([row["step"] for row in rows])]


def main(config: PolicyBenchmarkConfig) -> None:
    """Measure and print the tables."""
    if config.backend != "torch":
        table, rows = backend_table(config.checkpoint)
        _log.info("decision by backend", extra=as_table("backends", table, backends=rows))
        return
    if config.data:
        table, rows = side_by_side(config.checkpoints, config.data)
        _log.info("decision by checkpoint", extra=as_table("checkpoints", table, checkpoints=rows))
        return
    if config.busy:
        _show(*measure_busy(config))
        return
    checkouts = {THIS: Checkout.own()}
    if config.baseline:
        checkouts[BASELINE] = Checkout(Path(config.baseline))
    trained, played, gflop = measure(checkouts, config)
    _show(trained, gflop)
    _show(played)
    if not config.baseline:
        table, rows = encoder_table()
        _log.info("frozen encoders", extra=as_table("encoders", table, encoders=rows))


def _show(found: Found, gflop: float | None = None) -> None:
    """Print a table of what was found; gflop: of a sample, 1e9 operations."""
    one, middle = next(iter(found.values()))[0], medians(found)
    table = comparison_table(found, {key: TITLES[key] for key in one})
    if gflop:
        used = (f"{name} {gflop * row['samples_a_second'] / row[MATRICES]:.0%}" for name, row in middle.items())
        table.caption = f"{gflop:.3f} GFLOP a sample, of the matrix rate {', '.join(used)}"
    _log.info("speed", extra=as_table("speed", table, sample_gflop=gflop, **middle))


def measure(checkouts: Mapping[str, Checkout], config: PolicyBenchmarkConfig) -> tuple[Found, Found, float]:
    """Return the figures of every checkout by repeat, training and deciding, and the operations of a sample, 1e9."""
    with tempfile.TemporaryDirectory() as folder:
        courses = {name: Course(one, Path(folder) / name, config) for name, one in checkouts.items()}
        trained = by_turns({name: course.train for name, course in courses.items()}, config.repeats)
        played = by_turns({name: course.play for name, course in courses.items()}, config.plays)
        return trained, played, courses[THIS].sample_gflop()


def measure_busy(config: PolicyBenchmarkConfig) -> tuple[Found, float]:
    """Return the figures of training beside processes that spin and alone, and the operations of a sample, 1e9."""
    with tempfile.TemporaryDirectory() as folder:
        course = Course(Checkout.own(), Path(folder), config)
        beside = f"beside {config.busy} that spin"
        return by_turns({beside: course.train_beside, "alone": course.train}, config.repeats), course.sample_gflop()
