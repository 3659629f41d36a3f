"""Evaluation: results.json holds every episode with what was drawn for it, the list printed only the worst slices."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from fr3 import FR3
from learning import about, tiny_model

from policies import evaluate
from policies.evaluate import WORST, EvaluateConfig
from policies.evaluation.slices import slices
from policies.models import checkpoint
from sim.core.errors import UserError
from sim.core.files import LOCK, Lock, write_atomic
from sim.episode import results
from sim.episode.loop import EpisodeResult
from sim.guard.motion_guard import GuardReport
from sim.randomize.episode_params import EpisodeParams
from sim.randomize.randomization import draw_randomization
from sim.randomize.ranges import RandomizeConfig
from sim.tasks.base import TASKS


class DarkFails:
    """Plays by saying which seeds fail: those with little light."""

    def __init__(self, config: EvaluateConfig):
        self._first = config.seed

    def __call__(self, seed: int) -> evaluate.Played:
        i, rng = seed - self._first, np.random.default_rng(seed)
        layout = TASKS.get("pick_place").draw_layout(rng, RandomizeConfig())
        randomization = draw_randomization(rng, RandomizeConfig(), FR3, 3, 3)
        params = EpisodeParams(layout, replace(randomization, light_strength=i / 60))
        touched = {"first_touched": "other" if i < 5 else "handled", "other_things": i % 2}
        touched["within_m"] = {"object": [0.02 - i / 6000, 0.5], "target": [0.01, 0.01]}  # unsure where it is dark
        moved = {"placement_error_mm": float(i), "jerk_rad_s3": 2.0 * i, "way": None}
        return evaluate.Played(EpisodeResult(seed, i >= 20, 100, 5.0, GuardReport()), [0.01], params, touched | moved)


def test_success_by_any_axis_can_be_computed_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate, "PolicyWorker", DarkFails)
    monkeypatch.setattr(checkpoint, "load", lambda _: (tiny_model(), about()))
    evaluate.evaluate(EvaluateConfig(checkpoint="x", out=str(tmp_path), episodes=60, workers=1))
    written = json.loads((tmp_path / "results.json").read_text())
    dark = [one["success"] for one in written["episodes"] if one["draws"]["light_strength"] < 20 / 60]
    assert dark == [False] * 20 and written["n"] == 60
    params = [EpisodeParams.from_record(one["draws"]) for one in written["episodes"]]
    noted = [{"within_m object": one["within_m"]["object"][0]} for one in written["episodes"]]
    every = slices(params, [one["success"] for one in written["episodes"]], FR3, noted)
    assert len(every) > WORST and [str(one) for one in every[:WORST]] == written["worst_slices"]
    assert {one.axis for one in every[:2]} == {"light_strength", "within_m object"}
    assert (written["wrong_first"], written["wrong_first_n"], written["wrong_first_rate"]) == (2, 30, 2 / 30)
    assert (written["execute"], written["inference_delay_s"]) == (2, 0.0)
    # of 60 episodes those from the 20th succeed: placement counts in them alone, jerk in all
    assert (written["placement_error_mm_median"], written["jerk_rad_s3_median"]) == (39.5, 59.0)
    shown = sum(one.axis == "light_strength" for one in every[:WORST])
    printed = capsys.readouterr().out
    assert printed.count("light_strength ") == shown
    assert "wrong thing touched first in 2 of 30" in " ".join(printed.split())


@pytest.fixture
def config(tmp_path, monkeypatch) -> EvaluateConfig:
    """Of four episodes that nothing is played for."""
    monkeypatch.setattr(evaluate, "PolicyWorker", DarkFails)
    monkeypatch.setattr(checkpoint, "load", lambda _: (tiny_model(), about()))
    return EvaluateConfig(checkpoint="x", out=str(tmp_path), episodes=4, workers=1)


def test_videos_of_an_interrupted_evaluation_are_not_this_ones(config):
    for name in ("episode-5-success.mp4", "episode-900000-success.mp4", "mine.mp4"):
        (config.directory / name).touch()
    evaluate.evaluate(config)
    assert [path.name for path in config.directory.glob("*.mp4")] == ["mine.mp4"]


def test_results_are_written_while_the_folder_is_held(config, monkeypatch):
    def write(out, content):
        assert (out / LOCK).is_file()
        write_atomic(out / "results.json", b"{}")

    monkeypatch.setattr(results, "write", write)
    evaluate.evaluate(config)


def test_results_of_another_program_that_held_the_folder_until_now_stay(config, monkeypatch):
    def lock(root, folder):
        write_atomic(root / "results.json", b"another's")
        return Lock(root, folder)

    monkeypatch.setattr(evaluate, "Lock", lock)
    with pytest.raises(UserError, match="holds the results of an evaluation"):
        evaluate.evaluate(config)
    assert (config.directory / "results.json").read_bytes() == b"another's"


def test_all_plays_every_task_that_the_policy_was_trained_on(tmp_path, monkeypatch, capsys):
    tasks = ("pick_place", "reach")
    monkeypatch.setattr(evaluate, "PolicyWorker", DarkFails)
    monkeypatch.setattr(checkpoint, "load", lambda _: (tiny_model(), about(tasks=tasks)))
    config = EvaluateConfig(checkpoint="x", task="all", out=str(tmp_path), episodes=40, workers=1)
    evaluate.main(config)
    written = {task: json.loads((tmp_path / task / "results.json").read_text()) for task in tasks}
    both = json.loads((tmp_path / "results.json").read_text())
    assert [one["config"]["task"] for one in written.values()] == list(tasks) == list(both["tasks"])
    assert both["n"] == 80 and both["mean_success_rate"] == both["worst_success_rate"] == 0.5
    assert both["wrong_first"] == 4 and both["tasks"]["reach"]["success_rate"] == 0.5
    table = capsys.readouterr().out
    assert all(name in table for name in (*tasks, "mean", "2 of 20", "4 of 40"))
    with pytest.raises(UserError, match="holds the results of an evaluation"):
        evaluate.main(config)


def test_all_of_a_policy_of_unknown_tasks_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "load", lambda _: (tiny_model(), about(tasks=())))
    with pytest.raises(UserError, match="task=all: x does not say what it was trained on"):
        evaluate.main(EvaluateConfig(checkpoint="x", task="all", out=str(tmp_path)))


def test_a_server_draws_its_own_noise():
    with pytest.raises(UserError, match="server=ws://x and draw=1, expected a checkpoint"):
        EvaluateConfig(server="ws://x", draw=1)


def test_results_of_weights_trained_anew_are_refused(tmp_path, monkeypatch):
    """A retrained checkpoint at the same path, with all options the same."""
    monkeypatch.setattr(evaluate, "PolicyWorker", DarkFails)
    policy, out = tmp_path / "policy", tmp_path / "all"
    config = EvaluateConfig(checkpoint=str(policy), task="all", out=str(out), episodes=40, workers=1)
    checkpoint.save(policy, tiny_model(), about(tasks=("reach",)))
    evaluate.main(config)
    written = json.loads((out / "reach" / "results.json").read_text())
    assert written["weights_sha256"] == hashlib.sha256((policy / checkpoint.WEIGHTS).read_bytes()).hexdigest()

    (out / "results.json").unlink()  # as of a run that was interrupted
    shutil.rmtree(policy)
    checkpoint.save(policy, tiny_model(1), about(tasks=("reach",)))
    with pytest.raises(UserError, match=r"reach holds an evaluation of other weights.*another out=DIR$"):
        evaluate.main(config)
    before = {name: value for name, value in written.items() if name != "weights_sha256"}  # of an earlier version
    (out / "reach" / "results.json").write_text(json.dumps(before))
    evaluate.main(config)
    assert json.loads((out / "reach" / "results.json").read_text()) == before
