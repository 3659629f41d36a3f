"""The example for stable-baselines3: the state is right, the program learns, evaluates and saves."""

import json
import tempfile

import numpy as np
import pytest
from fr3 import FR3
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import PPO

from rl import sb3
from rl.online.state_view import MAX_DELTA_RAD, ReachState
from rl.sb3 import PpoConfig, Sb3Config
from sim.core.errors import UserError
from sim.envs.simulation import SimulationConfig
from sim.planning.kinematics import ToolKinematics
from sim.randomize.ranges import nominal


@pytest.fixture(scope="module")
def env():
    return ReachState(SimulationConfig("reach", nominal()))


def test_it_passes_gymnasiums_checks(env):
    check_env(env, skip_render_check=True)


def test_the_observation_is_where_the_plate_is(env):
    """Oracle: forward kinematics of the joints seen, the plate's drawn place."""
    seen, info = env.reset(seed=4)
    joints, opening, near, ahead = np.split(seen, [6, 7, 10])
    pos_w, rotation_w = ToolKinematics(FR3).forward(joints + FR3.home_rad)
    layout = env._env.world.params.layout
    np.testing.assert_allclose(pos_w + rotation_w @ near / 4.0, [*layout.target_xy_m[0], 0.008], atol=1e-4)
    assert opening == pytest.approx(1.0, abs=0.01)
    np.testing.assert_allclose(ahead, 0.0, atol=1e-3)
    assert info["instruction"] == layout.instruction


def test_an_action_moves_the_joints_by_it(env):
    seen, _ = env.reset(seed=4)
    action = np.array([1.0, -0.5, 0.0, 0.5, 0.0, -1.0], np.float32)
    for _ in range(4):
        env.step(action)
    for _ in range(8):
        moved = env.step(np.zeros(6, np.float32))[0]
    np.testing.assert_allclose(moved[:6] - seen[:6], 4 * MAX_DELTA_RAD * action, atol=0.02)


def test_the_reward_is_the_distance_gained_and_a_bonus_at_the_end(env):
    """Driven there by inverse kinematics; the sum of rewards is the distance, the time and the bonus."""
    env.reset(seed=4)
    world = env._env.world
    aim_w = np.array([*world.params.layout.target_xy_m[0], 0.038])
    start_m = np.linalg.norm(world.data.site_xpos[world.scene.tcp_site] - aim_w)
    turn = world.data.site_xmat[world.scene.tcp_site].reshape(3, 3).copy()
    goal = world.kinematics.inverse(aim_w, turn, world.joints_rad())
    total, steps, terminated = 0.0, 0, False
    while not terminated and steps < 80:
        left = goal - env._target  # all joints arrive together: straight there
        _, reward, terminated, _, info = env.step((left / max(np.abs(left).max(), MAX_DELTA_RAD)).astype(np.float32))
        total, steps = total + reward, steps + 1
    assert terminated and info["is_success"]
    end_m = np.linalg.norm(world.data.site_xpos[world.scene.tcp_site] - aim_w)
    assert total == pytest.approx(10.0 * (start_m - end_m) - 0.02 * steps + 3.0, abs=0.05)


def test_the_program_learns_evaluates_and_saves(tmp_path, tmp_path_factory, monkeypatch, capsys):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    config = Sb3Config(
        out=str(tmp_path),
        steps=128,
        envs=1,
        evaluation_episodes=2,
        ppo=PpoConfig(n_steps=64, batch_size=32, n_epochs=1),
    )
    sb3.main(config)
    said = capsys.readouterr().out
    assert "before: success" in said and "after 128 steps" in said
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["after"]["n"] == 2 and written["config"]["steps"] == 128
    assert not list(elsewhere.glob("SB3*"))  # stable-baselines3 left alone makes a folder for its log
    model = PPO.load(tmp_path / "model.zip", device="cpu")
    assert model.predict(np.zeros(16, np.float32), deterministic=True)[0].shape == (6,)


def test_the_same_seed_learns_the_same(tmp_path):
    ppo = PpoConfig(n_steps=64, batch_size=32, n_epochs=1)
    weights = []
    for name in ("one", "two"):
        sb3.main(Sb3Config(out=str(tmp_path / name), steps=64, envs=1, evaluation_episodes=1, ppo=ppo))
        model = PPO.load(tmp_path / name / "model.zip", device="cpu")
        weights.append(np.concatenate([p.detach().numpy().ravel() for p in model.policy.parameters()]))
    np.testing.assert_array_equal(*weights)


def test_nothing_to_do_is_refused():
    with pytest.raises(UserError, match="steps=0, expected at least 1"):
        Sb3Config(steps=0)
    with pytest.raises(UserError, match="ppo.n_steps=1 of envs=1, expected at least 2 steps"):
        Sb3Config(envs=1, ppo=PpoConfig(n_steps=1))
    with pytest.raises(UserError, match="batch_size=1, expected"):
        Sb3Config(ppo=PpoConfig(batch_size=1))
