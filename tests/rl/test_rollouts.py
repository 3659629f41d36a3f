"""Recording a policy that needs no images renders none, from its demonstrations on; a dataset is of one policy."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from fr3 import FR3

from policies.core.spec import PolicySpec
from policies.fusion.grounded_points import TruePointsConfig
from policies.models import checkpoint
from policies.models.checkpoint import CheckpointMetadata
from policies.models.vla import VlaConfig
from rl.data.interventions import TriggerConfig
from rl.data.pool import open_pool
from rl.data.rollouts import Behaviour, record_interventions, record_rollouts
from rl.run.options import RecapConfig
from sim.collect import CollectConfig, collect
from sim.core.contract import GROUNDING_COLUMNS
from sim.core.errors import UserError
from sim.dataset.reader import Dataset
from sim.envs.simulation import Simulation, SimulationConfig
from sim.parallel.workers import WorkerConfig

POINTS = VlaConfig(vision=None, language=None, fusion=TruePointsConfig())
ALONE = WorkerConfig(workers=1)


@pytest.fixture
def no_rendering(monkeypatch):
    def refuse(*_):
        raise AssertionError("an image was rendered")

    monkeypatch.setattr(Simulation, "render", refuse)


@pytest.fixture(scope="module")
def behaviour(tmp_path_factory) -> Behaviour:
    """A policy on true points with random weights."""
    out = tmp_path_factory.mktemp("points")
    policy = POINTS.build(PolicySpec(FR3.name, (), (0, 0), FR3.action_dim, FR3.action_dim, GROUNDING_COLUMNS))
    metadata = CheckpointMetadata(tasks=("reach",), provenance={}, vision="", text="")
    checkpoint.save(out, policy, metadata)
    return Behaviour(str(out))


def test_the_policy_of_a_run_decides_whether_its_demonstrations_have_images():
    assert RecapConfig().collect.images
    assert not RecapConfig(policy=POINTS).collect.images


def test_demonstrations_without_images(no_rendering, tmp_path):
    root = collect(CollectConfig(task="reach", episodes=1, out=str(tmp_path / "demos"), workers=1, images=False))
    assert Dataset(root).features.cameras == ()
    assert not list(root.rglob("*.mp4"))


def test_rollouts_and_interventions_without_images(no_rendering, behaviour, tmp_path):
    world, rollouts = SimulationConfig("reach"), tmp_path / "rollouts"
    record_rollouts(rollouts, world, behaviour, [500000, 500001], ALONE)
    record_interventions(tmp_path / "more", world, behaviour, rollouts, 1, ALONE, TriggerConfig())
    pool = open_pool([rollouts, tmp_path / "more"])
    assert {dataset.features.cameras for dataset in pool.datasets} == {()}
    assert pool.source.tolist()[:2] == ["policy", "policy"]
    assert np.isfinite(Dataset(rollouts).columns(0, [GROUNDING_COLUMNS[0]])[GROUNDING_COLUMNS[0]]).all()


def test_a_run_that_was_moved_goes_on_and_another_policy_does_not(behaviour, tmp_path):
    world, out = SimulationConfig("reach"), tmp_path / "rollouts"
    record_rollouts(out, world, behaviour, [500000], ALONE)
    moved = shutil.copytree(behaviour.checkpoint, tmp_path / "moved")
    record_rollouts(out, world, replace(behaviour, checkpoint=str(moved)), [500000, 500001], ALONE)
    assert Dataset(out).num_episodes == 2
    policy, metadata = checkpoint.load(moved)
    policy.state_token.bias.data += 1
    checkpoint.save(tmp_path / "other", policy, metadata)
    with pytest.raises(UserError, match="made with behaviour.weights_sha256="):
        record_rollouts(out, world, replace(behaviour, checkpoint=str(tmp_path / "other")), [500000, 500002], ALONE)
