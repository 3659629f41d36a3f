"""Critics of chunks in a world where every value is known in closed form."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from fr3 import FR3
from learning import write_demos
from safetensors.torch import save_file
from test_toy_world import BEST_STEPS, FALLS_ABOVE, GOAL, LIMIT, STRIDES, as_pool, demonstrator, play

from policies.core.spec import PolicySpec
from policies.fusion.grounded_points import TruePointsConfig
from policies.models import checkpoint
from policies.models.checkpoint import CheckpointMetadata
from policies.models.chunk_critic import ChunkCritic, CriticSizes, load_critic, save_critic
from policies.models.vla import Vla, VlaConfig
from policies.processing.data import EpisodeTable, Source
from policies.runtime.agent import load_agent
from policies.training.optim import OptimConfig
from rl.advantage.targets import LabelConfig, compute_targets
from rl.algorithms import conrft
from rl.algorithms.cql import Cql, fit_cql
from rl.algorithms.iql import Iql, fit_iql
from rl.learning.chunk_learning import CriticPair
from rl.learning.chunk_transitions import Transitions, chunk_rewards, taken_over
from rl.learning.config import LearningConfig
from rl.learning.round import Round
from sim.core.contract import GROUNDING_COLUMNS, TURN_COLUMNS, Observation
from sim.core.errors import UserError

OPTIM = OptimConfig(steps=700, batch=128, threads=1)
FITS = {"iql": fit_iql, "cql": lambda data, config: fit_cql(data, demonstrators_samples(data), config)}
POINTS = VlaConfig(vision=None, language=None, fusion=TruePointsConfig())
ON_POINTS = PolicySpec(FR3.name, (), (0, 0), FR3.action_dim, FR3.action_dim, GROUNDING_COLUMNS)


class Data:
    """What `chunk_rewards` reads of a round."""

    def __init__(self, pool, lookahead: int = 1):
        self.pool, self.time_limits = pool, LIMIT
        self.config = type("Config", (), {"label": LabelConfig(lookahead_steps=lookahead)})
        self.targets = compute_targets(pool, LIMIT, self.config.label)


def test_no_transition_begins_where_the_expert_takes_over_within_its_chunk(tmp_path):
    demos = write_demos(tmp_path / "demos", (6, 5))
    table = EpisodeTable(Source(demos))
    table.intervention[[3, 4]] = True
    assert np.flatnonzero(taken_over(table, 2)).tolist() == [2, 4]
    assert np.flatnonzero(taken_over(table, 3)).tolist() == [1, 2, 3, 4]  # and not in the next episode


def demonstrators_samples(data: Transitions) -> torch.Tensor:
    """Four strides of the demonstrator at every frame."""
    drawn = demonstrator(np.random.default_rng(3), np.zeros(4 * len(data.features)))
    return torch.from_numpy(drawn).float().reshape(-1, 4, 1, 1)


def features(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.column_stack([np.sin(k * x) for k in (1, 2, 4, 8)])).float()


@pytest.fixture(scope="module")
def world():
    return play(demonstrator, 400, seed=1)


@pytest.fixture(scope="module")
def transitions(world) -> Transitions:
    reward, later, goes_on = chunk_rewards(Data(as_pool(world)), 1)
    n = len(world.x)
    return Transitions(
        features(world.x), torch.zeros(n, 1), torch.from_numpy(world.stride).float()[:, None, None],
        torch.from_numpy(reward).float(), torch.from_numpy(later), torch.from_numpy(goes_on), torch.arange(n),
    )  # fmt: skip


def test_rewards_of_chunks_add_up_to_the_return(world):
    """From every frame, hopping from chunk to chunk: the recorded return, clipped."""
    data = Data(as_pool(world))
    for n in (1, 3, 8):
        reward, later, goes_on = chunk_rewards(data, n)
        for t in np.random.default_rng(n).integers(len(world.x), size=60):
            total, row = 0.0, t
            while goes_on[row]:
                assert data.pool.owner[later[row]] == data.pool.owner[row] and later[row] == row + n
                total, row = total + reward[row], later[row]
            assert max(total + reward[row], -1.0) == pytest.approx(data.targets.values[t])


CRITICS = {"iql": Iql().fit_critic, "cql": Cql().fit_critic}
CRITICS |= {"conrft": lambda data, policy: conrft.fit_critic(data, policy, policy)}


@pytest.mark.parametrize("name", CRITICS)
def test_a_critic_is_fitted_by_the_threads_of_the_retraining_whatever_ran_before(tmp_path, monkeypatch, name):
    """After a restart retraining returns at once: torch then has the threads that it began with."""
    seen = []

    def noting(method):
        return lambda *given: [seen.append(torch.get_num_threads()), method(*given)][1]

    for owner, method in ((Vla, "embedding"), (Vla, "act"), (CriticPair, "fit")):
        monkeypatch.setattr(owner, method, noting(getattr(owner, method)))
    demos, optim = write_demos(tmp_path / "demos"), OptimConfig(steps=1, batch=4, threads=2)
    data = Round(1, tmp_path, [demos], tmp_path, {"pick_place": 100}, LearningConfig(retrain=optim, workers=1), [demos])
    torch.set_num_threads(1)
    CRITICS[name](data, POINTS.build(ON_POINTS))
    torch.set_num_threads(1)
    assert seen == [2] * (2 if name == "iql" else 3)


@pytest.fixture(scope="module", params=FITS)
def critic(request, transitions) -> ChunkCritic:
    torch.set_num_threads(1)
    return FITS[request.param](transitions, OPTIM)


def greedy(critic: ChunkCritic):
    """Take the stride of highest value."""

    def choose(rng, x):
        seen, zero = features(x), torch.zeros(len(x), 1)
        chunks = [torch.full((len(x), 1, 1), stride).float() for stride in STRIDES]
        with torch.no_grad():
            values = [critic(critic.inputs(seen, zero, chunk)).amin(0) for chunk in chunks]
        return STRIDES[torch.stack(values).argmax(0).numpy()]

    return choose


def test_the_best_of_the_demonstrators_strides_leads_there_and_hardly_later_than_the_best_policy(critic, world):
    played = play(greedy(critic), 1, seed=2)
    assert played.success.all() and not world.success.all()
    assert played.length[0] <= BEST_STEPS + 1 < world.length[world.success].mean()


def test_a_fall_is_worth_a_failure(critic):
    x = np.linspace(0.0, GOAL - 0.1, 9)
    fall = critic(critic.inputs(features(x), torch.zeros(9, 1), torch.full((9, 1, 1), STRIDES[2]).float()))
    assert STRIDES[2] > FALLS_ABOVE
    assert fall.mean(0).tolist() == pytest.approx([-1.0] * 9, abs=0.12)


def test_the_best_policys_value_is_the_steps_it_takes(critic):
    start = critic(critic.inputs(features(np.zeros(1)), torch.zeros(1, 1), torch.full((1, 1, 1), STRIDES[1]).float()))
    assert start.mean().item() == pytest.approx(-(BEST_STEPS - 1) / LIMIT["line"], abs=0.12)


def test_an_agent_plays_the_sample_that_its_critic_prefers(monkeypatch, tmp_path):
    policy = POINTS.build(ON_POINTS)
    checkpoint.save(tmp_path, policy, CheckpointMetadata("", "", ("reach",), {}))
    sizes = CriticSizes(features=7, steps=2, action_dim=FR3.action_dim, hidden=8, samples=5)
    save_critic(tmp_path, ChunkCritic(sizes))
    offered = []

    def most_open(self, embedding, state, chunk) -> int:
        offered.append(chunk)
        assert embedding.shape[0] == state.shape[0] == 5
        return int(chunk[:, 0, -1].argmax())

    monkeypatch.setattr(ChunkCritic, "best", most_open)
    truth = {name: np.full(3, 0.1, np.float32) for name in GROUNDING_COLUMNS}
    truth |= {name: np.zeros(4, np.float32) for name in TURN_COLUMNS}
    agent = load_agent(tmp_path, ground_truth=lambda: truth)
    seen = Observation({}, np.zeros(FR3.action_dim, np.float32), "reach the plate", 0.0, 0.0)
    agent.reset(seen, 0)
    action = agent.act(seen)
    assert action[-1] == offered[0][:, 0, -1].max()
    assert len(set(offered[0][:, 0, -1].tolist())) == 5


def test_a_saved_critic_is_the_same_and_a_broken_one_is_one_line(tmp_path):
    torch.manual_seed(0)
    made = ChunkCritic(CriticSizes(features=4, steps=2, action_dim=3, hidden=8, samples=5))
    assert load_critic(tmp_path) is None
    save_critic(tmp_path, made)
    read, seen = load_critic(tmp_path), torch.randn(6, 4 + 6)
    assert read is not None and read.sizes == made.sizes
    assert torch.equal(read(seen), made(seen))
    (tmp_path / "critic.json").write_text(json.dumps(dataclasses.asdict(made.sizes)))  # as before checksums
    before = load_critic(tmp_path)
    assert before is not None and torch.equal(before(seen), made(seen))
    for content in ("{}", "[]"):
        (tmp_path / "critic.json").write_text(content)
        with pytest.raises(UserError, match="the critic in .* is broken"):
            load_critic(tmp_path)


def test_a_critic_that_was_changed_or_is_no_number_is_one_line(tmp_path):
    made, weights = ChunkCritic(CriticSizes(4, 2, 3, 8, 5)), tmp_path / "critic.safetensors"
    save_critic(tmp_path, made)
    *whole, last = weights.read_bytes()
    weights.write_bytes(bytes([*whole, last ^ 1]))
    with pytest.raises(UserError, match="the critic in .* is broken: critic.safetensors was changed since"):
        load_critic(tmp_path)
    with torch.no_grad():
        next(made.parameters())[0] = torch.nan
    with pytest.raises(UserError, match="the critic for .* no finite numbers"):
        save_critic(tmp_path, made)
    save_file(made.state_dict(), weights)
    (tmp_path / "critic.json").write_text(json.dumps(dataclasses.asdict(made.sizes)))
    with pytest.raises(UserError, match="the critic in .* no finite numbers"):
        load_critic(tmp_path)
