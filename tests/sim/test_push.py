"""Push: a block counts where it lies in the circle, left alone, and only if it was slid there."""

import mujoco
import numpy as np
import pytest
from playing import SMALL, calm, play_expert

from sim.envs.sim_env import SimEnv
from sim.envs.simulation import Simulation, SimulationConfig
from sim.planning.kinematics import tool_down
from sim.randomize.ranges import RandomizeConfig
from sim.tasks.base import TASKS

HALF_M = 0.02  # of a block at scale 1


@pytest.fixture
def world():
    built = Simulation(SimulationConfig("push", calm().randomize, SMALL))
    built.reset(next(seed for seed in range(100) if len(built.draw(seed).layout.object_xy_m) == 2))
    yield built
    built.close()


def put(world: Simulation, block: int, away_m: tuple[float, float, float], tilt_rad: float = 0.0) -> None:
    """The block at `away_m` from where it lies in the middle of the named circle."""
    first = world.scene.object_qpos[block]
    zone_w = np.array([*world.params.layout.target_xy_m[0], HALF_M])
    pose = [*(zone_w + away_m), np.cos(tilt_rad / 2), np.sin(tilt_rad / 2), 0, 0]
    world.data.qpos[first : first + 7] = pose
    world.data.qvel[:] = 0
    mujoco.mj_forward(world.scene.model, world.data)


@pytest.mark.parametrize(
    ("away_m", "inside"),
    [
        ((0, 0, 0), True),
        ((0.02, 0.02, 0), True),
        ((0.035, 0, 0), False),
        ((0.025, -0.025, 0), False),
        ((0, 0, 0.008), False),
    ],
)
def test_success_is_where_the_block_lies(world, away_m, inside):
    put(world, 0, away_m)
    assert world.success() == inside


def test_the_wrong_block_does_not_count(world):
    put(world, 1, (0, 0, 0))
    assert not world.success()


def test_a_block_that_slides_is_not_there_yet(world):
    put(world, 0, (0, 0, 0))
    world.data.qvel[world.scene.object_dof[0]] = 0.1
    assert not world.success()


def test_a_block_that_was_lifted_does_not_count_in_this_episode(world):
    put(world, 0, (-0.1, 0, 0.02))
    world.remember()  # as the environment does in every period
    put(world, 0, (0, 0, 0))
    assert not world.success()
    world.rebuild(world.params)
    put(world, 0, (0, 0, 0))
    assert world.success()


@pytest.mark.parametrize("tilt_rad", [0.3, np.pi / 4, np.pi / 2])
def test_a_block_that_tipped_over_an_edge_was_not_lifted(world, tilt_rad):
    """Half the height of a square on its edge is half (cos + sin): then its lowest edge is on the table."""
    put(world, 0, (-0.1, 0, HALF_M * (np.cos(tilt_rad) + np.sin(tilt_rad) - 1)), tilt_rad)
    world.remember()
    put(world, 0, (0, 0, 0))
    assert world.success()


def test_a_block_under_the_fingers_is_not_left_alone(world):
    put(world, 0, (0, 0, 0))
    world.data.qpos[world.scene.finger_qpos] = 0.0
    for height_m, alone in ((0.10, True), (2 * HALF_M + 0.009, False)):  # the fingers end 10 mm below the tool point
        point_w = np.array([*world.params.layout.target_xy_m[0], height_m])
        hand_down(world, point_w)
        assert world.success() == alone


def hand_down(world: Simulation, pos_w: np.ndarray) -> None:
    """The arm at rest with its tool at `pos_w`, pointing down."""
    joints = world.kinematics.inverse(pos_w, tool_down(0.0), np.array(world.robot.home_rad))
    assert joints is not None
    world.data.qpos[world.scene.arm_qpos] = joints
    mujoco.mj_forward(world.scene.model, world.data)


def test_layouts_leave_room_to_push():
    ranges = RandomizeConfig(paraphrase=0.5)
    wordings = set()
    for seed in range(200):
        layout = TASKS.get("push").draw_layout(np.random.default_rng(seed), ranges).to_record()
        blocks, zones = (np.reshape(layout[key], (-1, 2)) for key in ("object_xy_m", "target_xy_m"))
        way = zones[0] - blocks[0]
        assert 0.08 <= np.linalg.norm(way) <= 0.16
        beside = blocks[1:] - blocks[0]
        share = np.clip(beside @ way / (way @ way), -0.5, 1.0)
        assert (np.linalg.norm(beside - share[:, None] * way, axis=1) > 0.075).all()
        assert (np.linalg.norm(zones[1:] - zones[0], axis=1) >= 0.12).all()
        colours, zone_colours = layout["object_colours"].split(","), layout["target_colours"].split(",")
        assert len(set(colours)) == len(blocks) and len(set(zone_colours)) == len(zones)
        assert f"{colours[0]} " in layout["instruction"] and f"{zone_colours[0]} " in layout["instruction"]
        assert np.reshape(layout["keep_out_m"], (-1, 3))[:, 2].min() >= 0.10
        wordings.add(layout["wording"])
    assert wordings == set(range(len(TASKS.get("push").sentences) + len(TASKS.get("push").grammar)))


class Heights:
    """How high the block was in every step; satisfies `sim.episode.loop.Recorder`."""

    def __init__(self, env: SimEnv):
        self._env, self.seen_m = env, []

    def add(self, step) -> None:
        self.seen_m.append(self._env.world.data.xpos[self._env.world.scene.objects[0], 2])


def test_the_expert_pushes_and_never_lifts():
    env = SimEnv(SimulationConfig("push", render=SMALL))
    heights = Heights(env)
    result = play_expert(env, 700_000, heights)
    assert result.success and np.ptp(heights.seen_m) < 0.004
    env.close()
