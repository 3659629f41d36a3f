"""The algorithm box: what follows what, from which checkpoint, on which data. Its parts are stand-ins here;
the slow test runs the real ones."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fr3 import FR3
from outcome_examples import write_dataset

from policies.compare.cells import load_preset
from policies.models import checkpoint
from policies.models.vla import VlaConfig
from rl import recap
from rl.advantage.labels import Labels
from rl.advantage.targets import LabelConfig
from rl.algorithms.recap import Recap
from rl.data.pool import open_pool
from rl.learning import retrain
from rl.run import offline_run
from rl.run.options import RecapConfig
from sim.core.config import CONF
from sim.core.errors import UserError
from sim.dataset.reader import Dataset, read_sidecar
from sim.episode.results import summary, write


class Parts:
    """Stand-ins that note what they were asked for and leave behind what comes next needs."""

    def __init__(self):
        self.log: list[tuple] = []
        self.fail_at = ""

    def note(self, *call) -> None:
        if call[0] == self.fail_at:
            raise KeyboardInterrupt
        self.log.append(call)

    def collect(self, config):
        self.note("collect", config.episodes, config.seed)
        write_dataset(Path(config.out), [(i, 30, True, None) for i in range(config.episodes)], "expert")

    def train(self, config, tracker=None):
        self.note("imitate", *config.data)
        self.weights(Path(config.out))

    def weights(self, out):
        out.mkdir(parents=True, exist_ok=True)
        (out / checkpoint.WEIGHTS).touch()

    def evaluate(self, config, tracker=None):
        self.note("evaluate", config.checkpoint, config.guidance, config.seed, config.episodes)
        rows = [{"seed": config.seed + i, "success": i % 2 == 0, "time_s": 5.0} for i in range(config.episodes)]
        write(Path(config.out), {**summary(rows), "episodes": rows})

    def expert(self, out, world, seeds, workers):
        self.note("expert", list(seeds))
        rows = [{"seed": seed, "success": True, "time_s": 4.0} for seed in seeds]
        write(out, {**summary(rows), "episodes": rows})

    def rollouts(self, out, world, behaviour, seeds, workers):
        self.note("rollouts", behaviour.checkpoint, behaviour.guidance, list(seeds))
        write_dataset(out, [(s, 40, s % 2 == 0, None) for s in seeds])

    def interventions(self, out, world, behaviour, rollouts, most, workers, trigger):
        self.note("interventions", behaviour.checkpoint, most)
        write_dataset(
            out, [(s, 50, True, 20) for s in Dataset(rollouts).metadata_table()["seed"][:most]], "intervention"
        )

    def label(self, data):
        newest = {data.pool.datasets[d].root for d in set(data.pool.per_frame(data.pool.dataset)[data.newest])}
        self.note("label", data.number, [root.name for root in data.datasets], *newest)
        return Labels(np.arange(len(data.pool.owner)) % 2 == 0, np.ones(len(data.pool.owner), np.float32))

    def data(self, sources, processor, shares, workers):
        self.note("data", [(source.root.name, source.labels) for source in sources], shares)

    def fit(self, model, data, optim, out, about, tracker):
        self.note("fit", model.root, optim.steps)
        self.weights(out)


@pytest.fixture
def parts(monkeypatch) -> Parts:
    parts = Parts()
    monkeypatch.setattr(offline_run, "collect", parts.collect)
    monkeypatch.setattr(offline_run.train, "train", parts.train)
    monkeypatch.setattr(offline_run, "evaluate", parts.evaluate)
    monkeypatch.setattr(offline_run, "record_expert", parts.expert)
    monkeypatch.setattr(offline_run, "record_rollouts", parts.rollouts)
    monkeypatch.setattr(offline_run, "record_interventions", parts.interventions)
    monkeypatch.setattr(Recap, "label", lambda self, data: parts.label(data))
    monkeypatch.setattr(retrain, "TrainingData", parts.data)
    monkeypatch.setattr(retrain, "fit_measured", parts.fit)
    monkeypatch.setattr(retrain, "ObservationProcessor", lambda policy: None)
    monkeypatch.setattr(retrain, "EpisodeTable", lambda source: source)
    monkeypatch.setattr(retrain, "Dataset", lambda root: None)
    monkeypatch.setattr(retrain, "describe_training", lambda *_: None)
    spec = SimpleNamespace(robot=FR3.name, control_hz=FR3.control_hz)
    metadata = checkpoint.CheckpointMetadata("", "", ("pick_place",), {})
    made = {"spec": spec, "config": VlaConfig(), "needs": SimpleNamespace(images=False, goal=False)}

    def policy(root) -> SimpleNamespace:
        return SimpleNamespace(root=str(root), state_dict=dict, **made)

    monkeypatch.setattr(checkpoint, "load", lambda root: (policy(root), metadata))
    return parts


def settings(out: Path, **changes) -> RecapConfig:
    sizes = {
        "demo_episodes": 4,
        "rollouts": 3,
        "interventions": 2,
        "evaluation_episodes": 2,
        "rounds": 2,
        "guidance": 1.5,
        "check_episodes": 0,
    }
    return RecapConfig(out=str(out), **{**sizes, **changes})


def test_two_rounds_by_the_box(parts, tmp_path):
    last = recap.recap(settings(tmp_path))
    pretrained, first = str(tmp_path / "pretrained"), str(tmp_path / "round_1" / "policy")
    names = ["demos", "rollouts", "interventions", "rollouts", "interventions"]
    assert last == tmp_path / "round_2" / "policy"
    assert [call for call in parts.log if call[0] != "data"] == [
        ("collect", 4, 0),
        ("imitate", str(tmp_path / "demos")),
        ("evaluate", pretrained, 1.0, 900000, 2),
        ("expert", [900000, 900001]),
        ("rollouts", pretrained, 1.0, [500000, 500001, 500002]),
        ("interventions", pretrained, 2),
        ("label", 1, names[:3], tmp_path / "round_1" / "rollouts"),
        ("fit", pretrained, 3000),
        ("evaluate", first, 1.5, 900000, 2),
        ("rollouts", first, 1.5, [500003, 500004, 500005]),
        ("interventions", first, 2),
        ("label", 2, names, tmp_path / "round_2" / "rollouts"),
        ("fit", pretrained, 3000),  # from the pretrained checkpoint again, not from round 1's
        ("evaluate", str(last), 1.5, 900000, 2),
    ]


def test_all_data_is_labelled_and_demonstrations_keep_their_share(parts, tmp_path):
    recap.recap(settings(tmp_path, rounds=1))
    (_, sources, shares) = next(call for call in parts.log if call[0] == "data")
    assert [name for name, _ in sources] == ["demos", "rollouts", "interventions"]
    labels = json.loads((tmp_path / "round_1" / "labels.json").read_text())
    assert {name for _, name in sources} == {f"advantages_{labels['tag']}"}
    frames = np.array([3 * 40, 2 * 50]) / (3 * 40 + 2 * 50)
    assert shares == pytest.approx([0.4, *(0.6 * frames)])  # demonstrations are 120 of 340 frames


@pytest.mark.parametrize("stage", ["imitate", "expert", "rollouts", "interventions", "label", "fit", "evaluate"])
def test_a_killed_run_goes_on_and_does_nothing_twice(parts, tmp_path, stage):
    parts.fail_at = stage
    with pytest.raises(KeyboardInterrupt):
        recap.recap(settings(tmp_path, rounds=1))
    parts.fail_at = ""
    recap.recap(settings(tmp_path, rounds=1))
    calls = [call[0] for call in parts.log if call[0] != "data"]
    assert calls == [
        "collect",
        "imitate",
        "evaluate",
        "expert",
        "rollouts",
        "interventions",
        "label",
        "fit",
        "evaluate",
    ]


def test_an_evaluation_that_was_written_but_not_noted_is_not_played_again(parts, tmp_path, monkeypatch):
    def killed_at_its_end(config, tracker):
        parts.evaluate(config)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(offline_run, "evaluate", killed_at_its_end)
        with pytest.raises(KeyboardInterrupt):
            recap.recap(settings(tmp_path, rounds=0))
    recap.recap(settings(tmp_path, rounds=0))
    assert [call[0] for call in parts.log] == ["collect", "imitate", "evaluate", "expert"]


def test_a_round_more_is_added_to_a_finished_run(parts, tmp_path):
    recap.recap(settings(tmp_path, rounds=1))
    before = len(parts.log)
    recap.recap(settings(tmp_path, rounds=2))
    assert [call[0] for call in parts.log[before:]] == ["rollouts", "interventions", "label", "data", "fit", "evaluate"]
    assert len(json.loads((tmp_path / "recap.json").read_text())["rounds"]) == 3


def test_the_indicator_is_checked_on_the_evaluations_seeds(parts, tmp_path, caplog):
    recap.recap(settings(tmp_path, rounds=1, check_episodes=2))
    policy = str(tmp_path / "round_1" / "policy")
    evaluated = [call[1:] for call in parts.log if call[0] == "evaluate" and call[1] == policy]
    assert evaluated == [(policy, 1.5, 900000, 2), (policy, 1.0, 900000, 2), (policy, 1.5, 900000, 2)]
    assert "NOT in the expected order" in caplog.text  # the stand-ins are all alike
    (check,) = json.loads((tmp_path / "recap.json").read_text())["checks"]
    assert check["positive"] == check["none"] == check["negative"] == 0.5


def test_a_collection_killed_at_its_very_start(parts, tmp_path):
    (tmp_path / "demos" / "meta").mkdir(parents=True)
    (tmp_path / "demos" / "meta" / "writer.lock").touch()
    recap.recap(settings(tmp_path, rounds=0))
    assert parts.log[0][0] == "collect"


def test_what_is_there_is_taken(parts, tmp_path):
    demos = write_dataset(tmp_path / "mine", [(i, 30, True, None) for i in range(9)], "expert")
    parts.weights(tmp_path / "trained")
    recap.recap(settings(tmp_path / "out", demos=str(demos), pretrained=str(tmp_path / "trained"), rounds=0))
    assert [call[:2] for call in parts.log] == [
        ("evaluate", str(tmp_path / "trained")),
        ("expert", list(range(900000, 900002))),
    ]


def test_a_policys_own_demonstrations_are_not_added_to(parts, tmp_path):
    demos = write_dataset(tmp_path / "mine", [(i, 30, True, None) for i in range(3)], "expert")
    parts.weights(tmp_path / "trained")
    recap.recap(settings(tmp_path / "out", demos=str(demos), pretrained=str(tmp_path / "trained"), rounds=0))
    assert "collect" not in [call[0] for call in parts.log]


def test_demonstrations_that_the_run_was_killed_amid_are_filled_up_beside_a_given_policy(parts, tmp_path):
    write_dataset(tmp_path / "out" / "demos", [(i, 30, True, None) for i in range(3)], "expert")
    parts.weights(tmp_path / "trained")
    recap.recap(settings(tmp_path / "out", pretrained=str(tmp_path / "trained"), rounds=0))
    assert parts.log[0] == ("collect", 4, 0)


def test_a_limit_that_the_labels_cannot_have_is_told_before_anything_is_collected(parts, tmp_path):
    with pytest.raises(UserError, match=r"label\.fail_cost"):
        recap.recap(settings(tmp_path, label=LabelConfig(convention="B", fail_cost=10)))
    assert parts.log == []


def test_a_policy_that_plays_no_rollouts_is_told_before_anything_is_collected(parts, tmp_path):
    with pytest.raises(UserError, match="told its goal by a picture"):
        recap.recap(settings(tmp_path, policy=load_preset("vima")))
    assert parts.log == []


def test_without_guidance_the_indicator_changes_nothing_and_is_not_checked(parts, tmp_path, caplog):
    with caplog.at_level("INFO"):
        recap.recap(settings(tmp_path, rounds=1, check_episodes=2, guidance=0.0))
    assert "guidance=0: the policy plays alike whatever the indicator" in caplog.text
    assert json.loads((tmp_path / "recap.json").read_text())["checks"] == []


def test_demonstrations_must_not_hold_what_is_tested_on(parts, tmp_path):
    demos = write_dataset(tmp_path / "mine", [(900001 + i, 30, True, None) for i in range(9)], "expert")
    with pytest.raises(UserError, match="holds seed 900001, which is evaluated on"):
        recap.recap(settings(tmp_path / "out", demos=str(demos)))


def test_a_policy_that_needs_no_interventions(parts, tmp_path):
    recap.recap(settings(tmp_path, rounds=1, interventions=0))
    (_, sources, _) = next(call for call in parts.log if call[0] == "data")
    assert [name for name, _ in sources] == ["demos", "rollouts"]


def run_smoke(out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "rl.recap", "+exp=smoke", f"out={out}"]
    return subprocess.Popen(command, cwd=CONF.parent, start_new_session=True)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_real_thing_killed_amid_its_rollouts(tmp_path):
    out = tmp_path / "smoke"
    rollouts = out / "round_1" / "rollouts"
    run = run_smoke(out)
    while run.poll() is None and not list(rollouts.glob("meta/episodes/*/*.parquet")):
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert run_smoke(out).wait() == 0
    pool = open_pool([out / "demos", rollouts, out / "round_1" / "interventions"])
    assert Dataset(rollouts).metadata_table()["seed"] == [500000, 500001, 500002]
    tag = json.loads((out / "round_1" / "labels.json").read_text())["tag"]
    for dataset in pool.datasets:
        labels = read_sidecar(dataset.root, f"advantages_{tag}")
        assert len(labels["advantage"]) == dataset.num_frames
    assert pool.intervention.any()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert len(before) == 3
    assert run_smoke(out).wait() == 0
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert len(json.loads((out / "recap.json").read_text())["rounds"]) == 2
