"""Reach around: low over the pad with the pillar where it was; two ways, and straight ahead is none."""

import gymnasium
import mujoco
import numpy as np
import pytest
from playing_tasks import layouts, nominal_world, put_tool

from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.episode.loop import run_episode
from sim.expert.scripted import Expert
from sim.guard.motion_guard import MotionGuard
from sim.planning.kinematics import tool_down
from sim.tasks.reach_around import pillar_stands

YAW = -np.pi / 2


@pytest.fixture
def world():
    return nominal_world("reach_around", 3)


@pytest.mark.parametrize(
    ("aside_m", "height_m", "moved_m", "tilt_rad", "done"),
    [
        (0.0, 0.05, 0.0, 0.0, True),
        (0.02, 0.05, 0.008, 0.1, True),
        (0.03, 0.05, 0.0, 0.0, False),
        (0.0, 0.07, 0.0, 0.0, False),
        (0.0, 0.05, 0.015, 0.0, False),
        (0.0, 0.05, 0.0, 0.3, False),
        (0.0, 0.05, 0.0, 1.57, False),
    ],
)
def test_done_is_low_over_the_pad_with_the_pillar_standing(world, aside_m, height_m, moved_m, tilt_rad, done):
    x, y = world.params.layout.target_xy_m[0]
    put_tool(world, [x, y + aside_m, height_m], YAW)
    first = world.scene.object_qpos[0]
    world.data.qpos[first] += moved_m
    world.data.qpos[first + 3 : first + 7] = [np.cos(tilt_rad / 2), np.sin(tilt_rad / 2), 0, 0]
    mujoco.mj_forward(world.scene.model, world.data)
    assert world.success() is done


def test_the_hand_begins_low_in_front_of_the_pillar_in_line_with_it(world):
    for seed in range(5):
        world.reset(seed)
        tool_pos_w, turn = (
            world.data.site_xpos[world.scene.tcp_site],
            world.data.site_xmat[world.scene.tcp_site].reshape(3, 3),
        )
        pillar_xy, pad_xy = world.params.layout.object_xy_m[0], world.params.layout.target_xy_m[0]
        assert pad_xy[0] < pillar_xy[0] - 0.1 < pillar_xy[0] + 0.07 < tool_pos_w[0]
        assert pillar_xy[1] == pad_xy[1] == pytest.approx(tool_pos_w[1], abs=0.005)
        assert 0.035 < tool_pos_w[2] < 0.065
        np.testing.assert_allclose(turn, tool_down(YAW), atol=0.09)
        world.step(100)
        assert pillar_stands(world.scene_state)


def test_layouts_tell_pillar_from_pad_by_colour():
    for layout in layouts("reach_around"):
        assert layout["object_colours"] != layout["target_colours"]
        assert layout["object_colours"] in layout["instruction"]
        assert layout["target_colours"] in layout["instruction"]


def test_the_old_name_is_understood(caplog):
    old = SimulationConfig("fork")
    assert old.task == "reach_around" and caplog.messages == [
        "renamed task: fork is now reach_around; the old name goes with the next release"
    ]
    bench = gymnasium.make("FR3Fork-v0")
    assert bench.unwrapped.env.world.task.name == "reach_around"  # pyright: ignore
    bench.close()


@pytest.fixture(scope="module")
def env():
    return SimEnv(SimulationConfig(task="reach_around"))


class Middle:
    """Averages the two ways: straight ahead. Satisfies `sim.episode.loop.Agent`."""

    def __init__(self, env: SimEnv):
        self._world = env.world

    def reset(self, observation, seed):
        self._start = self._now = observation.state[:-1]
        x, y = self._world.params.layout.target_xy_m[0]
        self._goal = self._world.kinematics.inverse([x, y, 0.045], tool_down(YAW), self._start)

    def act(self, observation):
        self._now = self._now + np.clip(self._goal - self._now, -0.02, 0.02)
        return np.array([*self._now, 1.0], np.float32)

    def flags(self):
        return {}


def test_the_middle_of_both_ways_fails(env):
    result = run_episode(env, Middle(env), MotionGuard(env.robot), 5)
    assert not result.success
    assert not pillar_stands(env.world.scene_state)


class Watched(Expert):
    """Notes on which side of the line the tool passes the pillar."""

    def act(self, observation):
        world = self._env.world
        tool_pos_w = world.data.site_xpos[world.scene.tcp_site]
        pillar_x, pillar_y = world.params.layout.object_xy_m[0]
        if abs(tool_pos_w[0] - pillar_x) < 0.02:
            self.side = float(np.sign(tool_pos_w[1] - pillar_y))
        return super().act(observation)


def test_the_expert_takes_either_way_and_gets_there(env):
    sides = []
    for seed in range(300_000, 300_008):
        agent = Watched(env)
        result = run_episode(env, agent, MotionGuard(env.robot), seed)
        assert result.success and not result.guard.latched
        assert agent.side == (1.0 if agent.style.other_way else -1.0)
        sides.append(agent.side)
    assert set(sides) == {1.0, -1.0}
