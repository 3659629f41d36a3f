"""The tasks as dm_control's: against `SimEnv`, by dm_env's conformance tests, and under dm_control's own tools."""

import itertools

import dm_env
import numpy as np
import pytest
from absl.testing import absltest
from dm_env import test_utils
from playing import SMALL, calm

pytest.importorskip("dm_control")  # not on Python 3.13
from dm_control.rl import control
from dm_control.suite.wrappers import action_scale, pixels
from dm_control.utils import inverse_kinematics
from dm_control.viewer import runtime

from sim.core.errors import UserError
from sim.envs.dm_env import load
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.expert.imperfections import CLEAN
from sim.expert.scripted import Expert
from sim.randomize.ranges import RandomizeConfig, nominal
from sim.tasks.base import TASKS


def easy(task: str = "pick_place", seed: int = 0) -> control.Environment:
    return load(task, seed, randomize=nominal(), render=SMALL)


def random_actions(env: SimEnv, steps: int) -> np.ndarray:
    """(steps, D) around the arm's start pose."""
    rng = np.random.default_rng(0)
    start = env.world.state()
    return np.clip(start + rng.normal(0, 0.05, (steps, len(start))), env.robot.action_min, env.robot.action_max)


def expert_actions(env: SimEnv, seed: int) -> list[np.ndarray]:
    """The actions of the expert's whole episode."""
    expert, actions = Expert(env, CLEAN), []
    env.reset(seed)
    expert.reset(env.observe(), seed)
    over = False
    while not over:
        actions.append(expert.act(env.observe()))
        feedback = env.apply(actions[-1])
        over = feedback.terminated or feedback.truncated
    return actions


class TestConformance(test_utils.EnvironmentTestMixin, absltest.TestCase):
    """What dm_env asks of every environment."""

    def make_object_under_test(self) -> dm_env.Environment:
        return easy()


@pytest.mark.parametrize("task", TASKS)
def test_every_task_plays_what_the_simulator_plays_bit_for_bit(task):
    config = SimulationConfig(task, RandomizeConfig(), SMALL)
    env, view = SimEnv(config), load(task, seed=3, randomize=config.randomize, render=SMALL)
    assert isinstance(view, control.Environment)
    for seed in (3, 4):  # the second follows by itself
        env.reset(seed)
        step = view.reset()
        assert step.observation["instruction"] == env.world.instruction
        for action in random_actions(env, 6):
            feedback, step = env.apply(action), view.step(action)
            state = np.concatenate([env.world.data.qpos, env.world.data.qvel, env.world.data.act])
            assert (view.physics.get_state() == state).all() and view.physics.time() == env.world.time_s
            seen = env.observe()
            assert (step.observation["state"] == np.clip(seen.state, env.robot.state_min, env.robot.state_max)).all()
            assert all((step.observation[camera] == image).all() for camera, image in seen.images.items())
            assert (step.reward, step.last()) == (feedback.reward, feedback.terminated or feedback.truncated)


def test_a_success_ends_with_discount_zero_and_the_next_seed_follows():
    env, view = SimEnv(calm()), easy(seed=5)
    actions = expert_actions(env, 5)
    view.reset()
    steps = [view.step(action) for action in actions]
    assert [step.last() for step in steps] == [False] * (len(actions) - 1) + [True]
    assert (steps[-1].discount, steps[-1].reward) == (0.0, 0.0)
    assert (view.physics.data.qpos == env.world.data.qpos).all()
    following = view.step(actions[0])
    env.reset(6)
    assert following.first() and following.observation["instruction"] == env.world.instruction


def test_a_time_out_keeps_its_discount():
    view = easy("reach")
    pose = view.reset().observation["state"]
    steps = [view.step(pose) for _ in range(SimEnv(calm()).time_limit_steps)]
    over = next(step for step in steps if step.last())
    assert (over.discount, over.reward) == (1.0, -1.0)


def test_the_period_is_the_policys_and_no_other_is_stepped():
    view = easy()
    assert view.control_timestep() == pytest.approx(SimEnv(calm()).robot.control_period_s)
    view.reset()
    with pytest.raises(ValueError, match="one policy period"):
        view.physics.step()


def test_the_pixel_wrapper_renders_any_camera_of_the_model():
    view = easy()
    view.reset()  # the observations' renderer made its own context, much smaller
    camera = next(iter(view.observation_spec()))
    wrapped = pixels.Wrapper(view, pixels_only=False, render_kwargs={"height": 240, "width": 320, "camera_id": camera})
    first = wrapped.reset().observation
    assert first["pixels"].shape == (240, 320, 3) and first["pixels"].std() > 5
    assert set(first) == {*view.observation_spec(), "pixels"}
    moved = [wrapped.step(wrapped.action_spec().minimum) for _ in range(3)][-1].observation
    assert (moved["pixels"] != first["pixels"]).any()


@pytest.mark.parametrize("shape", ["cube", "mug"])  # a mug is a mesh, of another size in every episode
def test_the_second_episode_is_rendered_as_a_new_context_renders_it(shape):
    view = load("pick_place", randomize=RandomizeConfig(shapes=(shape,)), render=SMALL)
    view.reset()
    view.physics.render()
    view.reset()
    kept = view.physics.render()
    view.physics._free_rendering_contexts()
    assert (kept == view.physics.render()).all()


def test_scaled_actions_span_the_same_range():
    view = easy()
    scaled, spec = action_scale.Wrapper(view, -1.0, 1.0), view.action_spec()
    scaled.reset()
    scaled.step(np.ones(spec.shape))
    assert view.physics._action == pytest.approx(spec.maximum)


def test_the_viewers_runtime_plays_an_episode_and_starts_the_next():
    env = SimEnv(calm())
    actions = itertools.chain(expert_actions(env, 0))
    player = runtime.Runtime(easy(), lambda _step: next(actions))
    while player.state != runtime.State.STOPPED:
        player.tick(0.2, False)
        assert player._time_step.reward is None or player._time_step.reward in (0.0, -1.0)
    assert player._time_step.last() and player._time_step.reward == 0.0
    assert player.get_time() == pytest.approx(env.world.time_s)
    player.restart()
    player.tick(0.0, True)
    assert player.state == runtime.State.RUNNING and player._time_step.first()


def test_dm_controls_inverse_kinematics_finds_the_tool_pose_of_other_joints():
    view = easy()
    view.reset()
    physics, joints = view.physics, list(SimEnv(calm()).robot.joint_names)
    before = physics.data.qpos.copy()
    wanted = physics.named.data.site_xpos["tcp"] + [0.02, 0.01, -0.03]
    found = inverse_kinematics.qpos_from_site_pose(physics, "tcp", wanted, joint_names=joints)
    moved = physics.copy(share_model=True)
    moved.data.qpos[:] = found.qpos
    moved.forward()
    assert found.success and moved.named.data.site_xpos["tcp"] == pytest.approx(wanted, abs=1e-6)
    assert (physics.data.qpos == before).all()


def test_an_action_of_another_shape_is_refused():
    env = load("reach", seed=1)
    env.reset()
    with pytest.raises(ValueError, match=r"shape \(6,\), expected \(7,\)"):
        env.step(np.zeros(6))


def test_an_unknown_task_is_named():
    with pytest.raises(UserError, match="stack"):
        load("stak")
