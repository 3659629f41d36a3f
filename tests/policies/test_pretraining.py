"""Pretraining programs, as small as they go, through their command lines; what they write starts a policy."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from learning import QUICK, TINY, killed_at
from programs import ended

from policies import pretrain_grounding
from policies.pretrain_grounding import (
    FIRST_SEED,
    GroundingLooker,
    GroundingTable,
    PretrainGroundingConfig,
    errors_m,
    gather,
    pretrain,
)
from policies.processing.observation import ObservationProcessor
from sim.core.errors import UserError
from sim.envs.simulation import Simulation
from sim.randomize.ranges import nominal
from sim.randomize.splits import SplitConfig
from sim.scene.build import RenderConfig

SCENES = 8
SMALL = RenderConfig(height=32, width=32)


@pytest.fixture
def few_scenes(monkeypatch):
    monkeypatch.setattr(pretrain_grounding, "SCENES_PER_CALL", SCENES)


@pytest.mark.usefixtures("few_scenes")
def test_scenes_show_the_things_where_the_layout_put_them():
    looks, world = GroundingLooker(PretrainGroundingConfig(render=SMALL))(2), Simulation()
    held = 0
    for i in range(SCENES):
        world.reset(FIRST_SEED + 2 * SCENES + i)
        assert looks.instructions[i] == world.instruction
        layout, seen = world.params.layout, looks.points[i]
        target = np.array(layout.target_xy_m[0])
        assert np.allclose(seen[1][:2], target, atol=1e-3)
        distance = np.linalg.norm(seen[0][:2] - np.array(layout.object_xy_m[0]))
        held += distance > 0.01
    assert 0 < held < SCENES  # some objects are in the gripper, others stand where they stood


def test_looks_are_as_noisy_as_the_cameras(monkeypatch):
    monkeypatch.setattr(pretrain_grounding, "SCENES_PER_CALL", 1)
    worlds = (replace(nominal(), image_noise=(noise, noise)) for noise in (0.0, 40.0))
    clear, noisy = (GroundingLooker(PretrainGroundingConfig(render=SMALL, randomize=one))(0) for one in worlds)
    assert np.array_equal(clear.state, noisy.state)
    assert len(clear.features) == 4
    assert not any(np.allclose(seen, noisy.features[name], atol=1e-2) for name, seen in clear.features.items())


def test_what_is_held_is_upright_as_the_expert_grasps_it(monkeypatch):
    monkeypatch.setattr(pretrain_grounding, "SCENES_PER_CALL", 1)
    looker, held = GroundingLooker(PretrainGroundingConfig(render=SMALL)), 0
    for seed in range(SCENES):
        looker(seed)
        world = looker._world
        thing = world.scene.objects[0]
        held += world.data.xpos[thing][2] > 0.05
        assert world.data.xmat[thing].reshape(3, 3)[2, 2] == pytest.approx(1.0, abs=1e-3)
    assert held


@pytest.mark.usefixtures("few_scenes")
def test_the_program_writes_weights_that_a_policy_starts_from(tmp_path):
    out = tmp_path / "fusion"
    words = ("optim.steps=2", "optim.batch=4", "optim.warmup_steps=1", "optim.threads=1", "workers=1")
    found = ended(
        "pretrain_grounding", f"scenes={5 * SCENES}", "render.height=32", "render.width=32", f"out={out}", *words
    )
    assert found.code == 0, found.err
    card = json.loads((out / "card.json").read_text())
    assert card["held_out_frames"] == 2
    config = PretrainGroundingConfig(render=SMALL)
    policy = config.build()
    untrained = [parameter.clone() for parameter in policy.fusion.parameters()]
    start = policy.load_pretrained(out)
    assert start["horizontal_error_mm"] == card["horizontal_error_mm"]
    assert any(not torch.equal(a, b) for a, b in zip(untrained, policy.fusion.parameters(), strict=True))
    looks = [GroundingLooker(config)(call) for call in range(5)]
    table = GroundingTable(looks, ObservationProcessor(policy.eval()))
    assert sorted([*table.rows, *table.held_out]) == list(range(5 * SCENES))  # none is both trained on and held out
    errors_mm = 1e3 * errors_m(policy.fusion, table.batch(table.held_out))
    medians = [one["median"] for one in card["horizontal_error_mm"].values()]
    assert np.allclose(np.median(errors_mm, axis=0), medians, atol=0.06)


@pytest.mark.usefixtures("few_scenes")
def test_resuming_on_other_scenes_or_with_another_policy_is_refused(tmp_path, monkeypatch):
    begun = PretrainGroundingConfig(
        scenes=5 * SCENES, render=SMALL, out=str(tmp_path), policy=TINY, optim=QUICK, workers=1
    )
    looks = gather(begun)
    monkeypatch.setattr(pretrain_grounding, "gather", lambda config: looks)
    with killed_at(6):
        pretrain(begun)
    others = {
        "randomize": {"randomize": nominal()}, "split": {"split": SplitConfig(pairs=("red cube",))},
        "scenes": {"scenes": 6 * SCENES}, "task": {"task": "stack"},
        "policy.indicator_dropout": {"policy": replace(TINY, indicator_dropout=0.0)},
    }  # fmt: skip
    for name, option in others.items():
        with pytest.raises(UserError, match=f"was begun with other {name}; name a new out=DIR"):
            pretrain(replace(begun, **option))
    pretrain(begun)
    assert (tmp_path / "card.json").is_file()
