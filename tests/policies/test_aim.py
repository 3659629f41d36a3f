"""What it takes to bring the tool to points: against MuJoCo's own arm."""

import mujoco
import numpy as np
import pytest
import torch
from fr3 import FR3

from policies.core.migrate import migrate_checkpoint
from policies.fusion.aim import Aim
from sim.envs.simulation import Simulation, SimulationConfig
from sim.randomize.ranges import nominal
from sim.robots.robot import ROBOTS

POINTS_T = np.array([[0.05, 0.1, 0.1], [0.0, 0.02, 0.0], [0.12, -0.1, 0.06], [-0.1, 0.0, -0.05]])


def poses(robot, count: int = 6) -> np.ndarray:
    return np.array(robot.home_rad) + np.random.default_rng(1).uniform(-0.25, 0.25, (count, robot.joints))


@pytest.mark.parametrize("name", ROBOTS.names())
def test_the_moved_tool_is_where_the_point_was_and_not_turned(name):
    robot = ROBOTS.get(name)()
    aim, joints = Aim(robot, len(POINTS_T), 8), torch.tensor(poses(robot))
    points = torch.tensor(POINTS_T).expand(len(joints), -1, -1)
    before, _ = aim.pose(joints)
    moves = aim.moves(joints, points)
    for i in range(len(POINTS_T)):
        after, _ = aim.pose(joints + moves[:, i])
        wanted = (before[:, :3, :3] @ points[:, i, :, None])[..., 0] + before[:, :3, 3]
        assert (after[:, :3, 3] - wanted).norm(dim=1).max() < 1e-3
        assert (after[:, :3, :3] - before[:, :3, :3]).abs().max() < 0.02


def test_the_tool_and_its_speed_are_those_of_the_simulator():
    world = Simulation(SimulationConfig("reach", nominal()))
    world.reset(0)
    scene, data = world.scene, world.data
    aim = Aim(FR3, 2, 8)
    for q in poses(FR3):
        data.qpos[scene.arm_qpos] = q
        mujoco.mj_forward(scene.model, data)
        pose, jacobian = aim.pose(torch.tensor(q)[None])
        base_w, turn_w = data.xpos[scene.base], data.xmat[scene.base].reshape(3, 3)
        np.testing.assert_allclose(pose[0, :3, 3], turn_w.T @ (data.site_xpos[scene.tcp_site] - base_w), atol=1e-6)
        moving = np.zeros((3, scene.model.nv))
        mujoco.mj_jacSite(scene.model, data, moving, None, scene.tcp_site)
        columns = [int(scene.model.jnt_dofadr[scene.model.dof_jntid[i]]) for i in range(FR3.joints)]
        np.testing.assert_allclose(jacobian[0, :3], turn_w.T @ moving[:, columns], atol=1e-6)
    world.close()


def test_out_of_reach_it_goes_towards_the_point_and_unknown_is_no_move():
    aim, joints = Aim(FR3, 2, 8), torch.tensor(poses(FR3, 3))
    far = torch.tensor([[[3.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]).double().expand(3, -1, -1)
    moves = aim.moves(joints, far)
    assert moves.isfinite().all() and moves[:, 0].norm(dim=1).min() > 0.1
    assert moves[:, 1].abs().max() < 1e-9
    state, turn = torch.cat([joints, torch.ones(3, 1)], 1).float(), torch.full((3, 2, 4), torch.nan)
    none = aim(state, torch.full((3, 2, 3), torch.nan), turn)
    assert not none.any()


def told(aim: Aim) -> torch.Tensor:
    joints = torch.tensor(poses(FR3, 1)).float()
    state, points = torch.cat([joints, torch.ones(1, 1)], 1), torch.tensor(POINTS_T[None, :2]).float()
    return aim(state, points, torch.tensor([[[0.3, 0.1, 0.2, 0.4], [1.0, 0.0, 0.5, 0.5]]]))[0]


def test_the_moves_to_each_point_are_told_and_then_the_turns():
    """By a linear layer that hands on what it is given."""
    aim = Aim(FR3, 2, 2 * FR3.joints + 8)
    aim.linear.weight.data = torch.eye(2 * FR3.joints + 8)
    moves, turns = told(aim).split([2 * FR3.joints, 8])
    joints, points = torch.tensor(poses(FR3, 1)), torch.tensor(POINTS_T[None, :2])
    torch.testing.assert_close(moves, (aim.moves(joints, points) / 0.2).flatten().float())
    torch.testing.assert_close(turns, torch.tensor([0.3, 0.1, 0.2, 0.4, 1.0, 0.0, 0.5, 0.5]))


def test_a_policy_of_before_the_objects_turn_reads_the_targets_alone():
    spec = {"points": ["a_pos_t", "b_pos_t"], "state_dim": FR3.joints + 1}
    weights = {
        "fusion.aim.linear.weight": torch.ones(4, 2 * FR3.joints + 4),
        "fusion.token.linear.bias": torch.zeros(4),
    }
    content = {"policy": {"fusion": {"name": "true_points"}}, "spec": spec}
    _, now = migrate_checkpoint(content, weights)
    aim = Aim(FR3, 2, 4)
    aim.load_state_dict({name.removeprefix("fusion.aim."): value for name, value in now.items() if ".aim." in name})
    of_object = aim.linear.weight[:, 2 * FR3.joints :].split(4, 1)
    assert not of_object[0].any() and (of_object[1] == 1).all()


@pytest.mark.parametrize("of", ["fusion.", "fusion.found."])
def test_how_far_an_error_halved_what_is_told_is_left_out(of):
    content = {"policy": {"fusion": {"name": "early_fusion"}}, "spec": {"points": ["a_pos_t"], "state_dim": 7}}
    before = {f"{of}aim.linear.weight": torch.ones(4, 6 + 8), f"{of}aim.sure_m": torch.tensor(0.03)}
    _, now = migrate_checkpoint(content, before)
    assert list(now) == [f"{of}aim.linear.weight"]


@pytest.mark.parametrize("of", ["fusion.", "fusion.found."])  # a fusion of points alone; one that has a finder as well
def test_a_policy_that_was_not_told_the_objects_turn_plays_as_it_did(of):
    spec = {"points": ["a_pos_t", "b_pos_t", "b_pos_w"], "state_dim": FR3.joints + 1}
    content = {"policy": {"fusion": {"name": "early_fusion", "finder": {"name": "eye", "turn": True}}}, "spec": spec}
    before = torch.randn(4, 2 * FR3.joints + 4)
    now, weights = migrate_checkpoint(content, {f"{of}aim.linear.weight": before})
    moves, object_turn, turn = weights[f"{of}aim.linear.weight"].split([2 * FR3.joints, 4, 4], 1)
    assert torch.equal(torch.cat([moves, turn], 1), before) and not object_turn.any()
    assert now["policy"]["fusion"]["finder"] == {"name": "eye", "turn": True, "object_turn": False, "closer": False}
    again, same = migrate_checkpoint(now, weights)
    assert again == now and torch.equal(same[f"{of}aim.linear.weight"], weights[f"{of}aim.linear.weight"])


def test_its_constants_are_no_weights():
    assert set(Aim(FR3, 2, 8).state_dict()) == {"linear.weight"}
