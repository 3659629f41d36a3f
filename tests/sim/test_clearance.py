"""The guard's distances against MuJoCo's, one pair of geoms at a time, and against what it must prevent."""

import mujoco
import numpy as np
import pytest
from fr3 import FR3

from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.guard.clearance import MARGIN_M, TOUCH_M, Clearance, guarded
from sim.guard.workspace import KeepOut, Workspace
from sim.guard_benchmark.scenes import Truth, draw, judge
from sim.planning.kinematics import ToolKinematics, tool_down

HOME = np.array(FR3.home_rad)
LOW, HIGH = np.array(FR3.position_min_rad), np.array(FR3.position_max_rad)
FINGERS_BELOW_TOOL_M = 0.010
ANYWHERE = {"tool_min_m": (-2.0, -2.0, -2.0), "tool_max_m": (2.0, 2.0, 2.0)}
BOXES = (KeepOut((-0.4, 0.25, 0.2), (0.05, 0.1, 0.2), 30.0), KeepOut((-0.2, -0.3, 0.4), (0.1, 0.02, 0.1)))


def at(clearance: Clearance, joints: np.ndarray) -> str:
    """What is wrong with standing there, seen from an episode that began at home."""
    return clearance.blocked([np.stack([joints, joints])])


def drive(goal: np.ndarray, workspace: Workspace = Workspace(), start: np.ndarray = HOME, opening: float = 1.0):
    """(n, D) what is sent when `goal` (joints,) is asked for in a straight line, and the guard."""
    guard, sent = guarded(FR3, workspace), np.array([*start, opening], np.float32)
    guard.reset(sent)
    steps, way = int(np.ceil(np.abs(goal - start).max() / 0.04)), [sent]
    for k in range(1, steps + 10):
        asked = np.array([*(start + min(k / steps, 1.0) * (goal - start)), opening], np.float32)
        sent = guard.check(Observation({}, sent, "", 0.0), asked)
        way.append(sent)
    return np.array(way), guard


@pytest.mark.parametrize("opening", [0.0, 0.5, 1.0])
def test_what_is_near_is_what_mujoco_measures_pair_by_pair(opening):
    """The oracle: the plain MJCF with boxes, `mj_geomDistance` of every pair that may collide."""
    clearance = Clearance(FR3, Workspace(**ANYWHERE, obstacles=BOXES))
    truth = Truth(FR3, Workspace(obstacles=BOXES), opening)
    model, data = truth._model, truth._data
    solid = [g for g in range(model.ngeom) if model.geom_contype[g]]
    excluded = {frozenset(divmod(int(code), 1 << 16)) for code in model.exclude_signature}
    rng, found = np.random.default_rng(0), {True: 0, False: 0}
    for _ in range(60):
        joints = HOME + rng.uniform(-0.9, 0.9, 6)
        truth.nearest_m(joints)
        nearest = [
            mujoco.mj_geomDistance(model, data, a, b, 1.0, None) - _allowed(model, a, b)
            for a in solid
            for b in solid
            if a < b and _may_collide(model, a, b, excluded)
        ]
        clearance.reset(HOME)
        blocked = bool(at(clearance, joints))
        if min(nearest) < 0:  # the swept fingers may only say more
            assert blocked
        elif min(nearest) > 0.045:  # than a finger's travel
            assert not blocked
        found[blocked] += 1
    assert min(found.values()) >= 10


def _may_collide(model, a: int, b: int, excluded) -> bool:
    one, other = int(model.geom_bodyid[a]), int(model.geom_bodyid[b])
    welded = int(model.body_weldid[one]), int(model.body_weldid[other])
    parents = [int(model.body_weldid[model.body_parentid[w]]) for w in welded]
    neighbours = 0 not in welded and (parents[0] == welded[1] or parents[1] == welded[0])
    return welded[0] != welded[1] and not neighbours and frozenset((one, other)) not in excluded


def _allowed(model, a: int, b: int) -> float:
    names = {model.body(model.geom_bodyid[g]).name for g in (a, b)}
    table = any(model.geom_bodyid[g] == 0 and model.geom_size[g][0] == 2 for g in (a, b))
    return TOUCH_M if table and names & {"finger_left", "finger_right"} else MARGIN_M


def test_the_arm_stops_over_the_table_and_says_why():
    kinematics = ToolKinematics(FR3)
    yaw = np.deg2rad(20)
    start = kinematics.inverse(np.array([-0.3, 0.0, 0.15]), tool_down(yaw), HOME)
    goal = kinematics.inverse(np.array([-0.3, 0.0, -0.03]), tool_down(yaw), start)
    way, guard = drive(goal, start=start)
    heights = [kinematics.forward(q[:6].astype(float))[0][2] - FINGERS_BELOW_TOOL_M for q in way]
    assert min(heights) >= TOUCH_M - 1e-6
    assert heights[-1] < 0.010  # it went as far as it may
    assert any(reason.startswith("stopped: finger") and "table" in reason for reason in guard.report.counts)


def test_a_grasp_off_the_table_is_not_touched():
    kinematics = ToolKinematics(FR3)
    start = kinematics.inverse(np.array([-0.3, 0.1, 0.10]), tool_down(0.3), HOME)
    grasp = kinematics.inverse(np.array([-0.3, 0.1, 0.0125]), tool_down(0.3), start)
    guard, sent = guarded(FR3), np.array([*start, 1.0], np.float32)
    guard.reset(sent)
    for share in (1 - np.cos(np.linspace(0, np.pi, 26)[1:])) / 2:  # down in 1.25 s
        asked = np.array([*(start + share * (grasp - start)), 1.0], np.float32)
        np.testing.assert_array_equal(guard.check(Observation({}, sent, "", 0.0), asked), asked)
        sent = asked
    assert guard.report.counts == {}


def test_the_arm_does_not_fold_onto_itself():
    goal = HOME.copy()
    goal[2] = np.deg2rad(149)  # the elbow closed
    truth = Truth(FR3, Workspace(table_z_m=None), 1.0)
    assert truth.along_m(np.stack([HOME, goal])) < 0  # it would
    way, guard = drive(goal, Workspace(**ANYWHERE, table_z_m=None))
    assert truth.along_m(way[:, :6].astype(float)) > 0.005
    assert any("near" in reason and "table" not in reason for reason in guard.report.counts)


def test_keep_out_boxes_are_kept_out_of():
    kinematics = ToolKinematics(FR3)
    here = kinematics.forward(HOME)[0]
    box = KeepOut(tuple((here + [0.0, 0.2, 0.0]).tolist()), (0.05, 0.03, 0.1), 45.0)
    goal = HOME.copy()
    goal[0] += -1.0 if kinematics.forward(HOME - 0.1 * np.eye(6)[0])[0][1] > here[1] else 1.0
    way, guard = drive(goal, Workspace(obstacles=(box,)))
    truth = Truth(FR3, Workspace(obstacles=(box,)), 1.0)
    assert truth.along_m(np.stack([HOME, goal])) < 0 < truth.along_m(way[:, :6].astype(float))
    assert any("keep-out box 0" in reason for reason in guard.report.counts)


def test_the_tool_stays_in_its_box():
    kinematics = ToolKinematics(FR3)
    here = kinematics.forward(HOME)[0]
    workspace = Workspace(tool_max_m=(0.3, float(here[1]) + 0.05, 0.8))
    goals = [HOME + side * np.eye(6)[0] for side in (-0.6, 0.6)]
    reached = []
    for goal in goals:
        way, guard = drive(goal, workspace)
        reached.append(max(kinematics.forward(q[:6].astype(float))[0][1] for q in way))
    assert max(reached) == pytest.approx(workspace.tool_max_m[1], abs=0.02)
    assert max(reached) <= workspace.tool_max_m[1] + 1e-3


def test_an_arm_found_too_near_may_leave_but_come_no_nearer():
    kinematics = ToolKinematics(FR3)
    poses = [kinematics.inverse(np.array([-0.3, 0.0, z]), tool_down(0.3), HOME) for z in (0.005, 0.002, 0.05)]
    clearance = Clearance(FR3)
    clearance.reset(poses[0])  # the fingers 5 mm in the table
    assert at(clearance, poses[0]) == ""
    assert "table" in at(clearance, poses[1])
    assert at(clearance, poses[2]) == ""


def test_a_box_of_nothing_is_an_error():
    with pytest.raises(UserError, match="half_m"):
        KeepOut((0.0, 0.0, 0.0), (0.1, 0.0, 0.1))
    with pytest.raises(UserError, match="tool_min_m"):
        Workspace(tool_min_m=(0.5, -1.0, 0.0))
    with pytest.raises(UserError, match="center_m"):
        KeepOut((0.0, 0.0), (0.1, 0.1, 0.1))  # type: ignore[arg-type]


def recall(scenes: int, seed: int) -> tuple[int, int]:
    """How many of `scenes` would have ended in a collision, and how many of those were prevented."""
    outcomes = []
    for number in range(scenes):
        rng = np.random.default_rng([seed, number])
        outcomes.append(judge(FR3, *draw(FR3, rng), upcoming=int(rng.integers(9))))
    colliding = [outcome for outcome in outcomes if outcome.would_collide]
    assert any(not outcome.would_collide and not outcome.intervened for outcome in outcomes)
    return len(colliding), sum(outcome.guarded_m >= 0 for outcome in colliding)


def test_collisions_in_clutter_are_prevented():
    colliding, prevented = recall(25, seed=7)
    assert prevented == colliding >= 6


@pytest.mark.slow
def test_collisions_in_clutter_are_prevented_in_99_of_100():
    colliding, prevented = recall(2000, seed=8)
    assert prevented >= 0.99 * colliding and colliding > 500
