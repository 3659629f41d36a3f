"""A checkpoint as an agent: the loop's contract, chunks, the same seed the same actions, what is refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from fr3 import FR3
from learning import SIZE, TINY, about, tiny_model

from policies.core.indicator import Indicator, parse_indicator
from policies.core.interface import Decision
from policies.language.minilm import FrozenText, MiniLmConfig
from policies.models import checkpoint
from policies.models.chunk_critic import ChunkCritic, CriticSizes
from policies.models.noise_actor import NoiseActor, NoiseActorSizes
from policies.models.watch import AlarmConfig, Watch, WatchSizes
from policies.runtime import planned_agent, self_correction
from policies.runtime.agent import PolicyAgent, chunk_spec, load_agent, noise_seed
from policies.runtime.chunk_agent import Timing
from policies.runtime.decider import Conditioning, Decider
from policies.vision.efficientnet import EfficientNetConfig, FrozenVision
from sim.core.contract import Observation
from sim.core.errors import UserError

REAL = dataclasses.replace(TINY, vision=EfficientNetConfig(), language=MiniLmConfig())


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A policy for the real frozen encoders."""
    out = tmp_path_factory.mktemp("agent") / "policy"
    checkpoint.save(
        out, tiny_model(config=REAL), about(vision=FrozenVision().fingerprint, text=FrozenText().fingerprint)
    )
    return out


@pytest.fixture(scope="module")
def agent(root) -> PolicyAgent:
    return load_agent(root)


def test_an_agent_keeps_how_sure_it_is_of_each_look(agent, monkeypatch):
    points, errors = torch.arange(12.0).reshape(1, 4, 3), torch.tensor([[0.004, 1.5, 0.004, 1.5]])
    chunk = torch.zeros(1, agent.policy.config.chunk, 7)
    monkeypatch.setattr(agent.policy, "act", lambda *_: Decision(chunk, points, errors))
    looks = agent.policy.config.execute + 1
    play(agent, 0, looks)
    assert agent.within_m == {"object": [0.004, 0.004], "target": [1.5, 1.5]}
    assert [(one.name, one.pos_w.tolist()) for one in agent.estimates] == [("object", [0, 1, 2]), ("target", [3, 4, 5])]
    monkeypatch.setattr(agent.policy, "act", lambda *_: Decision(chunk, points))
    play(agent, 0, looks)
    assert not agent.within_m and not agent.estimates


class CountedImages(dict):
    """Pictures that count how often they are looked at."""

    looks = 0

    def __getitem__(self, camera: str) -> np.ndarray:
        self.looks += 1
        return super().__getitem__(camera)


def look(seed: int = 0, instruction: str = "put the red cube on the blue plate", size=SIZE) -> Observation:
    rng = np.random.default_rng(seed)
    images = CountedImages({c: rng.integers(0, 255, (*size, 3), dtype=np.uint8) for c in FR3.camera_names})
    state = np.array([*FR3.home_rad, 1.0], np.float32)
    return Observation(images, state, instruction, 0.0)


def play(agent: PolicyAgent, seed: int, steps: int = 4) -> np.ndarray:
    agent.reset(look(), seed)
    return np.array([agent.act(look(step)) for step in range(steps)])


def test_another_playing_of_a_seed_is_acted_with_other_noise(agent, monkeypatch):
    first = play(agent, 7)
    monkeypatch.setattr(agent, "draw", 1)
    second = play(agent, 7)
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_array_equal(second, play(agent, 7))


def test_steps_and_attempts_of_an_episode_have_noise_of_their_own():
    seeds = [7, 7 + planned_agent.AGAIN, 7 + 2 * planned_agent.AGAIN, 7 + self_correction.AGAIN]
    drawn = {float(torch.rand((), generator=torch.Generator().manual_seed(noise_seed(one, 0)))) for one in seeds}
    assert len(drawn) == 4 and noise_seed(7, 0) == 7


def test_actions_fit_the_contract(agent):
    actions = play(agent, 0)
    assert actions.dtype == np.float32 and actions.shape == (4, FR3.action_dim) and np.isfinite(actions).all()
    assert agent.flags() == {}
    assert agent.image_size == SIZE


def test_it_looks_once_a_chunk(agent):
    observation = look()
    agent.reset(observation, 0)
    counts = []
    for _ in range(2 * TINY.execute):
        agent.act(observation)
        counts.append(observation.images.looks)
    assert counts == [2, 2, 4, 4]


def test_every_decision_is_timed(agent):
    agent.decision_s = []
    play(agent, 0, steps=2 * TINY.execute)
    assert len(agent.decision_s) == 2 and min(agent.decision_s) > 0


def test_the_seed_fixes_the_actions(agent):
    assert np.array_equal(play(agent, 1), play(agent, 1))
    assert not np.array_equal(play(agent, 1), play(agent, 2))


def test_a_reset_forgets_the_chunk_before(agent):
    expected = play(agent, 1, steps=1)
    play(agent, 2, steps=1)  # leaves a step of its chunk unplayed
    assert np.array_equal(play(agent, 1, steps=1), expected)


def test_the_instruction_matters(agent):
    agent.reset(look(), 0)
    one = agent.act(look())
    agent.reset(look(), 0)
    assert not np.array_equal(one, agent.act(look(instruction="move the green cube to the white plate")))


def test_an_instruction_is_encoded_once(root, monkeypatch):
    agent, read = load_agent(root), []
    language = agent.processor.language
    compute = language._compute
    monkeypatch.setattr(language, "_compute", lambda sentence: read.append(sentence) or compute(sentence))
    play(agent, 0, steps=3 * TINY.execute)
    assert read == [look().instruction]


def test_the_indicator_and_guidance_matter(root):
    told = {name: play(load_agent(root, name), 0) for name in ("positive", "negative", "unknown")}
    assert not np.array_equal(told["positive"], told["negative"])
    untold = play(load_agent(root, "positive", guidance=0.0), 0)
    assert np.allclose(untold, told["unknown"], atol=1e-6)


def test_a_checkpoint_is_played_with_its_own_guidance_where_nobody_says_otherwise(root, tmp_path):
    model, about = checkpoint.load(root)
    assert load_agent(root).decider.conditioning.guidance == 1.0
    checkpoint.save(tmp_path, model, dataclasses.replace(about, guidance=2.5))
    assert np.array_equal(play(load_agent(tmp_path), 0), play(load_agent(root, guidance=2.5), 0))
    assert load_agent(tmp_path, guidance=1.0).decider.conditioning.guidance == 1.0


def test_a_robot_that_is_late_gets_chunks_without_their_head(root):
    late = load_agent(root, timing=Timing(lead_s=0.1))  # two periods
    chunks = []
    decide = late._decide
    late._decide = lambda *seen: chunks.append(decide(*seen)) or chunks[-1]
    played = play(late, 0, steps=2 * TINY.execute)
    np.testing.assert_array_equal(played[: TINY.execute], chunks[0][: TINY.execute])
    np.testing.assert_array_equal(played[TINY.execute :], chunks[1][2 : 2 + TINY.execute])
    with pytest.raises(UserError, match=r"lead_s=-1: expected 0 to"):
        load_agent(root, timing=Timing(lead_s=-1.0))


class Decisions:
    """Keeps what an agent's decisions are given and return."""

    def __init__(self, agent: PolicyAgent):
        self.commanded, self.under_way, self.chunks, decide = [], [], [], agent._decide

        def kept(observation, commanded, under_way):
            self.commanded.append(commanded)
            self.under_way.append(list(under_way))
            self.chunks.append(decide(observation, commanded, under_way))
            return self.chunks[-1]

        agent._decide = kept


def test_execute_looks_as_often_as_asked(root):
    for execute in (1, 3, 4):
        eager = load_agent(root, timing=Timing(execute=execute))
        decisions = Decisions(eager)
        played = play(eager, 0, steps=12)
        assert len(decisions.chunks) == 12 // execute
        np.testing.assert_array_equal(played, np.concatenate([chunk[:execute] for chunk in decisions.chunks]))


def test_a_policy_s_own_ensemble_is_among_what_its_chunks_are():
    for decay in (None, 0.01):
        assert chunk_spec(tiny_model(config=dataclasses.replace(TINY, ensemble=decay))).ensemble == decay


@pytest.fixture(scope="module")
def joined_root(tmp_path_factory) -> Path:
    """A policy whose chunks go on from commands; the head's steps and the agent's are of the same size."""
    out = tmp_path_factory.mktemp("joined") / "policy"
    config = dataclasses.replace(REAL, head=dataclasses.replace(REAL.head, joins=True))
    checkpoint.save(
        out, tiny_model(config=config), about(vision=FrozenVision().fingerprint, text=FrozenText().fingerprint)
    )
    return out


@pytest.mark.parametrize("joined", [False, True])
def test_while_a_chunk_is_decided_the_one_before_is_played(root, joined_root, joined):
    slow = load_agent(joined_root if joined else root, timing=Timing(inference_delay_s=0.03))  # one period, rounded up
    decisions = Decisions(slow)
    played = play(slow, 0, steps=1 + 3 * TINY.execute)
    np.testing.assert_array_equal(played[0], look().state)  # held until the first chunk is there
    first, second, third = decisions.chunks[:3]
    np.testing.assert_array_equal(played[1:3], first[:2])
    np.testing.assert_array_equal(played[3:5], second[1:3])
    np.testing.assert_array_equal(played[5:7], third[1:3])
    # looks at steps 0, 2, 4: the command of the step then played is under way, the one before it was the last
    assert [len(one) for one in decisions.under_way] == [0, 1, 1, 1]
    np.testing.assert_array_equal(np.array(decisions.commanded), [look().state, *played[[1, 3, 5]]])
    np.testing.assert_array_equal(np.array(decisions.under_way[1:])[:, 0], played[[2, 4, 6]])
    if joined:
        np.testing.assert_allclose(second[0], played[2], atol=1e-5)


@pytest.mark.parametrize("older", [False, True])
def test_networks_beside_a_policy_that_joins_chunks_see_the_command_and_older_ones_play_without(joined_root, older):
    policy = checkpoint.load(joined_root)[0]
    inputs = Decider(policy, Conditioning()).see(look())
    features = policy.embedding(inputs).shape[1] - older * policy.spec.state_dim
    watch = Watch(WatchSizes(features, 8, 11, 2), AlarmConfig(-9.0, 80, True, 80)).eval()
    critic = ChunkCritic(CriticSizes(features, TINY.execute, policy.spec.action_dim, samples=3))
    actor = NoiseActor(NoiseActorSizes(features, TINY.chunk, policy.spec.action_dim, directions=2))
    values = []
    for command in (look().state, look().state + 0.05):
        decider = Decider(policy, Conditioning(), critic=critic, noise_actor=actor, watch=watch)
        values.append(decider.decide(look(), command, [], torch.Generator().manual_seed(0)).value)
    assert (values[0] == values[1]) == older


def test_commands_that_a_late_arm_has_not_taken_up_are_under_way(joined_root):
    late = load_agent(joined_root, timing=Timing(lead_s=0.05))
    decisions = Decisions(late)
    played = play(late, 0, steps=3 * TINY.execute)
    np.testing.assert_array_equal(np.array(decisions.commanded), [look().state, *played[[0, 2]]])
    np.testing.assert_array_equal(np.array(decisions.under_way[1:])[:, 0], played[[1, 3]])
    np.testing.assert_allclose([chunk[0] for chunk in decisions.chunks[1:]], played[[1, 3]], atol=1e-5)


def test_a_chunk_starts_from_what_the_guard_let_through(joined_root):
    chunks = []
    for limited in (0.0, 0.2):
        agent = load_agent(joined_root)
        decisions = Decisions(agent)
        agent.reset(look(), 0)
        for step in range(TINY.execute + 1):
            agent.note_executed(agent.act(look(step)) - limited)
        chunks.append(decisions.chunks[1])
    assert not np.allclose(chunks[0], chunks[1], atol=1e-3)


def test_acting_that_chunks_are_too_short_for_is_refused(root, joined_root):
    for options, message in (
        ({"execute": 5}, "execute=5: expected 1 to 4"),
        ({"inference_delay_s": 0.15}, "inference_delay_s=0.15: expected 0 to 0.1,"),
        ({"inference_delay_s": 0.1, "execute": 1}, "inference_delay_s=0.1: expected 0 to 0.05,"),
        ({"inference_delay_s": 0.05, "lead_s": 0.1}, "inference_delay_s=0.05: expected 0 to 0,"),
    ):
        with pytest.raises(UserError, match=message):
            load_agent(root, timing=Timing(**options))
    assert load_agent(root, timing=Timing(execute=1, lead_s=0.15))
    with pytest.raises(UserError, match="lead_s=0.15: expected 0 to 0.1,"):  # half of a chunk may be given
        load_agent(joined_root, timing=Timing(execute=1, lead_s=0.15))


def test_pictures_of_another_size_are_refused(agent):
    agent.reset(look(), 0)
    with pytest.raises(UserError, match=r"images are \(48, 32\), the policy was trained on \(32, 32\)"):
        agent.act(look(size=(48, 32)))


@pytest.mark.parametrize("encoder", ["vision", "text"])
def test_features_of_other_encoders_are_refused(root, tmp_path, encoder):
    model, made = checkpoint.load(root)
    checkpoint.save(tmp_path, model, dataclasses.replace(made, **{encoder: "0123"}))
    with pytest.raises(UserError, match=f"{encoder} encoder 0123"):
        load_agent(tmp_path)


def test_an_unknown_indicator_is_named_with_the_nearest():
    assert parse_indicator("negative") is Indicator.NEGATIVE
    with pytest.raises(UserError, match="unknown indicator 'postive'.*did you mean 'positive'"):
        parse_indicator("postive")
