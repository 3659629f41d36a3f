"""`python -m sim.benchmark [actions=300] [repeats=3]`

How fast the environment is beside what bounds it on this machine: the same scene with nothing but
`mj_step` and one drawing per camera in a loop. Both are measured by turns in one run; medians.
"""

import functools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np
from rich.console import Console
from rich.table import Table

from sim.config import run_program
from sim.env import STEPS_PER_ACTION, SimEnv
from sim.errors import UserError
from sim.scene import RenderConfig
from sim.workers import ONE_THREAD, Crew, play_all
from sim.world import WorldConfig

SIZES_PX, CAMERAS, WORKERS = (96, 224), (0, 1, 2), (1, 2)
RESETS = 50


@dataclass(frozen=True)
class BenchmarkConfig:
    """Options of the program."""

    actions: int = 300  # a measurement
    repeats: int = 3

    def __post_init__(self) -> None:
        if self.actions < 10 or self.repeats < 1:
            raise UserError(f"actions={self.actions} repeats={self.repeats}: expected at least 10 and 1")


@dataclass(frozen=True)
class Setting:
    """One line of the table."""

    size_px: int
    cameras: int
    workers: int


class EnvRate:
    """Actions a second of the environment: servo, delays, physics, labels, pictures."""

    def __init__(self, setting: Setting, actions: int):
        self._actions = actions
        self._env = SimEnv(_world(setting))
        self._cameras = self._env.robot.cameras[: setting.cameras]

    def __call__(self, seed: int) -> float:
        env = self._env
        env.reset(seed)
        targets = _swing(env.observe().state, self._actions)
        for camera in self._cameras:
            env.observe().images[camera]
        begun = time.perf_counter()
        for target in targets:
            env.apply(target)
            images = env.observe().images
            for camera in self._cameras:
                images[camera]
        return self._actions / (time.perf_counter() - begun)


class BareRate(EnvRate):
    """The same scene, steps and pictures, without anything of ours around them."""

    def __call__(self, seed: int) -> float:
        self._env.reset(seed)
        world, steps = self._env.world, STEPS_PER_ACTION
        model, data = world.scene.model, world.data
        for camera in self._cameras:
            world.render(camera)
        targets = _swing(world.state(), self._actions)
        begun = time.perf_counter()
        for target in targets:
            data.ctrl[world.scene.arm_actuators] = target[:-1]
            mujoco.mj_step(model, data, steps)
            for camera in self._cameras:
                world.render(camera)
        return self._actions / (time.perf_counter() - begun)


def _world(setting: Setting) -> WorldConfig:
    return WorldConfig(render=RenderConfig(height=setting.size_px, width=setting.size_px))


def _swing(state: np.ndarray, actions: int) -> np.ndarray:
    """(actions, D) targets of a gentle swing around a pose, the gripper opening and closing."""
    phase = 2 * np.pi * np.arange(actions) / 80
    targets = np.tile(state, (actions, 1))
    targets[:, :-1] += 0.1 * np.sin(phase)[:, None]
    targets[:, -1] = 0.5 + 0.5 * np.cos(phase)
    return targets


def rate(make: Callable[[], Callable[[int], float]], workers: int) -> float:
    """Actions a second of all workers together, each measured while the others run."""
    return sum(play_all(make, range(workers), Crew(workers)))


def measure(setting: Setting, config: BenchmarkConfig) -> tuple[float, float]:
    """Median rates (environment, bare), by turns."""
    rates = [
        [rate(functools.partial(kind, setting, config.actions), setting.workers) for kind in (EnvRate, BareRate)]
        for _ in range(config.repeats)
    ]
    ours, bare = np.median(rates, axis=0)
    return float(ours), float(bare)


def reset_ms() -> float:
    """Median time of a reset, ms."""
    env, times = SimEnv(), []
    for seed in range(RESETS):
        begun = time.perf_counter()
        env.reset(seed)
        times.append(time.perf_counter() - begun)
    return 1e3 * float(np.median(times))


def main(config: BenchmarkConfig) -> None:
    """Measure every setting and print the table; every worker draws with one thread, as those of a pool do."""
    os.environ.update(ONE_THREAD)
    table = Table("picture, px", "cameras", "workers", "actions/s", "bare loop", "ours/bare", "x real time")
    one: dict[tuple[int, int], float] = {}
    for setting in (Setting(s, c, w) for s in SIZES_PX for c in CAMERAS for w in WORKERS if c or s == SIZES_PX[0]):
        ours, bare = measure(setting, config)
        one.setdefault((setting.size_px, setting.cameras), ours)
        size = str(setting.size_px) if setting.cameras else "-"
        gain = (
            f"{ours:.0f}"
            if setting.workers == 1
            else f"{ours:.0f} (x{ours / one[setting.size_px, setting.cameras]:.2f})"
        )
        table.add_row(
            size,
            str(setting.cameras),
            str(setting.workers),
            gain,
            f"{bare:.0f}",
            f"{ours / bare:.2f}",
            f"{ours / 20:.0f}",
        )
    console = Console()
    console.print(table)
    console.print(f"reset, median of {RESETS}: {reset_ms():.1f} ms")


if __name__ == "__main__":
    run_program("benchmark", BenchmarkConfig, main, __doc__)
