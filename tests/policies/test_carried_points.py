"""Points of an earlier look, re-expressed: against the simulator's truth at the later time, held things and free."""

import dataclasses
from typing import NamedTuple

import numpy as np
import pytest
import torch
from learning import SPEC, TINY, tiny_model

from policies.core.inputs import Inputs
from policies.fusion.grounded_points import TruePointsConfig
from policies.models.carried_points import CarriedPoints
from policies.models.remembered_target import RememberedTarget
from policies.models.vla import Vla
from sim.core.contract import TURN_COLUMNS
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig

OPEN, CLOSED = 1.0, 0.5
OBJECT_W, TARGET_W, OBJECT_T, TARGET_T = range(4)  # in SPEC.points


class Seen(NamedTuple):
    """One time of the simulation."""

    state: np.ndarray  # (7,)
    points: np.ndarray  # (4, 3) m, true
    tool_w: np.ndarray  # (3,) m
    turn_w: np.ndarray  # (3, 3) of the tool
    turns: np.ndarray  # (2, 4) true, of object and target from the tool


def looks(task: str, move_rad: list[float]) -> list[Seen]:
    """Two times of an episode of a task, between which the joints moved."""
    env = SimEnv(SimulationConfig(task))
    env.reset(3)
    start, found = env.observe().state, []
    for moved in (0.0, 1.0):
        for _ in range(25):
            env.apply(np.append(start[:-1] + moved * np.array(move_rad), 1.0))
        state = np.append(env.world.joints_rad(), OPEN).astype(np.float32)
        truth, tool = env.ground_truth(), env.world.scene_state.data.site("tcp")
        points = np.stack([truth[name] for name in SPEC.points]).astype(np.float32)
        turns = np.stack([truth[name] for name in TURN_COLUMNS])
        found.append(Seen(state, points, tool.xpos.copy(), tool.xmat.reshape(3, 3).copy(), turns))
    return found


@pytest.fixture(scope="module")
def seen() -> list[Seen]:
    return looks("pick_place", [0.3, -0.15, 0.15, 0.12, 0.09, 0.3])


def carry(then: Seen, now: Seen, opening_then: float, opening_now: float) -> np.ndarray:
    """The points (4, 3) of the look then, as they are from the state now."""
    states = [torch.tensor([[*one.state[:-1], opening]]) for one, opening in ((then, opening_then), (now, opening_now))]
    inputs = Inputs(states[1]).on(Inputs(states[0], points=torch.from_numpy(then.points)[None]))
    return CarriedPoints(SPEC)(inputs).points[0].numpy()


def test_what_stands_is_seen_from_where_the_tool_is_now(seen):
    then, now = seen
    assert np.linalg.norm(then.points[OBJECT_T] - now.points[OBJECT_T]) > 0.1
    np.testing.assert_allclose(carry(then, now, OPEN, OPEN), now.points, atol=1e-3)
    np.testing.assert_allclose(
        carry(then, now, CLOSED, CLOSED), now.points, atol=1e-3
    )  # closed, but far from the thing


@pytest.mark.parametrize(
    ("openings", "goes_along"), [((CLOSED, CLOSED), True), ((OPEN, CLOSED), False), ((CLOSED, OPEN), False)]
)
def test_what_is_held_at_both_times_goes_along_and_the_target_never_does(seen, openings, goes_along):
    then, now = seen
    in_tool = np.array([0.01, 0.0, 0.005], np.float32)
    in_world = then.tool_w + then.turn_w @ in_tool
    then = then._replace(points=np.stack([in_world, in_world, in_tool, in_tool]).astype(np.float32))
    carried = carry(then, now, *openings)
    stays, moves = in_world, now.tool_w + now.turn_w @ in_tool
    assert np.linalg.norm(stays - moves) > 0.05
    np.testing.assert_allclose(carried[TARGET_W], stays, atol=1e-3)
    np.testing.assert_allclose(carried[OBJECT_W], moves if goes_along else stays, atol=1e-3)
    expected_t = now.turn_w.T @ (stays - now.tool_w)
    np.testing.assert_allclose(carried[TARGET_T], expected_t, atol=1e-3)
    np.testing.assert_allclose(carried[OBJECT_T], in_tool if goes_along else expected_t, atol=1e-3)


def test_a_policy_of_points_decides_on_them_carried_and_others_are_not_touched(seen):
    policy = Vla(dataclasses.replace(TINY, fusion=TruePointsConfig(width=16), look_age=5), SPEC)
    then, now = seen
    old = Inputs(torch.from_numpy(then.state)[None], points=torch.from_numpy(then.points)[None])
    aged = Inputs(torch.from_numpy(now.state)[None]).on(old)
    shown = []
    policy.fusion.register_forward_pre_hook(lambda _, given: shown.append(given[0].points))
    policy.embedding(aged)
    np.testing.assert_allclose(shown[0][0].numpy(), now.points, atol=1e-3)
    assert tiny_model(config=dataclasses.replace(TINY, look_age=5)).carried is None
    assert Vla(dataclasses.replace(TINY, fusion=TruePointsConfig(width=16)), SPEC).carried is None


def test_how_things_are_turned_is_seen_from_the_turned_tool():
    """The last joint alone turns it, by 23 degrees; it points down throughout."""
    then, now = looks("insert_peg", [0, 0, 0, 0, 0, 0.4])
    assert np.linalg.norm(then.turns - now.turns, axis=1).min() > 0.5
    turn, points = torch.from_numpy(then.turns)[None], torch.ones(1, len(SPEC.points), 3)

    def carried(opening: float) -> np.ndarray:
        states = [torch.tensor([[*one.state[:-1], opening]]) for one in (then, now)]
        found = CarriedPoints(SPEC)(Inputs(states[1]).on(Inputs(states[0], points=points, turn=turn))).turn
        assert found is not None
        return found[0].numpy()

    np.testing.assert_allclose(carried(OPEN), now.turns, atol=0.02)
    points[:] = 0.0  # in the hand: the object turns with it, the target does not
    np.testing.assert_allclose(carried(CLOSED), [then.turns[0], now.turns[1]], atol=0.02)


def test_a_target_that_was_kept_is_where_it_stands_seen_from_the_tool_now():
    then, now = looks("insert_peg", [0.3, -0.15, 0.15, 0.12, 0.09, 0.4])
    remembered, errors = RememberedTarget(SPEC), torch.full((4, 1), 0.02)
    states = [torch.from_numpy(one.state)[None] for one in (then, now)]
    before = Inputs(states[0], points=torch.cat([torch.from_numpy(then.points), errors], 1)[None])
    before.turn = torch.from_numpy(then.turns)[None]
    elsewhere = Inputs(states[1], points=torch.ones(1, 4, 4), turn=torch.zeros(1, 2, 4))
    found = remembered(elsewhere, remembered.keep(before))
    assert found.points is not None and found.turn is not None
    assert np.linalg.norm(then.points[TARGET_T] - now.points[TARGET_T]) > 0.05
    for i in (TARGET_W, TARGET_T):
        np.testing.assert_allclose(found.points[0, i, :3], now.points[i], atol=1e-3)
    assert torch.equal(found.points[0, :, 3], torch.tensor([1.0, 0.02, 1.0, 0.02]))
    assert (found.points[0, [OBJECT_W, OBJECT_T]] == 1).all()
    assert (found.turn[0, 1] - torch.from_numpy(now.turns[1])).abs().max() < 0.1 and not found.turn[0, 0].any()
