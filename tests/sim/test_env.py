"""The environment: gymnasium's contract, repeatability to the bit, delays as physical times."""

import threading
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from fr3 import CONTROL_PERIOD_S, FR3
from gymnasium.utils.env_checker import check_env
from playing import SMALL, calm
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as check_env_sb3

import sim
from sim.core.errors import UserError
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.robots.robot import RobotConfig
from sim.scene.build import PHYSICS_DT_S

HOME = np.array([*FR3.home_rad, 1.0], np.float32)


@pytest.fixture
def gym_env():
    env = gymnasium.make("FR3PickPlace-v0", config=SimulationConfig(render=SMALL))
    yield env
    env.close()


def swing(step: int) -> np.ndarray:
    """An action that moves every joint and the gripper."""
    action = HOME.copy()
    action[:6] += 0.1 * np.sin(0.3 * step + np.arange(6))
    action[-1] = 0.5 + 0.5 * np.cos(0.5 * step)
    return action


def play(env: gymnasium.Env, seed: int, steps: int = 12) -> list:
    observation, info = env.reset(seed=seed)
    seen = [observation, info["instruction"]]
    for step in range(steps):
        observation, reward, *ended, _ = env.step(swing(step))
        seen += [observation, reward, *ended]
    return seen


def same(first, second) -> bool:
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(np.array_equal(first[k], second[k]) for k in first)
    return first == second


def test_this_sim_is_the_one_of_the_repository():
    assert sim.__file__ == str(FR3.mjcf.parents[2] / "sim" / "__init__.py")


@pytest.mark.filterwarnings("ignore:.*render.*")
def test_it_passes_gymnasiums_checker(gym_env):
    check_env(gym_env.unwrapped, skip_render_check=True)


def test_the_registered_id_has_both_cameras_and_a_picture_to_show():
    env = gymnasium.make("FR3PickPlace-v0", render_mode="rgb_array")
    env.reset(seed=1)
    assert set(env.observation_space.spaces) == {"front", "wrist", "state"}
    assert env.observation_space["front"].shape == (96, 96, 3)
    assert env.render().shape == (96, 96, 3)
    env.close()


@pytest.mark.parametrize("mode", ["human", "rgb"])
def test_a_render_mode_that_would_show_nothing_is_refused(mode):
    with pytest.raises(
        UserError,
        match=f"unknown render_mode '{mode}', expected one of .rgb_array.*HumanRendering or python -m sim.view",
    ):
        gymnasium.make("FR3Reach-v0", render_mode=mode)


def test_what_a_caller_does_to_an_observation_changes_nothing():
    env = gymnasium.make("FR3PickPlace-v0", render_mode="rgb_array").unwrapped
    observation, _ = env.reset(seed=1)
    shown = env.render().copy()
    observation["front"][:] = 0
    assert (env.render() == shown).all() and shown.any()
    env.render()[:] = 0  # as who writes on frames
    assert (env.render() == shown).all()
    env.close()


def test_the_id_names_the_task_whatever_the_config():
    env = gymnasium.make("FR3Stack-v0", config=SimulationConfig(render=SMALL))
    assert env.unwrapped.env.world.task.name == "stack"
    assert env.observation_space["front"].shape[:2] == (SMALL.height, SMALL.width)
    env.close()


def test_without_a_render_mode_nothing_is_rendered_and_a_step_before_a_reset_says_so(gym_env):
    bare = gym_env.unwrapped
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset before step"):
        bare.step(HOME)
    bare.reset(seed=1)
    assert bare.render() is None


def test_no_episode_of_a_world_has_the_noise_of_its_touch_sensor():
    ranges = replace(calm().randomize, encoder_noise_rad=(0.001, 0.001))
    env = SimEnv(SimulationConfig("reach", ranges, SMALL))
    env.reset(5)
    zero_point = env.world._touch._offset / np.repeat([0.5, 0.02], 3)
    for _ in range(5):
        env.go_on()
        noise = (env.observe().state - env.world.state())[:6] / 1e-3
        assert np.abs(noise - zero_point).max() > 0.1
    env.close()


def test_the_same_seed_gives_the_same_episode_bit_for_bit(gym_env):
    first = play(gym_env, seed=7)
    play(gym_env, seed=8)  # nothing of it may be left
    again = play(gym_env, seed=7)
    assert all(same(a, b) for a, b in zip(first, again, strict=True))


def test_another_environment_plays_the_same_episode(gym_env):
    other = gymnasium.make("FR3PickPlace-v0", config=SimulationConfig(render=SMALL))
    assert all(same(a, b) for a, b in zip(play(gym_env, 3), play(other, 3), strict=True))
    other.close()


def test_a_further_episode_of_the_same_world_has_noise_of_its_own():
    env = SimEnv(calm(encoder_noise_rad=(0.01, 0.01), image_noise=(10.0, 10.0)))

    def noise() -> tuple[np.ndarray, np.ndarray]:
        """Of the joints as they are read, and of an image as it is taken, at the first look."""
        seen, world = env.observe(), env.world
        clean = world.render("front", world.snapshot()).astype(int)
        return seen.state[:6] - world.joints_rad(), seen.images["front"] - clean

    env.reset(3)
    first = noise()
    env.go_on()
    second = noise()
    env.go_on()
    third = noise()
    for one, other in ((first, second), (first, third), (second, third)):
        assert np.abs(one[0] - other[0]).min() > 1e-5
        assert (one[1] != other[1]).mean() > 0.5
    env.reset(3)
    np.testing.assert_array_equal(noise()[1], first[1])
    env.close()


def test_every_frame_has_noise_of_its_own():
    env = SimEnv(calm(image_noise=(20.0, 20.0)))
    env.reset(3)
    noises = []
    for _ in range(4):
        clean = env.world.render("front", env.world.snapshot()).astype(float)
        noises.append((env.observe().images["front"] - clean).ravel())
        env.apply(env.observe().state)
    assert np.abs(np.corrcoef(noises) - np.eye(4)).max() < 0.2
    env.close()


def test_another_seed_gives_another_episode(gym_env):
    assert not same(play(gym_env, 7)[0], play(gym_env, 8)[0])


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (np.zeros(6), r"shape \(6,\), expected \(7,\)"),  # whose last joint would be taken for the gripper
        (np.zeros((1, 7)), r"shape \(1, 7\), expected \(7,\)"),
        (np.full(7, np.nan), "not finite"),
        ([0.0] * 6 + [np.inf], "not finite"),
    ],
)
def test_an_action_that_cannot_be_played_is_refused_and_the_episode_goes_on(gym_env, action, said):
    gym_env.reset(seed=3)
    with pytest.raises(ValueError, match=said):
        gym_env.step(action)
    left = gym_env.step([0.0] * 7)[0]["state"]  # a list will do
    gym_env.reset(seed=3)
    assert np.array_equal(left, gym_env.step(np.zeros(7, np.float32))[0]["state"])


def test_drawing_in_a_second_thread_is_one_line(gym_env):
    gym_env.reset(seed=3)
    ended = []

    def step():
        try:
            gym_env.step(np.zeros(7, np.float32))
        except UserError as error:
            ended.append(str(error))

    thread = threading.Thread(target=step)
    thread.start()
    thread.join()
    assert len(ended) == 1 and "drawn in another thread before" in ended[0]


@pytest.mark.parametrize("control_hz", [1, 2])
def test_however_slow_the_policy_nothing_done_is_no_success(control_hz):
    env = SimEnv(replace(calm(), robot=RobotConfig(control_hz=control_hz)))
    env.reset(0)
    assert not env.apply(HOME).success
    env.world.success = lambda: True
    assert env.apply(HOME).success


def test_an_episode_ends_at_its_time_limit():
    env = SimEnv(calm())
    env.reset(0)
    ends = [env.apply(HOME) for _ in range(env.time_limit_steps)]
    assert not any(end.terminated or end.success for end in ends)
    assert [end.truncated for end in ends] == [False] * (len(ends) - 1) + [True]
    assert env.time_limit_steps * CONTROL_PERIOD_S == pytest.approx(env.world.task.time_limit_s)


class History:
    """The configuration at every physics step, put between a `SimEnv` and its world."""

    def __init__(self, env: SimEnv):
        self._env, self._step = env, env.world.step
        env.world.step = self
        self.qpos, self.states = [env.world.snapshot()], [env.world.state()]

    def __call__(self, steps: int) -> None:
        for _ in range(steps):
            self._step(1)
            self.qpos.append(self._env.world.snapshot())
            self.states.append(self._env.world.state())


@pytest.mark.parametrize("delay_steps", [0, 1, 11, 24, 25, 61])
def test_an_observation_delay_shows_what_was_so_many_physics_steps_before(delay_steps):
    delay_s = delay_steps * PHYSICS_DT_S
    env = SimEnv(calm(observation_delay_s=(delay_s, delay_s)))
    env.reset(5)
    history = History(env)
    for step in range(5):
        env.apply(swing(5 * step))
        seen, then = env.observe(), max((step + 1) * env.steps_per_action - delay_steps, 0)
        assert np.array_equal(seen.state, history.states[then])
        assert np.array_equal(seen.images["front"], env.world.render("front", history.qpos[then]))
        assert seen.age_s == pytest.approx(min(delay_s, (step + 1) * CONTROL_PERIOD_S))
    assert not np.array_equal(history.states[then], history.states[then - 1])  # or nothing was tested
    env.close()


def test_each_camera_is_late_by_itself():
    env = SimEnv(calm())
    params = env.world.draw(5)
    late = replace(params.randomization, camera_skew_s=(0.0, 9 * PHYSICS_DT_S))
    env.rebuild(replace(params, randomization=late))
    history = History(env)
    for step in range(3):
        env.apply(swing(5 * step))
    seen, now = env.observe(), 3 * env.steps_per_action
    assert np.array_equal(seen.state, history.states[now])
    assert np.array_equal(seen.images["front"], env.world.render("front", history.qpos[now]))
    assert np.array_equal(seen.images["wrist"], env.world.render("wrist", history.qpos[now - 9]))
    assert seen.age_s == pytest.approx(9 * PHYSICS_DT_S)  # the oldest of them
    env.close()


def test_cameras_drop_frames_each_on_its_own():
    env = SimEnv(calm(dropped_frames=(0.5, 0.5)))
    env.reset(5)
    alike = []
    for step in range(20):
        before = env.observe().images
        env.apply(swing(5 * step))
        seen = env.observe().images
        alike.append([np.array_equal(seen[camera], before[camera]) for camera in ("front", "wrist")])
    dropped = np.array(alike)
    assert dropped.any(0).all() and (dropped[:, 0] != dropped[:, 1]).any()
    env.close()


def test_pictures_that_jitter_are_older_by_at_most_so_much():
    env = SimEnv(calm(observation_jitter_s=(0.02, 0.02)))
    env.reset(5)
    ages_s = []
    for step in range(20):
        env.apply(swing(5 * step))
        ages_s.append(env.observe().age_s)
    assert 0.0 <= min(ages_s) < 0.01 < max(ages_s) <= 0.021
    env.close()


def commands(action_delay_s: float) -> np.ndarray:
    env = SimEnv(calm(action_delay_s=(action_delay_s, action_delay_s)))
    env.reset(5)
    seen = []
    for step in range(8):
        env.apply(swing(3 * step))
        seen.append(env.commanded_rad)
    return np.array(seen)


def test_an_action_delay_of_whole_periods_shifts_what_is_commanded():
    now, late = commands(0.0), commands(2 * CONTROL_PERIOD_S)
    assert np.abs(late[2:] - now[:-2]).max() < 0.02  # servo ticks do not divide a period: not to the bit
    assert np.abs(late[:2] - late[0]).max() < 1e-9  # it has not moved before
    assert np.abs(now[1:] - now[:-1]).max() > 0.02


def test_pictures_are_of_the_moment_they_were_taken_even_when_looked_at_later():
    env = SimEnv(calm())
    env.reset(5)
    early = env.observe()
    other = SimEnv(calm())
    other.reset(5)
    at_once = other.observe().images["wrist"]
    for step in range(4):
        env.apply(swing(5 * step))
    assert np.array_equal(early.images["wrist"], at_once)


@pytest.mark.filterwarnings("ignore")
def test_stable_baselines3_trains_on_it_unchanged(gym_env):
    check_env_sb3(gym_env.unwrapped, warn=False, skip_render_check=True)
    learner = PPO("MultiInputPolicy", gym_env, n_steps=32, batch_size=32, n_epochs=1, seed=0, device="cpu")
    before = learner.policy.action_net.weight.detach().clone()
    learner.learn(64)
    assert learner.num_timesteps == 64
    assert not before.equal(learner.policy.action_net.weight)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_gymnasium_makes_a_vector_of_it(mode):
    started = {"context": "spawn"} if mode == "async" else {}  # this process may have drawn already
    vector = gymnasium.make_vec(
        "FR3PickPlace-v0", num_envs=2, vectorization_mode=mode, vector_kwargs=started,
        config=SimulationConfig(render=SMALL),
    )  # fmt: skip
    alone = gymnasium.make("FR3PickPlace-v0", config=SimulationConfig(render=SMALL))
    together, info = vector.reset(seed=[3, 4])
    assert together["front"].shape == (2, SMALL.height, SMALL.width, 3)
    first, first_info = alone.reset(seed=4)
    assert np.array_equal(together["wrist"][1], first["wrist"]) and info["instruction"][1] == first_info["instruction"]
    together, *_ = vector.step(np.stack([swing(1), swing(2)]))
    assert np.array_equal(together["state"][1], alone.step(swing(2))[0]["state"])
    vector.close()
    alone.close()
