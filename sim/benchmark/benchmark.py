"""`python -m sim.benchmark [actions=300] [repeats=3] [robosuite=VENV/bin/python] [baseline=CHECKOUT]`

How fast the environment is beside what bounds it on this machine: the same scene with nothing but
`mj_step` and one drawing per camera in a loop. Both are measured by turns in one run; medians. robosuite
cannot share an environment with our MuJoCo; where one has it, its rate is measured too. With `baseline=`, this
checkout and another collect, step and render by turns instead, and the ratios are printed.
"""

import functools
import logging
import multiprocessing
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path

import mujoco
import numpy as np
from rich.table import Table

from sim.benchmark.versions import TITLES, compare
from sim.core.checkout import Checkout
from sim.core.comparison import BASELINE, THIS, comparison_table, medians
from sim.core.console import table as as_table
from sim.core.errors import UserError
from sim.core.options import Options, at_least, option
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.parallel.workers import ONE_THREAD, START_METHOD, WorkerConfig, map_seeds
from sim.scene.build import RenderConfig

_log = logging.getLogger(__name__)

SIZES_PX, CAMERAS, WORKERS = (96, 224), (0, 1, 2), (1, 2)
SETTINGS = [(s, c, w) for s in SIZES_PX for c in CAMERAS for w in WORKERS if c or s == SIZES_PX[0]]
RESETS = 50
ROBOSUITE_ACTIONS = 40
READY_WITHIN_S = 120.0  # else a worker has died


@dataclass(frozen=True)
class BenchmarkConfig(Options):
    """Options of the program."""

    actions: int = option(300, "of a measurement", at_least(10))
    repeats: int = option(3, "measurements, of which the median counts", at_least(1))
    robosuite: str | None = option(None, "the Python of an environment that has robosuite")
    baseline: str | None = option(None, "another checkout of this repository, measured by turns instead")
    episodes: int = option(8, "that a checkout collects in a turn, with baseline=", at_least(3))


@dataclass(frozen=True)
class Setting:
    """One line of the table."""

    size_px: int
    cameras: int
    workers: int


class EnvPlayer:
    """Times actions of the environment: servo, delays, physics, the task's judgement, images."""

    def __init__(self, setting: Setting, actions: int, everybody: Barrier):
        """everybody: where the workers of one measurement wait until all are ready."""
        self._actions, self._everybody = actions, everybody
        self._env = SimEnv(_world(setting))
        self._cameras = self._env.robot.camera_names[: setting.cameras]

    def __call__(self, seed: int) -> tuple[float, float]:
        """Play, and return when the actions began and ended, s."""
        self._env.reset(seed)
        targets = _swing(self._env.observe().state, self._actions)
        self._draw()
        self._everybody.wait(READY_WITHIN_S)
        begun_s = time.monotonic()  # one clock of the whole machine
        for target in targets:
            self._act(target)
            self._draw()
        return begun_s, time.monotonic()

    def _act(self, target: np.ndarray) -> None:
        self._env.apply(target)

    def _draw(self) -> None:
        images = self._env.observe().images
        for camera in self._cameras:
            images[camera]


class BarePlayer(EnvPlayer):
    """The same scene, steps and images, without anything of ours around them."""

    def _act(self, target: np.ndarray) -> None:
        world = self._env.world
        world.data.ctrl[world.scene.arm_actuators] = target[:-1]
        mujoco.mj_step(world.scene.model, world.data, self._env.steps_per_action)

    def _draw(self) -> None:
        for camera in self._cameras:
            self._env.world.render(camera)


def _world(setting: Setting) -> SimulationConfig:
    return SimulationConfig(render=RenderConfig(height=setting.size_px, width=setting.size_px))


def _swing(state: np.ndarray, actions: int) -> np.ndarray:
    """Return (actions, D) targets of a gentle swing around a pose, the gripper opening and closing."""
    phase = 2 * np.pi * np.arange(actions) / 80
    targets = np.tile(state, (actions, 1))
    targets[:, :-1] += 0.1 * np.sin(phase)[:, None]
    targets[:, -1] = 0.5 + 0.5 * np.cos(phase)
    return targets


def spans(kind: type[EnvPlayer], setting: Setting, actions: int) -> list[tuple[float, float]]:
    """Return when each worker's actions began and ended, s of one clock: they begin together."""
    everybody = multiprocessing.get_context(START_METHOD).Barrier(setting.workers)
    make = functools.partial(kind, setting, actions, everybody)
    return list(map_seeds(make, range(setting.workers), WorkerConfig(setting.workers)))


def rate(played: Sequence[tuple[float, float]], actions: int) -> float:
    """Return the actions a second of all workers together: all their actions, from the first begin to the last end."""
    begun_s, ended_s = zip(*played, strict=True)
    return actions * len(played) / (max(ended_s) - min(begun_s))


def measure(setting: Setting, config: BenchmarkConfig) -> tuple[float, float]:
    """Measure median rates (environment, bare), by turns."""
    rates = [
        [rate(spans(kind, setting, config.actions), config.actions) for kind in (EnvPlayer, BarePlayer)]
        for _ in range(config.repeats)
    ]
    ours, bare = np.median(rates, axis=0)
    return float(ours), float(bare)


def reset_ms() -> float:
    """Return the median time of a reset, ms."""
    env, times = SimEnv(), []
    for seed in range(RESETS):
        begun = time.perf_counter()
        env.reset(seed)
        times.append(time.perf_counter() - begun)
    return 1e3 * float(np.median(times))


def robosuite_rate(python: str, size_px: int) -> float:
    """Return the actions a second of robosuite's PickPlaceCan with two cameras, by the other environment's Python."""
    script = Path(__file__).with_name("robosuite_rate.py")
    try:
        theirs = {name: value for name, value in os.environ.items() if name not in ONE_THREAD}  # all cores are its
        command = [python, str(script), str(ROBOSUITE_ACTIONS), str(size_px)]
        ran = subprocess.run(command, capture_output=True, text=True, env=theirs)
        said, reason = ran.stdout, (ran.stderr.strip().splitlines() or ["it printed no rate"])[-1]
    except OSError as error:
        said, reason = "", str(error)
    lines = [line for line in said.splitlines() if line.startswith("rate ")]
    if not lines:
        raise UserError(f"robosuite={python}: expected the Python of an environment with robosuite; {reason}")
    return float(lines[-1].split()[1])


def main(config: BenchmarkConfig) -> None:
    """Measure every setting and print the table; every worker draws with one thread, as those of a pool do."""
    os.environ.update(ONE_THREAD)
    if config.baseline:
        checkouts = {THIS: Checkout.own(), BASELINE: Checkout(Path(config.baseline))}
        found = compare(checkouts, config.actions, config.episodes, config.repeats)
        _log.info("by turns", extra=as_table("versions", comparison_table(found, TITLES), **medians(found)))
        return
    table = Table("image, px", "cameras", "workers", "actions/s", "bare loop", "ours/bare", "x real time")
    rates: dict[tuple[int, int, int], float] = {}
    hz = SimulationConfig().robot.load().control_hz
    for size_px, cameras, workers in SETTINGS:
        ours, bare = measure(Setting(size_px, cameras, workers), config)
        rates[size_px, cameras, workers] = ours
        gain = f" (x{ours / rates[size_px, cameras, 1]:.2f})" if workers > 1 else ""
        size = str(size_px) if cameras else "-"
        cells = (f"{ours:.0f}{gain}", f"{bare:.0f}", f"{ours / bare:.2f}", f"{ours / hz:.0f}")
        table.add_row(size, str(cameras), str(workers), *cells)
    rows = [{"px": px, "cameras": n, "workers": w, "actions_per_s": rate} for (px, n, w), rate in rates.items()]
    _log.info("actions a second", extra=as_table("rates", table, rates=rows))
    _log.info("reset, median of %d: %.1f ms", RESETS, reset_ms())
    for size_px in SIZES_PX:
        if config.robosuite is None:
            break
        theirs = float(np.median([robosuite_rate(config.robosuite, size_px) for _ in range(config.repeats)]))
        one, two = (rates[size_px, 2, workers] / theirs for workers in WORKERS)
        _log.info(
            "robosuite, PickPlaceCan, two cameras of %d px, one process: %.1f actions/s; one worker of ours x%.0f, "
            "two x%.0f", size_px, theirs, one, two,
        )  # fmt: skip
