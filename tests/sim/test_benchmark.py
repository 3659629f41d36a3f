"""The benchmark measures what it says: both loops play the same scene, and nothing is left out."""

import numpy as np
import pytest

from sim import benchmark
from sim.benchmark import BareRate, BenchmarkConfig, EnvRate, Setting, measure
from sim.errors import UserError
from sim.world import World


def test_each_loop_draws_every_camera_once_an_action(monkeypatch):
    drawn = []
    render = World.render
    monkeypatch.setattr(
        World, "render", lambda world, camera, *qpos: drawn.append(camera) or render(world, camera, *qpos)
    )
    for kind in (EnvRate, BareRate):
        drawn.clear()
        assert kind(Setting(96, 2, 1), 10)(0) > 0
        assert drawn == ["front", "wrist"] * 11  # and once before the clock runs


def test_without_cameras_nothing_is_drawn(monkeypatch):
    monkeypatch.setattr(World, "render", None)
    assert min(measure(Setting(96, 0, 1), BenchmarkConfig(actions=10, repeats=1))) > 0


def test_the_swing_stays_within_what_an_arm_may_do():
    targets = benchmark._swing(np.zeros(7, np.float32), 160)
    assert np.abs(np.diff(targets[:, :-1], axis=0)).max() / 0.05 < np.deg2rad(70)
    assert targets[:, -1].min() == pytest.approx(0, abs=1e-3) and targets[:, -1].max() == 1


def test_too_few_actions_are_refused():
    with pytest.raises(UserError, match="actions=1 repeats=3"):
        BenchmarkConfig(actions=1)
