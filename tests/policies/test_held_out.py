"""A policy that learns to find things is measured on held-out scenes, and a warning says when it got worse."""

import dataclasses
import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fr3 import FR3
from learning import QUICK, SPEC, TINY, about, write_demos

from policies.evaluate_eye import EvaluateEyeConfig, evaluate_eye
from policies.eye_training import held_out
from policies.eye_training.held_out import HeldOutScenes, held_out_scenes
from policies.fusion.grounded_points import TruePointsConfig
from policies.fusion.transformer import TransformerConfig
from policies.models import checkpoint
from policies.models.checkpoint import CheckpointMetadata
from policies.processing.data import EpisodeTable, Source
from policies.scenes.looks import SceneConfig, SceneLooker, images_of
from policies.train import TrainConfig, train
from policies.training import loop
from policies.training.fit import new_policy
from rl.algorithms.base import ALGORITHMS
from rl.learning.config import LearningConfig
from rl.learning.retrain import retrain
from rl.learning.round import Round
from sim.core.errors import UserError
from sim.core.provenance import plain
from sim.dataset.reader import Dataset, DatasetWriter
from sim.envs.simulation import SimulationConfig
from sim.randomize.ranges import RandomizeConfig
from sim.scene.build import RenderConfig

WORLD = SimulationConfig("reach", render=RenderConfig(height=32, width=32))


@pytest.fixture
def demos(tmp_path, monkeypatch):
    """A dataset that states the world it was made in."""
    made = DatasetWriter.__init__
    monkeypatch.setattr(
        DatasetWriter, "__init__",
        lambda self, root, schema, fps, robot, about: made(self, root, schema, fps, robot, {"world": plain(WORLD)}),
    )  # fmt: skip
    return write_demos(tmp_path / "demos")


@pytest.mark.parametrize("size", [(48, 32), (32, 48)])
def test_scenes_are_labelled_whatever_the_images_shape(size):
    SceneLooker(SceneConfig(("reach",), (RandomizeConfig(),), size=size)).chunk(0)


def test_data_of_another_version_are_trained_on_and_not_measured(demos, policy, monkeypatch, caplog):
    monkeypatch.setattr(Dataset, "provenance", {"world": {**plain(WORLD), "gravity": 3}})
    assert held_out_scenes(policy, [EpisodeTable(Source(demos))]) is None
    assert f"{demos} is of another version, so nothing is measured" in caplog.text


@pytest.fixture
def policy(demos):
    return new_policy(TINY, [EpisodeTable(Source(demos))], 0, None)[0]


def test_the_error_is_that_of_the_points_that_the_policy_finds(demos, policy):
    scenes = held_out_scenes(policy, [EpisodeTable(Source(demos))])
    assert isinstance(scenes, HeldOutScenes) and scenes(policy) == scenes.start
    with torch.no_grad():
        policy.fusion.grounding[-1].weight.zero_()
        policy.fusion.grounding[-1].bias.zero_()  # then every point is where the labels are centred
    at = policy.fusion.point_center[1, :2]
    off_mm = 1e3 * np.linalg.norm(scenes._points_b[:, 1, :2] - at, axis=-1)
    assert scenes(policy)["eye_target_mm"] == pytest.approx(np.sort(off_mm)[(len(off_mm) - 1) // 2], abs=0.01)
    assert EvaluateEyeConfig.seed == held_out.FIRST_SEED


@pytest.mark.parametrize("cameras", [("wrist", "front"), ("wrist",)])
def test_a_camera_is_shown_its_own_images_in_whatever_order_the_data_have_them(cameras, monkeypatch):
    """LeRobot may have written cameras in another order, or left one out."""
    rng = np.random.default_rng(0)
    row = {
        "images": rng.integers(0, 256, (2, *SPEC.image_size, 3), dtype=np.uint8),
        "state": np.zeros(SPEC.state_dim, np.float32), "points_b": np.zeros((2, 3), np.float32),
    }  # fmt: skip
    looker = SimpleNamespace(chunk=lambda _: [(row, "reach the red plate", "")])
    monkeypatch.setattr(held_out, "_looker", lambda *_: looker)
    seen, asked = (
        HeldOutScenes(TINY.build(dataclasses.replace(SPEC, cameras=names)), [WORLD])._inputs.maps
        for names in (FR3.camera_names, cameras)
    )
    assert tuple(asked) == cameras
    for camera in cameras:
        assert all(torch.equal(one, two) for one, two in zip(seen[camera], asked[camera], strict=True))
    with pytest.raises(UserError, match="unknown camera 'side', expected one of 'front', 'wrist'"):
        images_of({}, FR3, ("side",))


def test_images_need_not_be_square(demos, tmp_path):
    wide = TINY.build(dataclasses.replace(SPEC, image_size=(32, 48)))
    scenes = held_out_scenes(wide, [EpisodeTable(Source(demos))])
    assert scenes and np.isfinite(list(scenes.start.values())).all()
    checkpoint.save(tmp_path / "wide", wide, about())
    measured = evaluate_eye(EvaluateEyeConfig(checkpoint=str(tmp_path / "wide"), task="reach", scenes=1, workers=1))
    assert measured["reach"]


def test_a_training_logs_the_error_and_warns_when_it_grew(demos, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(loop, "LOG_EVERY", 4)
    monkeypatch.setattr(loop, "MEASURE_EVERY", 8)
    monkeypatch.setattr("policies.eye_training.held_out.MEASURE_EVERY", 8)
    monkeypatch.setattr(held_out, "WORSE", 0.0)
    config = TrainConfig(data=(str(demos),), out=str(tmp_path / "out"), policy=TINY, optim=QUICK, init_fusion=None)
    with caplog.at_level(logging.INFO):
        train(config)
    rows = [json.loads(line) for line in (tmp_path / "out" / loop.LOG).read_text().splitlines()]
    assert [row["step"] for row in rows if "eye_object_mm" in row] == [8] and len(rows) == 3
    (warning,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert "the eye got worse than it started" in warning.message and "at first object" in warning.message


def test_what_does_not_learn_to_find_things_is_not_measured(demos, policy, monkeypatch):
    tables = [EpisodeTable(Source(demos))]
    points = dataclasses.replace(TINY, fusion=TruePointsConfig(width=16)).build(tables[0].spec)
    assert held_out_scenes(points, tables) is None
    told = dataclasses.replace(TINY, fusion=TransformerConfig(width=32, layers=1, readouts=1, finder=TINY.fusion))
    assert held_out_scenes(told.build(tables[0].spec), tables) is None
    monkeypatch.setattr(Dataset, "provenance", {"world": {"task": "reach"}})  # of a robot, not of a simulation
    assert held_out_scenes(policy, tables) is None


def test_a_round_measures_what_imitation_measured(demos, policy, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "LOG_EVERY", 4)
    monkeypatch.setattr(loop, "MEASURE_EVERY", 8)
    monkeypatch.setattr("policies.eye_training.held_out.MEASURE_EVERY", 8)
    checkpoint.save(tmp_path / "pretrained", policy, CheckpointMetadata("", "", ("reach",), {}))
    settings = LearningConfig(retrain=QUICK)
    data = Round(1, tmp_path / "round_1", [demos], tmp_path / "pretrained", {"reach": 100}, settings, [demos])
    data.write_labels(ALGORITHMS.get("all_data")().label(data), "all_data")
    retrain(data, guidance=1.0)
    rows = [json.loads(line) for line in (data.policy / loop.LOG).read_text().splitlines()]
    assert [row["step"] for row in rows if "eye_target_mm" in row] == [8]
