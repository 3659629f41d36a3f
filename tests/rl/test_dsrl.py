"""DSRL: which noise is steered, what an agent makes of it, and what the environment of noise plays and pays."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fr3 import FR3
from stable_baselines3.common.env_checker import check_env

from policies.core.inputs import Inputs
from policies.core.spec import PolicySpec
from policies.fusion.grounded_points import TruePointsConfig
from policies.heads.bins import BinsConfig
from policies.models import checkpoint
from policies.models.checkpoint import CheckpointMetadata
from policies.models.noise_actor import NoiseActor, NoiseActorSizes, load_noise_actor, save_noise_actor
from policies.models.vla import Vla, VlaConfig
from policies.runtime.agent import load_agent
from rl.algorithms.dsrl import DIRECTIONS, moving_directions, new_actor
from rl.online.noise_env import NoiseEnv
from sim.core.contract import GROUNDING_COLUMNS
from sim.core.errors import UserError
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.episode.loop import run_episode
from sim.guard.clearance import guarded

SPEC = PolicySpec(FR3.name, (), (0, 0), FR3.action_dim, FR3.action_dim, GROUNDING_COLUMNS)
POINTS_SHAPE = (len(GROUNDING_COLUMNS), 3)
POINTS = VlaConfig(vision=None, language=None, fusion=TruePointsConfig())


@pytest.fixture(scope="module")
def policy() -> Vla:
    """A flow whose chunks depend on their noise, near the arm's home."""
    torch.manual_seed(0)
    policy = Vla(POINTS, SPEC)
    torch.nn.init.normal_(policy.get_parameter("head.out.weight"), std=0.02)
    home = torch.tensor([[*FR3.home_rad, 1.0]]).float()
    chunks = home[:, None] + 0.02 * torch.randn(200, POINTS.chunk, FR3.action_dim)
    policy.fit_normalization(
        chunks,
        torch.ones(200, POINTS.chunk, dtype=torch.bool),
        home.expand(200, -1),
        torch.zeros(200, *POINTS_SHAPE),
    )
    return policy.eval()


@pytest.fixture(scope="module")
def frames() -> Inputs:
    return Inputs(torch.tensor([[*FR3.home_rad, 1.0]]).float().expand(5, -1), points=torch.randn(5, *POINTS_SHAPE))


@pytest.fixture(scope="module")
def actor(policy, frames) -> NoiseActor:
    torch.manual_seed(1)
    return new_actor(policy, frames, seed=0).eval()


def test_the_directions_are_those_that_move_chunks():
    """Chunks made of three known mixtures of the noise, and of a mean that differs between frames."""
    generator = torch.Generator().manual_seed(0)
    mixed = torch.linalg.qr(torch.randn(40, 3, generator=generator)).Q
    noise = torch.randn(30, 20, 40, generator=generator)
    chunk = noise @ mixed @ torch.randn(3, 12, generator=generator) + 5 * torch.randn(20, 12, generator=generator)
    found = moving_directions(noise, chunk)
    assert found.shape == (DIRECTIONS, 40)
    assert torch.allclose(found @ found.T, torch.eye(DIRECTIONS), atol=1e-4)
    assert torch.allclose(found[:3].T @ found[:3], mixed @ mixed.T, atol=1e-3)


def test_steered_directions_are_as_decided_and_the_rest_as_drawn(actor):
    steered = torch.randn(3, DIRECTIONS)
    noise = actor.noise(steered, torch.Generator().manual_seed(4)).flatten(1)
    drawn = torch.randn(noise.shape, generator=torch.Generator().manual_seed(4))
    assert torch.allclose(noise @ actor.basis.T, steered, atol=1e-5)
    rest = torch.eye(noise.shape[1]) - actor.basis.T @ actor.basis
    assert torch.allclose(noise @ rest, drawn @ rest, atol=1e-4)


def test_a_chunk_of_the_noise_that_acting_draws_is_the_chunk_that_is_acted(policy, frames):
    noise = torch.randn((5, POINTS.chunk, FR3.action_dim), generator=torch.Generator().manual_seed(2))
    acted = policy.act(frames, torch.Generator().manual_seed(2)).chunk
    with torch.no_grad():
        assert torch.equal(policy.steer(frames, noise).chunk, acted)
        assert not torch.allclose(policy.steer(frames, noise + 0.5).chunk, acted, atol=1e-4)


def test_a_head_that_is_not_made_of_noise_is_one_line(frames):
    bins = VlaConfig(vision=None, language=None, fusion=TruePointsConfig(), head=BinsConfig()).build(SPEC)
    with pytest.raises(UserError, match=r"noise of a BinsHead cannot be steered; expected policy.head.name=flow"):
        bins.steer(frames, torch.zeros(5, POINTS.chunk, FR3.action_dim))


def test_a_saved_actor_is_the_same_and_a_broken_one_is_one_line(actor, tmp_path):
    assert load_noise_actor(tmp_path) is None
    save_noise_actor(tmp_path, actor)
    read, seen = load_noise_actor(tmp_path), torch.randn(4, actor.sizes.features)
    assert read is not None and torch.equal(read(seen), actor(seen))
    assert read(1e3 * seen).abs().max() <= NoiseActorSizes(1, 1, 1, 1).largest
    (tmp_path / "noise_actor.json").write_text("{}")
    with pytest.raises(UserError, match="the noise actor in .* is broken"):
        load_noise_actor(tmp_path)


# ---- episodes ----------------------------------------------------------------------------------


def test_guidance_beside_an_actor_that_chose_without_it_is_refused(policy, actor, tmp_path):
    checkpoint.save(tmp_path, policy, CheckpointMetadata("", "", ("reach",), {}))
    save_noise_actor(tmp_path, actor)
    with pytest.raises(UserError, match=r"guidance=3 of a policy whose noise an actor chooses .*, expected 1"):
        load_agent(tmp_path, guidance=3.0, ground_truth=dict)


WORLD = SimulationConfig("reach")


@pytest.fixture(scope="module")
def ended():
    return []


@pytest.fixture(scope="module")
def env(policy, actor, ended):
    env = NoiseEnv(WORLD, policy, actor, itertools.count(3), ended.append)
    yield env
    env.close()


def test_an_episode_of_noise_is_what_the_agent_with_that_actor_plays(env, ended, policy, actor, tmp_path):
    checkpoint.save(tmp_path, policy, CheckpointMetadata("", "", ("reach",), {}))
    save_noise_actor(tmp_path, actor)
    sim = SimEnv(WORLD)
    agent = load_agent(tmp_path, ground_truth=sim.ground_truth)
    wanted = run_episode(sim, agent, guarded(sim.robot), 3)
    seen, paid, over = *env.reset()[:1], 0.0, False
    while not over:
        with torch.no_grad():
            action = actor.sizes.largest * actor.net(torch.from_numpy(seen)[None])[0]
        seen, reward, over, cut, _ = env.step(action.numpy())
        paid += reward
        assert not cut
    assert ended[-1] == wanted
    assert not wanted.success
    assert paid == pytest.approx(-sim.time_limit_steps / POINTS.execute)  # a failure, as late as it was


def test_a_success_pays_the_chunks_that_it_took(env, monkeypatch):
    env.reset()
    monkeypatch.setattr(env._env.world, "success", lambda: True)
    settle = round(env._env.world.task.settle_s / FR3.control_period_s)
    paid, over = 0.0, False
    while not over:
        _, reward, over, _, info = env.step(np.zeros(DIRECTIONS, np.float32))
        paid += reward
    assert info["is_success"]
    assert paid == pytest.approx(-max(settle, 1) / POINTS.execute)


@pytest.mark.filterwarnings("ignore")
def test_stable_baselines3_takes_it(env):
    check_env(env, skip_render_check=True)


def test_what_an_episode_keeps_of_its_target_is_handed_to_every_look(env, monkeypatch):
    given, plain, memory = [], env._processor.observe, SimpleNamespace(begin=lambda: None)

    def observe(seen, truth, memory, step):
        given.append((memory, step))
        return plain(seen, truth)

    monkeypatch.setattr(env._processor, "observe", observe)
    monkeypatch.setattr(env._context, "target", memory)
    env.reset()
    env.step(np.zeros(env.action_space.shape, np.float32))
    assert given == [(memory, env._context.step)] * 2
