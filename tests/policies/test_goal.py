"""A picture of the goal in the prompt: which one in training and in acting, what is done without one."""

import dataclasses

import numpy as np
import pytest
import torch
from fr3 import FR3
from learning import SIZE, SPEC, TINY, FakeVision, about, tiny_model, training_data, write_demos

from policies.core.registry import FUSIONS
from policies.evaluation.expert_goal import ExpertGoal
from policies.export.graph_decider import load_graph_agent
from policies.export.whole_policy import WholePolicy
from policies.models import checkpoint
from policies.pretrain_grounding import PretrainGroundingConfig
from policies.processing.data import Source
from policies.runtime.agent import load_agent
from policies.runtime.chunk_agent import Timing
from policies.runtime.decider import Conditioning, Decider
from sim.collect import CollectConfig, collect
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.dataset.reader import Dataset
from sim.randomize.ranges import nominal
from sim.scene.build import RenderConfig

FUSION = FUSIONS.get("cross_attention")(width=32, layers=2, readouts=2, goal=True)
GOAL = dataclasses.replace(TINY, fusion=FUSION)
LENGTHS = (6, 9)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = write_demos(tmp_path_factory.mktemp("goal") / "demos", LENGTHS)
    return training_data(Source(root), policy=GOAL.build(SPEC))


def test_a_sample_is_shown_what_its_episode_came_to(data):
    dataset, batch = data.tables[0].dataset, data.batch(0, np.array([0, 3, 6, 14]))
    for row, episode in enumerate((0, 0, 1, 1)):
        last = dataset.images(episode, "front", [LENGTHS[episode] - 1])
        for found, expected in zip(batch.inputs.goal, FakeVision().encode(last), strict=True):
            np.testing.assert_allclose(found[row].numpy(), expected[0], atol=1e-3)


def test_another_goal_is_another_deed(data):
    policy, inputs = tiny_model(config=GOAL), data.batch(0, np.array([3])).inputs
    other = dataclasses.replace(inputs, goal=tuple(one.flip(-1) + 1 for one in inputs.goal))
    chunks = [policy.act(one, torch.Generator().manual_seed(0)).chunk for one in (inputs, other)]
    assert not torch.allclose(*chunks, atol=1e-4)


def test_an_agent_asks_for_the_goal_of_every_episode(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, tiny_model(config=GOAL), about())
    rng = np.random.default_rng(0)
    pictures = {seed: rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8) for seed in (7, 8)}
    agent, given = load_agent(tmp_path, goal_picture=pictures.__getitem__), []
    act = agent.policy.act
    monkeypatch.setattr(agent.policy, "act", lambda inputs, *how: given.append(inputs.goal) or act(inputs, *how))
    images = dict.fromkeys(FR3.camera_names, np.zeros((*SIZE, 3), np.uint8))
    look = Observation(images, np.array([*FR3.home_rad, 1.0], np.float32), "put the red cube on the red plate", 0.0)
    for seed in pictures:
        agent.reset(look, seed)
        for _ in range(TINY.execute + 1):
            agent.act(look)
    assert len(given) == 4
    for goal, seed in zip(given, (7, 7, 8, 8), strict=True):
        for found, expected in zip(goal, FakeVision().encode(pictures[seed][None]), strict=True):
            assert np.array_equal(found.numpy(), expected)


def test_the_goal_is_the_last_image_of_the_demonstration_of_the_scene(tmp_path):
    config = CollectConfig(
        task="reach", randomize=nominal(), render=RenderConfig(height=64, width=64), episodes=2, workers=1,
        out=str(tmp_path / "demos"),
    )  # fmt: skip
    collect(config)
    dataset, draw = Dataset(tmp_path / "demos"), ExpertGoal(config.world)
    goals = [draw(seed).astype(int) for seed in dataset.metadata_table()["seed"]]
    lasts = [dataset.images(i, "front", [dataset.length(i) - 1])[0].astype(int) for i in range(2)]
    off = [[np.abs(goal - last).mean() for last in lasts] for goal in goals]  # of 255; the videos lose a little
    assert max(off[0][0], off[1][1]) < 3 < 2 * max(off[0][0], off[1][1]) + 3 < min(off[0][1], off[1][0])


def test_without_a_picture_it_is_refused(tmp_path):
    checkpoint.save(tmp_path, GOAL.build(SPEC), about())
    with pytest.raises(UserError, match="which policies.evaluate alone can draw, without watch=true and graph="):
        load_graph_agent(tmp_path, "positive", None, Timing(), graph=tmp_path / "policy.onnx")
    with pytest.raises(UserError, match="by a picture cannot be exported"):
        WholePolicy(Decider(GOAL.build(SPEC), Conditioning()))
    with pytest.raises(UserError, match="grounding pretraining needs a fusion .* give policy=small"):
        PretrainGroundingConfig(policy=GOAL).build()
