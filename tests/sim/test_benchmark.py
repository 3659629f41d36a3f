"""The benchmark measures what it says: both loops play the same scene, and nothing is left out."""

import json
import os
import time

import numpy as np
import pytest

from sim.benchmark import benchmark
from sim.benchmark.benchmark import BarePlayer, BenchmarkConfig, EnvPlayer, Setting, measure, rate, spans
from sim.benchmark.versions import SCRIPT, TITLES, commit_rate, compare
from sim.core.checkout import Checkout
from sim.core.comparison import comparison_table, ratios
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
    with pytest.raises(UserError, match="actions=1, expected at least 10"):
        BenchmarkConfig(actions=1)


@pytest.mark.slow
def test_a_checkout_beside_itself_collects_steps_and_renders():
    found = compare({"this": Checkout.own(), "baseline": Checkout.own()}, actions=10, episodes=3, repeats=1)
    assert all(0.1 < ratio < 10 for ratio in ratios(found).values()) and set(ratios(found)) == set(TITLES)
    assert all(value > 0 for row in found.values() for value in row[0].values())


def test_the_script_that_a_checkout_runs_times_physics_and_images():
    times = json.loads(Checkout.own().run_script(SCRIPT, "5").splitlines()[-1])
    assert 0 < times["physics_ms"] < times["render_ms"] * 100 and set(times) < set(TITLES)


def test_a_ratio_is_of_neighbours_in_time():
    this = [{"ms": 1.0}, {"ms": 20.0}, {"ms": 300.0}]  # what else the machine did grew meanwhile
    found = {"this": this, "baseline": [{"ms": 2.0}, {"ms": 40.0}, {"ms": 600.0}]}
    assert ratios(found) == {"ms": 0.5}
    assert [list(column.cells) for column in comparison_table(found, {"ms": "time"}).columns][1:] == [
        ["20"], ["40"], ["0.500"],
    ]  # fmt: skip


def test_the_rate_of_collection_is_from_the_first_episode_to_the_last(tmp_path):
    folder = tmp_path / "meta" / "episodes" / "chunk-000"
    folder.mkdir(parents=True)
    for i, time_s in enumerate((100.0, 100.5, 101.0)):
        (folder / f"file-{i:03d}.parquet").touch()
        os.utime(folder / f"file-{i:03d}.parquet", (time_s, time_s))
    assert commit_rate(tmp_path) == pytest.approx(2.0)
