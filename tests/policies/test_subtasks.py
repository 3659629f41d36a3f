"""A policy that names the sub-task first: true ones of recorded frames, what is learned of them, what follows."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from fr3 import FPS, FR3
from learning import SIZE, SPEC, TINY, learn, make_demo, random_batch, tiny_model, training_data

from policies.core.inputs import Inputs
from policies.core.interface import Decision
from policies.core.registry import FUSIONS
from policies.core.subtasks import SUBTASKS, UNKNOWN
from policies.fusion.subtask import SubtaskToken, subtask_loss
from policies.processing.data import FrameInputs, Source
from policies.processing.observation import ObservationProcessor
from policies.processing.subtasks import frame_subtasks
from policies.runtime.agent import PolicyAgent
from policies.runtime.chunk_agent import Timing
from policies.runtime.decider import Conditioning, Decider
from sim.collect import CollectConfig, collect
from sim.core.contract import Observation
from sim.dataset.reader import Dataset, DatasetWriter
from sim.dataset.recorder import features
from sim.envs.video import with_caption
from sim.randomize.ranges import nominal
from sim.scene.build import RenderConfig
from sim.scene.placement import COLOURS
from sim.tasks.steps import possible_steps

NAMING = dataclasses.replace(TINY, fusion=FUSIONS.get("transformer")(width=32, layers=1, readouts=2, subtask=True))
GO, TAKE = SUBTASKS.index("go to what is named"), SUBTASKS.index("take it where it is named to go")


def record(root: Path, seen_t: list, opening: list[float], steps: str | None = None, target_y: tuple = ()) -> Path:
    """One episode in which the object lies at these places of the tool's frame, m, under fingers this far open."""
    episode = make_demo(0, len(opening))
    columns = {**episode.columns, "grounding.object_pos_t": np.array(seen_t, np.float32)}
    columns["observation.state"][:, -1] = opening
    if target_y:
        columns["grounding.target_pos_w"] = np.array([[-0.3, y, 0.01] for y in target_y], np.float32)
    metadata = episode.metadata | ({"draw/subtasks": steps} if steps else {})
    with DatasetWriter(root, features(FR3, SIZE), FPS, FR3.name) as writer:
        writer.commit(dataclasses.replace(episode, columns=columns, metadata=metadata))
    return root


# ---- true ones ---------------------------------------------------------------------------------

PLACES = [[0.1, 0, 0.2], [0, 0.01, 0.01], [0, 0.01, 0.01], [0, 0.05, 0.01], [0, 0, 0.09], [np.nan] * 3]
OPENING = [1.0, 1.0, 0.4, 0.4, 0.4, 0.4]  # above, around it and open, closed on it, closed beside, above; unknown


def test_what_is_between_closed_fingers_is_on_its_way(tmp_path):
    dataset = Dataset(record(tmp_path / "demos", PLACES, OPENING))
    assert frame_subtasks(dataset, 0).tolist() == [GO, GO, TAKE, GO, GO, UNKNOWN]


def test_of_a_long_instruction_the_thing_is_named(tmp_path):
    steps = "put the white cube on the white plate;put the red cube on the red plate"
    root = record(tmp_path / "demos", PLACES[:3] * 2, OPENING[:3] * 2, steps, (0.1,) * 3 + (-0.1,) * 3)
    assert [SUBTASKS[number] for number in frame_subtasks(Dataset(root), 0)] == [
        *["pick up the white cube"] * 2, "put the white cube on the white plate",
        *["pick up the red cube"] * 2, "put the red cube on the red plate",
    ]  # fmt: skip


def test_every_step_of_a_long_instruction_can_be_named():
    assert set(possible_steps("sort the cubes by colour")) < set(SUBTASKS)
    assert len(set(SUBTASKS)) == len(SUBTASKS) == 2 + 2 * len(COLOURS)


def test_an_expert_goes_to_the_thing_then_takes_it_along(tmp_path):
    """Against the simulator: what is lifted is taken along; nothing is before the fingers close."""
    small = RenderConfig(height=32, width=32)
    collect(CollectConfig(randomize=nominal(), render=small, episodes=1, workers=1, out=str(tmp_path / "demos")))
    dataset = Dataset(tmp_path / "demos")
    numbers = frame_subtasks(dataset, 0)
    columns = dataset.columns(0, ["grounding.object_pos_w", "requested_action"])
    height_m = columns["grounding.object_pos_w"][:, 2]
    assert set(numbers[height_m > height_m[0] + 0.02]) == {TAKE}
    closes = int(np.argmax(columns["requested_action"][:, -1] < 0.9))
    assert set(numbers[:closes]) == {GO}
    assert [number for number, _ in itertools.groupby(numbers)][:2] == [GO, TAKE]


# ---- learning ----------------------------------------------------------------------------------


def test_the_loss_is_the_cross_entropy_of_known_ones():
    torch.manual_seed(0)
    logits, true = torch.randn(5, len(SUBTASKS)), torch.tensor([0, UNKNOWN, 3, 3, UNKNOWN])
    shares = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    assert subtask_loss(logits, true).item() == pytest.approx(-np.log(shares[[0, 2, 3], [0, 3, 3]]).mean(), rel=1e-5)
    assert subtask_loss(logits, torch.full((5,), UNKNOWN)).item() == 0


def test_training_alone_is_given_the_true_ones(tmp_path):
    root = record(tmp_path / "demos", PLACES, OPENING)
    policy = NAMING.build(SPEC)
    data = training_data(Source(root), policy=policy)
    assert data.batch(0, np.array([2, 5, 0])).inputs.subtask.tolist() == [TAKE, UNKNOWN, GO]
    assert FrameInputs(data.tables[0], ObservationProcessor(policy))(np.arange(3)).subtask is None
    assert training_data(Source(root)).batch(0, np.arange(3)).inputs.subtask is None


def test_a_policy_learns_to_name_what_it_is_about():
    torch.manual_seed(0)
    policy, batch = NAMING.build(SPEC), random_batch(16)
    batch.inputs.subtask = torch.arange(16) % 3
    generator = torch.Generator().manual_seed(0)
    parts = learn(policy, lambda: batch, generator, steps=60, rate=3e-3)
    assert parts[-1]["subtask"] < 0.1
    seen = dataclasses.replace(batch.inputs, subtask=None)
    assert policy.act(seen, generator).subtask.tolist() == batch.inputs.subtask.tolist()


def test_actions_follow_from_the_given_one_else_from_the_likeliest():
    torch.manual_seed(0)
    token, read = SubtaskToken(2, 7, 16), torch.randn(4, 2, 16)
    given = torch.tensor([3, UNKNOWN, 0, UNKNOWN])
    told, logits = token(read, Inputs(torch.randn(4, 7), subtask=given))
    likeliest = logits.argmax(1)
    assert torch.equal(told[:, 0], token.token.weight[torch.tensor([3, likeliest[1], 0, likeliest[3]])])
    assert not torch.equal(likeliest[[0, 2]], given[[0, 2]])


# ---- shown -------------------------------------------------------------------------------------


def test_an_agent_keeps_in_words_what_it_is_about(monkeypatch):
    policy = tiny_model(config=NAMING)
    agent, named = PolicyAgent(Decider(policy, Conditioning()), Timing(execute=1)), iter([GO, GO, TAKE, GO, TAKE])
    chunk = torch.zeros(1, policy.config.chunk, 7)
    monkeypatch.setattr(policy, "act", lambda *_: Decision(chunk, subtask=torch.tensor([next(named)])))
    images = dict.fromkeys(FR3.camera_names, np.zeros((*SIZE, 3), np.uint8))
    look = Observation(images, np.zeros(7, np.float32), "put the red cube on the red plate", 0.0)
    agent.reset(look, 0)
    for _ in range(4):
        agent.act(look)
    assert agent.subtasks == [SUBTASKS[GO], SUBTASKS[TAKE], SUBTASKS[GO]]
    agent.reset(look, 0)
    assert agent.subtasks == []


def test_a_caption_is_written_into_the_lower_left():
    image = np.full((64, 200, 3), 90, np.uint8)
    ys, xs = np.nonzero((with_caption(image, SUBTASKS[GO]) != image).any(-1))
    assert len(ys) > 50 and ys.min() > 40 and xs.min() < 10 and ys.max() < 64
    assert np.array_equal(with_caption(image, ""), image)


def test_acting_follows_from_what_is_named_whatever_is_true():
    """Also of recorded frames, whose true sub-task is known: what learns from its own chunks acted on what it named."""
    torch.manual_seed(0)
    policy, batch = tiny_model(config=NAMING), random_batch(4)
    noise = torch.randn(4, policy.config.chunk, 7)
    known = (None, torch.full((4,), GO), torch.full((4,), TAKE))
    told = [dataclasses.replace(batch, inputs=dataclasses.replace(batch.inputs, subtask=one)) for one in known]
    acted = [policy.act(one.inputs, torch.Generator().manual_seed(0)).chunk for one in told]
    steered = [policy.steer(one.inputs, noise).chunk for one in told]
    judged = [policy.losses(one, torch.Generator().manual_seed(0)) for one in told]
    embedded = [policy.embedding(one.inputs) for one in told]
    for found in (acted, steered, judged, embedded):
        assert all(torch.equal(found[0], one) for one in found[1:])
    taught = [policy.loss(one, torch.Generator().manual_seed(0))[0] for one in told]
    assert not torch.equal(taught[1], taught[2])
