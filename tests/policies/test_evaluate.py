"""Evaluation: results.json holds every episode with what was drawn for it, the list printed only the worst slices."""

import json
from dataclasses import replace

import numpy as np
from fr3 import FR3
from learning import about, tiny_model

from policies import evaluate
from policies.evaluate import WORST, EvaluateConfig
from policies.evaluation.slices import slices
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
        return EpisodeResult(seed, i >= 20, 100, 5.0, GuardReport()), [0.01], params, touched


def test_success_by_any_axis_can_be_computed_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate, "PolicyWorker", DarkFails)
    monkeypatch.setattr(evaluate.checkpoint, "load", lambda _: (tiny_model(), about()))
    evaluate.evaluate(EvaluateConfig(checkpoint="x", out=str(tmp_path), episodes=60, workers=1))
    written = json.loads((tmp_path / "results.json").read_text())
    dark = [one["success"] for one in written["episodes"] if one["draws"]["light_strength"] < 20 / 60]
    assert dark == [False] * 20 and written["n"] == 60
    params = [EpisodeParams.from_record(one["draws"]) for one in written["episodes"]]
    every = slices(params, [one["success"] for one in written["episodes"]], FR3)
    assert len(every) > WORST and [str(one) for one in every[:WORST]] == written["worst_slices"]
    assert every[0].axis == "light_strength"
    shown = sum(one.axis == "light_strength" for one in every[:WORST])
    assert capsys.readouterr().out.count("light_strength ") == shown
