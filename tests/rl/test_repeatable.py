"""One seed gives one result: two runs have the same labels, and an interrupted run ends as an uninterrupted one."""

import json
from pathlib import Path

import pytest

from policies.fusion.grounded_points import TruePointsConfig
from policies.models.vla import VlaConfig
from policies.training.optim import OptimConfig
from policies.training.trainer import Trainer
from rl.recap import recap
from rl.run.options import RecapConfig
from rl.value.value_head import ValueConfig
from sim.run.stages import Stages

BRIEF = OptimConfig(steps=4, batch=8, warmup_steps=1, threads=1, save_every=2)


def run(out: Path, rounds: int = 2, seed: int = 0) -> Path:
    recap(RecapConfig(
        task="reach", out=str(out), demo_episodes=4, rollouts=4, interventions=1, rounds=rounds, seed=seed,
        evaluation_episodes=2, check_episodes=0, videos=0, workers=1, init_fusion=None, pretrain=BRIEF, retrain=BRIEF,
        policy=VlaConfig(vision=None, language=None, fusion=TruePointsConfig()),
        value=ValueConfig(folds=2, hidden=8, batch=16, steps_per_epoch=2, max_epochs=2),
    ))  # fmt: skip
    return out


def labels(out: Path) -> list[str]:
    """The tags end in a hash of all indicators and weights."""
    return [json.loads(path.read_text())["tag"] for path in sorted(out.glob("round_*/labels.json"))]


def results(out: Path) -> dict:
    weights = {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.safetensors"))}
    rounds = json.loads((out / "recap.json").read_text())["rounds"]
    return {"labels": labels(out), "weights": weights, "rounds": rounds}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict:
    return results(run(tmp_path_factory.mktemp("whole")))


def interrupt(monkeypatch, owner: type, method: str, call: int) -> None:
    """Raise KeyboardInterrupt in the call-th call of a method, once it has done its work."""
    original, calls = getattr(owner, method), []

    def interrupted(self, *arguments):
        found = original(self, *arguments)
        calls.append(method)
        if len(calls) == call:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(owner, method, interrupted)


@pytest.mark.parametrize(("owner", "method", "call"), [(Stages, "run", 4), (Trainer, "update", 7)])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(monkeypatch, tmp_path, uninterrupted, owner, method, call):
    """Stopped after the labels' first inputs are recorded; then amid round 1's training, past its last saved state."""
    with monkeypatch.context() as patched:
        interrupt(patched, owner, method, call)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert not (tmp_path / "recap.json").exists()
    assert results(run(tmp_path)) == uninterrupted


def test_another_seed_labels_otherwise(tmp_path, uninterrupted):
    """Else the equality above would say nothing."""
    assert labels(run(tmp_path, seed=1, rounds=1)) != uninterrupted["labels"][:1]
