"""The benchmark measures what it says: both loops play the same scene, and nothing is left out."""

import time

import numpy as np
import pytest

from sim.benchmark import benchmark
from sim.benchmark.benchmark import BarePlayer, BenchmarkConfig, EnvPlayer, Setting, measure, rate, spans
from sim.core.errors import UserError
from sim.envs.simulation import Simulation


def test_each_loop_draws_every_camera_once_an_action(monkeypatch):
    drawn = []
    render = Simulation.render
    monkeypatch.setattr(
        Simulation, "render", lambda world, camera, *qpos: drawn.append(camera) or render(world, camera, *qpos)
    )
    for kind in (EnvPlayer, BarePlayer):
        drawn.clear()
        ((begun_s, ended_s),) = spans(kind, Setting(96, 2, 1), 10)
        assert begun_s < ended_s
        assert drawn == ["front", "wrist"] * 11  # and once before the clock runs


def test_without_cameras_nothing_is_drawn(monkeypatch):
    monkeypatch.setattr(Simulation, "render", None)
    assert min(measure(Setting(96, 0, 1), BenchmarkConfig(actions=10, repeats=1))) > 0


class LatePlayer(EnvPlayer):
    """The second worker is ready a second after the first."""

    def __call__(self, seed: int) -> tuple[float, float]:
        time.sleep(float(seed))
        return super().__call__(seed)


def test_workers_begin_together_however_long_one_of_them_needs():
    begun_s, ended_s = zip(*spans(LatePlayer, Setting(96, 0, 2), 200), strict=True)
    assert abs(begun_s[0] - begun_s[1]) < 0.5
    assert max(begun_s) < min(ended_s)


def test_the_rate_of_several_is_over_the_time_that_any_of_them_played():
    assert rate([(1.0, 3.0)], 300) == 150
    assert rate([(1.0, 3.0), (2.0, 4.0)], 300) == 200  # not 150 + 150: they overlap by half


def test_the_swing_stays_within_what_an_arm_may_do():
    targets = benchmark._swing(np.zeros(7, np.float32), 160)
    assert np.abs(np.diff(targets[:, :-1], axis=0)).max() / 0.05 < np.deg2rad(70)
    assert targets[:, -1].min() == pytest.approx(0, abs=1e-3) and targets[:, -1].max() == 1


def test_too_few_actions_are_refused():
    with pytest.raises(UserError, match="actions=1 repeats=3"):
        BenchmarkConfig(actions=1)
