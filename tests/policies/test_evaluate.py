"""Evaluation: results.json holds every episode with what was drawn for it, the list printed only the worst slices."""

import json

from fr3 import FR3
from learning import about, tiny_model

from policies import evaluate
from policies.evaluate import WORST, EvaluateConfig
from sim.episode.loop import EpisodeResult
from sim.episode.slices import slices
from sim.guard.motion_guard import GuardReport


class DarkFails:
    """Plays by saying which seeds fail: those with little light."""

    def __init__(self, config: EvaluateConfig):
        self._first = config.seed

    def __call__(self, seed: int) -> tuple[EpisodeResult, list[float], dict]:
        i = seed - self._first
        drawn = {f"term_{k}": float((7 * i + k) % 60) for k in range(4)} | {"light_strength": i / 60}
        return EpisodeResult(seed, i >= 20, 100, 5.0, GuardReport()), [0.01], drawn


def test_success_by_any_axis_can_be_computed_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate, "PolicyWorker", DarkFails)
    monkeypatch.setattr(evaluate.checkpoint, "load", lambda _: (tiny_model(), about()))
    evaluate.evaluate(EvaluateConfig(checkpoint="x", out=str(tmp_path), episodes=60, workers=1))
    written = json.loads((tmp_path / "results.json").read_text())
    dark = [one["success"] for one in written["episodes"] if one["draws"]["light_strength"] < 20 / 60]
    assert dark == [False] * 20 and written["n"] == 60
    every = slices([one["draws"] for one in written["episodes"]], [one["success"] for one in written["episodes"]], FR3)
    assert len(every) == 15 and [str(one) for one in every[:WORST]] == written["worst_slices"]
    assert capsys.readouterr().out.count("light_strength") == 3 - sum("light" in str(one) for one in every[WORST:])
