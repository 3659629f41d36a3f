"""Looks at a rate of their own: what training shows, what decisions are made on, how old it is, what is refused."""

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from fr3 import FPS
from learning import (
    SPEC,
    TINY,
    FakeVision,
    recorded_images,
    recorded_look,
    tiny_model,
    training_data,
    write_demos,
)

from policies.core.inputs import Inputs
from policies.core.interface import Decision
from policies.evaluate import EvaluateConfig
from policies.processing.data import Source, TrainingData
from policies.runtime.agent import PolicyAgent
from policies.runtime.chunk_agent import Timing
from policies.runtime.decider import Conditioning, Decider
from policies.runtime.slow_looks import SlowLooks
from real.rollout.rollout import RolloutConfig
from sim.core import contract
from sim.core.contract import Observation
from sim.core.errors import UserError

AGED = dataclasses.replace(TINY, look_age=5)
LENGTHS = (30, 26)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_demos(tmp_path_factory.mktemp("aged") / "demos", LENGTHS)


@pytest.fixture
def data(root) -> TrainingData:
    return training_data(Source(root), policy=tiny_model(config=AGED))


def ages(data: TrainingData, inputs: Inputs) -> list[int]:
    """How many steps before its state each row was looked at: the frame, up to it, that has just these maps."""
    table, found, camera = data.tables[0], [], SPEC.cameras[0]
    maps = [FakeVision().encode(recorded_images(table.dataset.root, episode, camera))[0] for episode in (0, 1)]
    for row, state in enumerate(inputs.state.numpy()):
        of = inputs.maps[camera][0][row].numpy()
        rows = np.flatnonzero((table.state == state).all(1))  # both episodes begin at home
        same = [np.abs(maps[table.episode[at]][table.frame[at] :: -1] - of).max((1, 2, 3)) < 1e-3 for at in rows]
        (age,) = np.flatnonzero(np.concatenate(same))
        found.append(int(age) if len(rows) == 1 else 0)
    return found


# ---- training ----------------------------------------------------------------------------------


def test_samples_are_of_looks_up_to_the_age_and_of_the_present_state(data):
    rows = np.array([20, 20, 20, 2, LENGTHS[0] + 1])
    batch = data.batch(0, rows, np.array([0, 3, 5, 5, 4]))
    assert ages(data, batch.inputs) == [0, 3, 5, 2, 1]  # an episode's first look where there is none so old
    fresh = data.batch(0, rows)
    assert torch.equal(batch.inputs.state, fresh.inputs.state) and torch.equal(batch.actions, fresh.actions)
    assert ages(data, fresh.inputs) == [0] * 5
    drawn = data.sample(np.random.default_rng(0), 60).inputs
    assert set(ages(data, drawn)) == set(range(6))


def test_without_an_age_batches_are_what_they_were(root):
    drawn = training_data(Source(root)).sample(np.random.default_rng(3), 8)
    rng = np.random.default_rng(3)
    rng.multinomial(8, [1.0])
    again = training_data(Source(root)).batch(0, rng.choice(np.arange(sum(LENGTHS)), 8))
    assert torch.equal(drawn.actions, again.actions) and torch.equal(drawn.inputs.state, again.inputs.state)
    assert all(torch.equal(*both) for both in zip(drawn.inputs.maps["front"], again.inputs.maps["front"], strict=True))


# ---- acting ------------------------------------------------------------------------------------


def played(data: TrainingData, timing: Timing, monkeypatch, steps: int = 24) -> tuple[list[Inputs], list[int]]:
    """What decisions of two episodes were made on, and which frames of the last were rendered."""
    policy, given, rendered = tiny_model(config=AGED), [], []
    chunk = torch.zeros(1, AGED.chunk, 7)
    monkeypatch.setattr(policy, "act", lambda inputs, *_: given.append(inputs) or Decision(chunk))
    agent = PolicyAgent(Decider(policy, Conditioning()), timing)

    class Rendering(dict):
        def __getitem__(self, camera):
            rendered.append(round(observation.stamp_s * FPS))
            return super().__getitem__(camera)

    for episode in (0, 1):
        rendered.clear()
        agent.reset(recorded_look(data, episode, 0), 0)
        for frame in range(steps):
            observation = recorded_look(data, episode, frame)
            agent.act(dataclasses.replace(observation, images=Rendering(observation.images)))
    return given, sorted(set(rendered))


@pytest.mark.parametrize(
    ("timing", "expected", "rendered"),
    [  # decisions at every second frame
        (Timing(), [0] * 12, range(0, 24, 2)),
        (Timing(look_hz=20), [0] * 12, range(24)),
        (Timing(look_hz=20, look_delay_s=0.2), [0, 2, *[4] * 10], range(24)),
        (Timing(look_hz=5), [0, 2] * 6, range(0, 24, 4)),
        (Timing(look_hz=20 / 3, look_delay_s=0.15), [0, 2, 4, 3, 5, *[4, 3, 5] * 2, 4], range(0, 24, 3)),
        (Timing(execute=3, look_hz=8), [0] * 8, range(0, 24, 3)),
        (Timing(execute=1, look_hz=10, look_delay_s=0.1), [0, 1, *[2, 3] * 11], range(0, 24, 2)),
    ],
)
def test_decisions_are_made_on_a_look_of_its_age_and_the_present_state(data, timing, expected, rendered, monkeypatch):
    given, looked_at = played(data, timing, monkeypatch)
    every = timing.execute or AGED.execute
    assert len(given) == 2 * len(expected) and looked_at == list(rendered)
    for episode in (0, 1):
        of_episode = Inputs.concatenate(given[episode * len(expected) : (episode + 1) * len(expected)])
        frames = [recorded_look(data, episode, every * i).state for i in range(len(expected))]
        assert np.array_equal(of_episode.state.numpy(), np.array(frames))
        assert ages(data, of_episode) == expected


class Slow:
    """An eye that looks for as long as `go` is not set, at the stamp alone."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()

    def __call__(self, observation: Observation) -> Inputs:
        assert self.go.wait(20)
        return Inputs(torch.tensor([[observation.stamp_s]]))


def at(step: int) -> Observation:
    return Observation({}, np.zeros(7, np.float32), "go", step / FPS)


def test_in_a_thread_nothing_waits_for_a_look_unless_the_known_one_is_too_old():
    see = Slow()
    looks = SlowLooks(tiny_model(config=AGED), Timing(look_hz=10, in_thread=True), see)

    def decided_on(step: int) -> int:
        return round(looks.newest(at(step), lambda one: one).state.item() * FPS)

    assert looks.due(at(0))
    looks.take(at(0))
    assert decided_on(0) == 0 and looks.waits == 0
    assert not looks.due(at(1)) and looks.due(at(2))
    see.go.clear()
    looks.take(at(2))
    assert not looks.due(at(4))  # one look at a time
    assert [decided_on(step) for step in (2, 5)] == [0, 0] and looks.waits == 0
    threading.Timer(0.05, see.go.set).start()
    assert decided_on(6) == 2 and looks.waits == 1  # the one of step 0 would be six steps old
    assert decided_on(20) == 20 and looks.waits == 2  # none is under way: it looks now
    assert looks.row()["age"]["n"] == 5 and looks.row()["awaited"] == 2
    see.go.clear()
    looks.take(at(22))
    threading.Timer(0.05, see.go.set).start()
    looks.begin()
    assert looks.due(at(0))  # what was under way is forgotten
    looks.take(at(0))
    assert decided_on(0) == 0 and looks.waits == 2  # an episode's first look is awaited by every policy


def test_a_look_that_never_ends_ends_the_run(monkeypatch):
    monkeypatch.setattr(contract, "MAX_DECISION_S", 0.1)
    see = Slow()
    looks = SlowLooks(tiny_model(config=AGED), Timing(look_hz=10, in_thread=True), see)
    see.go.clear()
    looks.take(at(0))
    looks.take(at(2))
    try:
        with pytest.raises(UserError, match="a decision took"):
            looks.begin()
        with pytest.raises(UserError, match="a decision took"):
            looks.newest(at(0), lambda one: one)
    finally:
        see.go.set()


def test_what_goes_wrong_in_a_look_is_raised_by_the_decision():
    def fails(_) -> Inputs:
        raise UserError("the camera is covered")

    looks = SlowLooks(tiny_model(config=AGED), Timing(look_hz=10, in_thread=True), fails)
    looks.take(at(0))
    with pytest.raises(UserError, match="the camera is covered"):
        looks.newest(at(0), lambda one: one)


# ---- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "timing", "line"),
    [
        (0, Timing(look_hz=10), "look_hz=10 look_delay_s=0: looks of up to 0.05 s, .* with 0 s; .*policy.look_age=1"),
        (5, Timing(look_hz=4, look_delay_s=0.1), "looks of up to 0.3 s, .* with 0.25 s; .*policy.look_age=6"),
        (1, Timing(look_hz=8), "looks of up to 0.1 s, .* with 0.05 s"),  # 2.5 steps are three
        (5, Timing(look_hz=30), "look_hz=30: expected at most 20"),
    ],
)
def test_older_looks_than_in_training_are_one_line(age, timing, line):
    policy = tiny_model(config=dataclasses.replace(TINY, look_age=age))
    with pytest.raises(UserError, match=line):
        PolicyAgent(Decider(policy, Conditioning()), timing)


@pytest.mark.parametrize("config", [EvaluateConfig, RolloutConfig])
@pytest.mark.parametrize("decides", [{"server": "ws://127.0.0.1:1"}, {"graph": "policy.onnx"}])
def test_what_decides_on_images_takes_no_looks_of_their_own(config, decides):
    with pytest.raises(UserError, match=r"look_hz=5 (server=ws|graph=policy\.onnx).*expected a checkpoint"):
        config(look_hz=5.0, **decides)


def test_a_delay_of_looks_without_their_rate_is_one_line():
    with pytest.raises(UserError, match="look_delay_s=0.1 needs look_hz"):
        EvaluateConfig(look_delay_s=0.1)


def test_a_memory_and_an_age_are_one_line():
    with pytest.raises(UserError, match="policy.memory=2 policy.look_age=5: expected one of the two"):
        dataclasses.replace(AGED, memory=2)
