"""A policy that watches itself: what it does at an alarm, how it gets back, which sub-task it names."""

import dataclasses
import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from fr3 import CONTROL_PERIOD_S, FR3

from policies.core.spec import PolicySpec
from policies.fusion.grounded_points import TruePointsConfig
from policies.models import checkpoint
from policies.models.checkpoint import CheckpointMetadata
from policies.models.vla import VlaConfig
from policies.models.watch import LOOKS, AlarmConfig, Forecast, Watch, WatchSizes, load_watch, save_watch
from policies.runtime.agent import load_agent
from policies.runtime.retreat import OPEN_S, RISE_M, Retreat
from policies.runtime.self_correction import HELP, RETREAT, load_watching_agent
from policies.runtime.subtask import GRASPING, PLACING, REACHING, RELEASED, WHOLE, FingerBelief
from sim.core.contract import GROUNDING_COLUMNS, TURN_COLUMNS, Observation
from sim.core.errors import UserError
from sim.guard.motion_guard import MotionGuard
from sim.planning.kinematics import ToolKinematics

SPEC = PolicySpec(FR3.name, (), (0, 0), FR3.action_dim, FR3.action_dim, GROUNDING_COLUMNS)
TRUTH = {name: np.zeros(3, np.float32) for name in GROUNDING_COLUMNS}
TRUTH |= {name: np.zeros(4, np.float32) for name in TURN_COLUMNS}
LIMIT = 200
START = np.array([*FR3.home_rad, 1.0], np.float32)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A policy that looks at points, with a watch that is never alarmed."""
    out = tmp_path_factory.mktemp("watched") / "policy"
    torch.manual_seed(0)
    policy = VlaConfig(vision=None, language=None, fusion=TruePointsConfig(width=16)).build(SPEC)
    home = torch.tensor(START)[None]
    chunks = home[:, None] + 0.02 * torch.randn(200, policy.config.chunk, FR3.action_dim)
    policy.fit_normalization(chunks, torch.ones(chunks.shape[:2]).bool(), home.expand(200, -1), torch.zeros(200, 4, 3))
    checkpoint.save(out, policy, CheckpointMetadata("", "", ("pick_place",), {}))
    save_watch(out, Watch(WatchSizes(16 + 3 * FR3.action_dim, 8, 11, 2), AlarmConfig(-9.0, LIMIT, True, LIMIT)), {})
    return out


def play(agent, steps: int) -> list[np.ndarray]:
    """Play on an arm that follows at once."""
    observation, actions = Observation({}, START, "put it there", 0.0), []
    agent.reset(observation, 3)
    for _ in range(steps):
        actions.append(agent.act(observation))
        agent.note_executed(actions[-1])
        stamp_s = observation.stamp_s + CONTROL_PERIOD_S
        observation = dataclasses.replace(observation, state=actions[-1], stamp_s=stamp_s)
    return actions


def alarmed(root, threshold: float, value: float = -0.5, grasps: bool = True):
    """Return an agent whose value is always the same."""
    agent = load_watching_agent(root, ground_truth=lambda: TRUTH)
    agent.decider.watch.value = lambda embedding: value
    agent._alarm = AlarmConfig(threshold, LIMIT, grasps, LIMIT)
    return agent


def test_without_an_alarm_it_acts_as_one_that_does_not_watch(root):
    watching = load_watching_agent(root, ground_truth=lambda: TRUTH)
    assert np.array_equal(play(watching, 40), play(load_agent(root, ground_truth=lambda: TRUTH), 40))
    assert watching.alarms == [] and -1 <= watching.value <= 0


@pytest.mark.parametrize("unit", [LIMIT, 2 * LIMIT, 3.5 * LIMIT])
def test_a_forecast_of_a_right_value_stays_in_whatever_unit_the_value_is(unit):
    length, forecast = 80, Forecast(LIMIT, unit)
    found = [forecast.add(-(length - t) / unit, t) for t in range(0, length, 8)]
    assert found == pytest.approx([-length / LIMIT] * len(found))


def test_an_alarm_of_before_is_in_time_limits(root, tmp_path):
    for name in ("watch.json", "watch.safetensors"):
        (tmp_path / name).write_bytes((root / name).read_bytes())
    content = json.loads((tmp_path / "watch.json").read_text())
    assert content["alarm"].pop("steps_per_unit") == LIMIT
    (tmp_path / "watch.json").write_text(json.dumps(content))
    assert load_watch(tmp_path).alarm == load_watch(root).alarm == AlarmConfig(-9.0, LIMIT, True, LIMIT)
    del content["alarm"]["limit_steps"]
    (tmp_path / "watch.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="is broken"):
        load_watch(tmp_path)


def test_a_forecast_of_a_right_value_stays_and_falls_by_what_is_lost():
    length, forecast = 80, Forecast(LIMIT, LIMIT)
    right = [forecast.add(-(length - t) / LIMIT, t) for t in range(0, length, 8)]
    assert right == pytest.approx([-length / LIMIT] * len(right))
    lost = [forecast.add(-1.0, t) for t in range(length, length + 8 * LOOKS, 8)]
    assert all(after < before for before, after in pairwise([right[-1], *lost]))
    assert lost[-1] == pytest.approx(np.mean([-1 - t / LIMIT for t in range(length, length + 8 * LOOKS, 8)]))
    forecast.reset()
    assert forecast.add(-0.25, 0) == -0.25


def test_the_first_alarm_is_a_retreat_and_the_second_asks_for_help(root):
    """At value -0.5 the mean forecast of the looks at 0, 8, .. falls as time passes."""
    agent = alarmed(root, -0.6 + 1e-9)
    actions = play(agent, 150)
    first, second = agent.alarms
    looks = np.arange(0, 150, 8)
    means = [np.mean(-0.5 - looks[max(0, i - LOOKS + 1) : i + 1] / LIMIT) for i in range(len(looks))]
    when = looks[np.flatnonzero(np.array(means) < -0.6 + 1e-9)[0]]
    assert first.time_s == pytest.approx((when + 1) * CONTROL_PERIOD_S) and first.response == RETREAT
    assert first.forecast == pytest.approx(min(means[: when // 8 + 1]))
    taken = round(second.time_s / CONTROL_PERIOD_S) - 2 * (when + 1)
    assert OPEN_S < taken * CONTROL_PERIOD_S < OPEN_S + 1.5  # the fingers open, the arm rises
    assert second.response == HELP
    assert agent._generator.initial_seed() != 3  # the second attempt draws other noise
    assert np.array_equal(play(agent, 150), actions)


def test_a_step_of_a_plan_may_retreat_anew_and_the_alarms_of_the_one_before_are_kept(root):
    agent = alarmed(root, -0.4)
    play(agent, 2)
    agent.restart(Observation({}, START, "and then this", 7.0), 4)
    agent.act(Observation({}, START, "and then this", 7.0))
    assert [one.response for one in agent.alarms] == [RETREAT, RETREAT]
    assert agent.alarms[1].time_s == pytest.approx(7.0 + CONTROL_PERIOD_S)
    assert play(agent, 1) and len(agent.alarms) == 1 and agent.value == -0.5
    agent.begin(5)
    assert agent.value is None  # of another look


def test_after_a_way_back_the_gripper_is_held_as_that_left_it(root):
    agent = alarmed(root, -0.4)
    play(agent, 3)
    assert agent._retreat
    agent.note_executed(np.append(START[:-1], np.float32(0.25)))
    agent.restart(Observation({}, START, "put it there", 1.0), 4)
    assert agent._sent[0].tolist() == [*START[:-1].tolist(), 0.25]


def test_the_failed_sub_task_is_named_where_the_task_holds_things(root):
    for grasps, named in ((True, REACHING), (False, WHOLE)):
        agent = alarmed(root, -0.4, grasps=grasps)
        play(agent, 2)
        assert [one.subtask for one in agent.alarms] == [named]


@pytest.mark.parametrize(
    ("fingers", "named"),
    [
        ([(1.0, 1.0)] * 3, REACHING),
        ([(1.0, 0.0), (0.5, 0.0), (0.0, 0.0)], GRASPING),
        ([(1.0, 0.0), (0.5, 0.0), (0.5, 0.0)], PLACING),
        ([(0.5, 0.0), (0.5, 0.0), (0.0, 0.0)], GRASPING),
        ([(0.5, 0.0), (0.5, 0.0), (1.0, 1.0)], RELEASED),
        ([(1.0, 1.0), (0.5, 0.0), (1.0, 1.0)], RELEASED),
    ],
)
def test_the_fingers_say_what_the_arm_is_at(fingers, named):
    belief = FingerBelief(control_hz=4)
    for opening, commanded in fingers:
        for _ in range(5):
            belief.note(opening, commanded)
    assert belief.subtask == named


@pytest.mark.parametrize("speed", [0.0, 0.6, -1.1])
def test_a_retreat_opens_rises_and_comes_home_within_what_the_guard_lets_through(speed):
    tool, low = ToolKinematics(FR3), START.copy()
    low[:6] += [0.3, -0.35, 0.5, -0.2, 0.1, 0.4]
    low[-1] = 0.0
    guard = MotionGuard(FR3)
    guard.reset(low)
    for share in (0.25, 0.5, 0.75, 1.0):  # in motion, as under a policy
        asked = guard.sent
        asked[0] += share * speed * CONTROL_PERIOD_S
        guard.check(Observation({}, guard.sent, "", 0.0), asked)
    assert guard.step_rad[0] == pytest.approx(speed * CONTROL_PERIOD_S, abs=1e-6)
    way, path = Retreat(FR3, 1.0, guard.sent, guard.step_rad, START[:6].astype(float)), [guard.sent]
    guard.report.counts.clear()
    while not way.done:
        action = way.act()
        path.append(guard.check(Observation({}, path[-1], "", 0.0), action))
        assert np.abs(path[-1] - action).max() < 1e-5
        assert len(path) < 120
    assert guard.report.counts == {} and path[1][-1] == START[-1]
    assert path[-1] == pytest.approx(START, abs=1e-3)
    places = np.array([tool.forward(one[:6].astype(float))[0] for one in path])
    rested = places[8]
    assert np.linalg.norm(np.diff(places[7:9], axis=0)) < 1e-4  # while the fingers open
    high = np.flatnonzero(places[:, 2] > rested[2] + 0.9 * RISE_M)[0]
    assert np.abs(places[8:high, :2] - rested[:2]).max() < 0.015


def test_a_watch_that_is_missing_or_broken_is_one_line(root, tmp_path):
    assert load_watch(root).sizes.heads == 2
    with pytest.raises(UserError, match=r"watch=true: .* has no watch; python -m rl.watch checkpoint="):
        load_watch(tmp_path)
    (tmp_path / "watch.safetensors").write_bytes(b"no")
    (tmp_path / "watch.json").write_text("{}")
    with pytest.raises(UserError, match=r"the watch in .* is broken"):
        load_watch(tmp_path)
