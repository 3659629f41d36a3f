"""A memory of the last looks: which ones in training and in acting, where it begins anew, where it is refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from fr3 import FR3
from learning import (
    SIZE,
    SPEC,
    TINY,
    FakeVision,
    random_batch,
    recorded_look,
    tiny_model,
    training_data,
    write_demos,
)

from policies.core.inputs import Inputs
from policies.core.interface import Decision
from policies.core.parts import Prefix
from policies.export.whole_policy import WholePolicy
from policies.models.look_memory import LookMemory
from policies.processing.data import Source, TrainingData
from policies.remote.policy_session import PolicySession
from policies.runtime.agent import PolicyAgent
from policies.runtime.chunk_agent import Timing
from policies.runtime.decider import Conditioning, Decider
from sim.core.contract import Observation
from sim.core.errors import UserError

MEMORY = dataclasses.replace(TINY, memory=3)  # looks at every second step
LENGTHS = (9, 7)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_demos(tmp_path_factory.mktemp("memory") / "demos", LENGTHS)


@pytest.fixture
def data(root) -> TrainingData:
    return training_data(Source(root), policy=tiny_model(config=MEMORY))


def check_look(inputs: Inputs, row: int, look: Observation) -> None:
    """A row of inputs is this look, its features as the frozen encoder makes them (the cache keeps 16 bits)."""
    assert np.array_equal(inputs.state[row].numpy(), look.state)
    for camera, image in look.images.items():
        for found, expected in zip(inputs.maps[camera], FakeVision().encode(image[None]), strict=True):
            np.testing.assert_allclose(found[row].numpy(), expected[0], atol=1e-3)


# ---- training ----------------------------------------------------------------------------------


def test_a_sample_has_the_looks_before_it_of_its_own_episode(data):
    frames = [(0, 0), (0, 1), (0, 3), (0, 8), (1, 0), (1, 2), (1, 5)]
    batch = data.batch(0, np.array([episode * LENGTHS[0] + frame for episode, frame in frames]))
    assert len(batch.inputs.before) == 3
    for row, (episode, frame) in enumerate(frames):
        for inputs, back in zip((*batch.inputs.before, batch.inputs), (6, 4, 2, 0), strict=True):
            check_look(inputs, row, recorded_look(data, episode, max(frame - back, 0)))


def test_without_a_memory_nothing_is_read_twice(root):
    assert training_data(Source(root)).batch(0, np.arange(3)).inputs.before == ()


# ---- what is made of them ----------------------------------------------------------------------


class StateTokens(torch.nn.Module):
    """A fusion whose tokens are the first joint."""

    def forward(self, inputs: Inputs) -> Prefix:
        return Prefix(inputs.state[:, :1, None].expand(-1, 2, 3), points=inputs.state[:, None, :3])


def test_tokens_of_earlier_looks_come_first_marked_by_age():
    memory = LookMemory(2, 3)
    looks = [Inputs(torch.full((4, 7), float(i))) for i in (1, 2, 3)]
    with torch.no_grad():
        memory.age.copy_(torch.tensor([0.1, 0.2])[:, None, None, None].expand_as(memory.age))
    made = memory(StateTokens(), dataclasses.replace(looks[2], before=tuple(looks[:2])))
    expected = torch.tensor([1.1, 1.1, 2.2, 2.2, 3.0, 3.0])[None, :, None].expand(4, 6, 3)
    assert torch.allclose(made.tokens, expected) and torch.equal(made.points, torch.full((4, 1, 3), 3.0))
    first = memory(StateTokens(), looks[0]).tokens
    assert torch.allclose(first[0, :, 0], torch.tensor([1.1, 1.1, 1.2, 1.2, 1.0, 1.0]))


def test_actions_depend_on_an_earlier_look():
    policy, inputs = tiny_model(config=MEMORY), random_batch(3, 0).inputs
    before = tuple(random_batch(3, seed).inputs for seed in (1, 2, 3))
    chunks = [
        policy.act(dataclasses.replace(inputs, before=one), torch.Generator().manual_seed(0)).chunk
        for one in (before, before[::-1])
    ]
    assert not torch.allclose(*chunks, atol=1e-4)


# ---- acting ------------------------------------------------------------------------------------


def test_an_agent_remembers_what_training_showed_and_forgets_with_the_episode(data, monkeypatch):
    policy, given = tiny_model(config=MEMORY), []
    chunk = torch.zeros(1, MEMORY.chunk, 7)
    monkeypatch.setattr(policy, "act", lambda inputs, *_: given.append(inputs) or Decision(chunk))
    agent = PolicyAgent(Decider(policy, Conditioning()), Timing())
    for episode in (0, 1):
        agent.reset(recorded_look(data, episode, 0), 0)
        for frame in range(7):
            agent.act(recorded_look(data, episode, frame))
    assert len(given) == 8
    for inputs, (episode, frame) in zip(given, [(e, f) for e in (0, 1) for f in (0, 2, 4, 6)], strict=True):
        trained = data.batch(0, np.array([episode * LENGTHS[0] + frame])).inputs
        for one, other, back in zip((*inputs.before, inputs), (*trained.before, trained), (6, 4, 2, 0), strict=True):
            check_look(one, 0, recorded_look(data, episode, max(frame - back, 0)))
            assert torch.equal(one.words, other.words)


def test_clients_of_a_server_do_not_share_what_was_seen():
    decider, rng = Decider(tiny_model(config=MEMORY), Conditioning()), np.random.default_rng(0)
    state = np.array([*FR3.home_rad, 1.0], np.float32)
    looks = [
        {f"observation/images/{camera}": rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8) for camera in SPEC.cameras}
        | {"observation/state": state, "prompt": "put the red cube on the blue plate"}
        for _ in range(2)
    ]
    begin = {"fr3_vla": {"seed": 1}}
    one, other = PolicySession(decider), PolicySession(decider)
    first = one.infer(looks[0] | begin)["actions"]
    alone = other.infer(looks[1] | begin)["actions"]
    assert not np.array_equal(one.infer(looks[1])["actions"], alone)
    assert np.array_equal(one.infer(looks[1] | begin)["actions"], alone)
    assert np.array_equal(one.infer(looks[0] | begin)["actions"], first)


def test_a_client_that_tells_no_episode_is_not_shown_an_earlier_scene(monkeypatch):
    """As openpi's clients, which know no seed; one that has sent a seed tells where the next episode begins."""
    policy, given = tiny_model(config=MEMORY), []
    chunk = torch.zeros(1, MEMORY.chunk, 7)
    monkeypatch.setattr(policy, "act", lambda inputs, *_: given.append(inputs) or Decision(chunk))
    session = PolicySession(Decider(policy, Conditioning()))
    for x, own in enumerate(({}, {}, {"fr3_vla": {"seed": 1}}, {})):
        images = {f"observation/images/{camera}": np.zeros((*SIZE, 3), np.uint8) for camera in SPEC.cameras}
        session.infer(images | {"observation/state": np.full(7, x, np.float32), "prompt": "put it there"} | own)
    assert [{float(look.state[0, 0]) for look in inputs.before} for inputs in given] == [{0}, {1}, {2}, {2}]


@pytest.mark.parametrize("timing", [Timing(execute=1), Timing(ensemble=0.01)])
def test_looks_closer_than_in_training_are_one_line(timing):
    policy = tiny_model(config=MEMORY)
    with pytest.raises(UserError, match="execute=1: expected 2, the steps between the looks.*policy.memory=3"):
        PolicyAgent(Decider(policy, Conditioning()), timing)
    PolicyAgent(Decider(tiny_model(), Conditioning()), timing)


def test_a_graph_remembers_nothing():
    with pytest.raises(UserError, match="policy.memory=3 cannot be exported"):
        WholePolicy(Decider(tiny_model(config=MEMORY), Conditioning()))
