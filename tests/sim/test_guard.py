"""Nothing beyond a limit leaves the motion guard, whatever is asked of it."""

import numpy as np
import pytest
from fr3 import CONTROL_PERIOD_S, FR3
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sim.core.contract import Observation
from sim.guard import limits
from sim.guard.motion_guard import DISAGREEMENT_RAD, MotionGuard
from sim.guard_benchmark.fuzz import Tally, play
from sim.robots.robot import RobotConfig

HOME = np.array([*FR3.home_rad, 1.0], np.float32)
STEP_RAD = FR3.policy_speed_rad_s * CONTROL_PERIOD_S  # 0.0611, the largest step
CHANGE_RAD = FR3.policy_accel_rad_s2 * CONTROL_PERIOD_S**2  # 0.025, by which two steps may differ
D = FR3.action_dim


def see(state: np.ndarray, age_s: float = 0.0) -> Observation:
    return Observation({}, np.asarray(state, np.float32), "", 0.0, age_s)


def guard_at(state: np.ndarray = HOME, clearance=None) -> MotionGuard:
    guard = MotionGuard(FR3, clearance)
    guard.reset(state)
    return guard


def follow(guard: MotionGuard, targets, start: np.ndarray = HOME) -> np.ndarray:
    """(n, D) what is sent, by an arm that follows at once."""
    sent = [start]
    for target in targets:
        sent.append(guard.check(see(sent[-1]), np.asarray(target, np.float32)))
    return np.array(sent[1:])


def ramp(speed: float, periods: int, direction=(1, 1, 1, 1, 1, 1)) -> np.ndarray:
    """(n, D) from home at `speed` (share of the policy's) after an even start."""
    steps = np.minimum(np.arange(1, periods + 1) * 0.9 * CHANGE_RAD, speed * STEP_RAD)
    return HOME + np.cumsum(steps)[:, None] * np.array([*direction, 0])


# ---- what is allowed passes ----------------------------------------------------------------------


def test_an_allowed_stream_passes_unchanged_and_uncounted():
    guard = guard_at()
    asked = ramp(0.95, 10).astype(np.float32)
    asked[:, -1] = 0.3
    np.testing.assert_array_equal(follow(guard, asked), asked)
    assert guard.report.counts == {}
    assert guard.report.latched == ""


# ---- what is not is scaled -----------------------------------------------------------------------


def test_an_allowed_stream_of_float64_is_not_counted_either():
    guard = MotionGuard(FR3)
    state = np.array([*FR3.home_rad, 1.0], np.float32)
    guard.reset(state)
    for _ in range(5):
        guard.check(Observation({}, state, "", 0.0, 0.0), np.array([*FR3.home_rad, 0.7]))
    assert not guard.report.counts


def test_too_sudden_a_step_is_scaled_as_a_whole_and_counted():
    guard = guard_at()
    asked = HOME + np.array([0.04, 0.02, -0.04, 0, 0, 0.01, 0], np.float32)
    step = guard.check(see(HOME), asked)[:6] - HOME[:6]
    np.testing.assert_allclose(step, np.array([1, 0.5, -1, 0, 0, 0.25]) * CHANGE_RAD, rtol=2e-3, atol=1e-6)
    assert guard.report.counts == {"acceleration": 1}


def test_a_far_target_is_reached_at_full_speed_without_overshoot():
    guard = guard_at()
    goal = HOME + np.array([0.5, -0.25, 0.5, 0, 0, 0.125, 0], np.float32)
    sent = follow(guard, [goal] * 20)
    np.testing.assert_allclose(np.diff(sent[:6, 0], prepend=HOME[0])[2:], STEP_RAD, rtol=2e-3)
    np.testing.assert_allclose(sent[-1], goal, atol=1e-6)
    assert (np.diff(sent[:, 0]) >= 0).all()  # never back
    # 0.5 rad at 0.0611 a period, and half a start and a stop of 2.4 periods each.
    assert np.flatnonzero(sent[:, 0] == goal[0])[0] + 1 <= np.ceil(0.5 / STEP_RAD + STEP_RAD / CHANGE_RAD)
    assert set(guard.report.counts) == {"speed", "acceleration"}


def test_after_a_jump_in_the_stream_it_is_caught_up_with_exactly():
    guard, asked = guard_at(), ramp(0.5, 30)
    asked[10:] -= 0.05 * np.array([1, 0, 1, 0, 0, 0, 0])
    sent = follow(guard, asked)
    np.testing.assert_array_equal(sent[:10], asked[:10].astype(np.float32))
    np.testing.assert_array_equal(sent[16:], asked[16:].astype(np.float32))
    assert 1 <= guard.report.counts["acceleration"] <= 6


def test_a_policy_that_decides_once_a_second_is_guarded_too():
    robot = RobotConfig(control_hz=1).load()
    guard = MotionGuard(robot)
    guard.reset(HOME)
    np.testing.assert_array_equal(guard.check(see(HOME), HOME), HOME)


@pytest.mark.parametrize("side", [-1, 1])
def test_at_the_end_of_the_range_the_arm_brakes_in_time(side):
    limit = (FR3.action_max if side > 0 else FR3.action_min)[0]
    start = HOME.copy()
    start[0] = limit - side * 0.5
    guard = guard_at(start)
    asked = start + np.arange(1, 25)[:, None] * STEP_RAD * np.array([side, 0, 0, 0, 0, 0, 0])
    sent = np.vstack([start, start, follow(guard, asked, start)])[:, 0].astype(float)
    assert np.abs(sent - limit).min() < 1e-6
    assert (side * (limit - sent) >= 0).all()
    assert np.abs(np.diff(sent, 2)).max() <= CHANGE_RAD
    assert guard.report.counts["position"] > 10


def test_an_arm_outside_its_range_may_come_back_but_not_go_further_out():
    start = HOME.copy()
    start[2] = FR3.action_max[2] + 0.05
    out, back = start.copy(), start.copy()
    out[2] += 0.02
    back[2] -= 0.02
    assert guard_at(start).check(see(start), out)[2] == start[2]
    assert guard_at(start).check(see(start), back)[2] == back[2]


# ---- faults latch --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("observation", "asked", "why"),
    [
        (see(HOME, age_s=0.3), HOME, "stale observation"),
        (see(HOME, age_s=float("nan")), HOME, "stale observation"),
        (see(HOME), HOME + np.float32(FR3.max_step_rad + 0.05), "jump of the target"),
        (see(HOME), np.zeros(D, np.float32), "jump of the target"),
        (see(np.zeros(D)), np.full(D, -0.1, np.float32), "jump of the measurement"),
        (see(HOME), np.full(D, np.nan, np.float32), "not finite"),
        (see(HOME), np.full(D, np.inf, np.float32), "not finite"),
        (see(np.full(D, np.nan)), HOME, "state not finite"),
    ],
)
def test_a_fault_latches_and_holds_until_a_reset(observation, asked, why):
    guard = guard_at()
    np.testing.assert_array_equal(guard.check(observation, asked), HOME)
    assert guard.report.latched == why
    np.testing.assert_array_equal(guard.check(see(HOME), HOME + np.float32(0.01)), HOME)
    assert guard.report.counts == {why: 2}
    guard.reset(HOME)
    moved = HOME + np.float32(0.01)
    moved[-1] = 1.0
    np.testing.assert_array_equal(guard.check(see(HOME), moved), moved)


def test_a_fault_in_motion_brings_the_arm_to_rest_along_its_path():
    direction = np.array([1, -0.5, 0.25, 0.8, -1, 0.1])
    guard = guard_at()
    moving = follow(guard, ramp(0.95, 10, direction))
    stopping = np.array([guard.check(see(moving[-1], age_s=1.0), HOME) for _ in range(5)])
    way = np.vstack([moving[-2:], stopping])[:, :6].astype(float)
    steps = np.diff(way, axis=0)
    travelled = way[-1] - way[1]
    assert travelled @ direction / np.linalg.norm(travelled) / np.linalg.norm(direction) > 0.9999
    # Steps of 0.058, 0.033, 0.008 and 0.
    np.testing.assert_allclose(steps[:, 0], np.maximum(0.95 * STEP_RAD - np.arange(6) * CHANGE_RAD, 0), atol=2e-4)
    assert guard.report.counts == {"stale observation": 5}


def test_an_arm_that_does_not_follow_is_noticed():
    guard, sent, periods = guard_at(), HOME, 0
    for asked in ramp(0.4, 40).astype(np.float32):
        if guard.report.latched:
            break
        sent, periods = guard.check(see(HOME), asked), periods + 1  # stuck at home
    assert guard.report.latched == "the arm does not follow"
    # Ten periods of news under way, and then so far.
    assert periods == pytest.approx(10 + DISAGREEMENT_RAD / (0.4 * STEP_RAD), abs=2)
    assert np.abs(sent - HOME).max() < FR3.max_step_rad


def test_an_arm_that_follows_late_is_no_fault():
    guard, asked = guard_at(), ramp(1.0, 60).astype(np.float32)
    asked = np.vstack([asked[:15], asked[:15][::-1], asked[:15]])
    sent = [HOME] * 5
    for target in asked:
        sent.append(guard.check(see(sent[-5]), target))  # 0.25 s late
    assert guard.report.latched == ""


def test_an_action_of_another_size_is_an_error():
    with pytest.raises(ValueError, match="shape"):
        guard_at().check(see(HOME), HOME[:6])


# ---- distances -----------------------------------------------------------------------------------


class Wall:
    """Joint 1 may not pass `at_rad`: the simplest thing that is in the way."""

    def __init__(self, at_rad: float):
        self.at_rad, self.begun_at = at_rad, np.zeros(0)
        self.ways = []

    def reset(self, joints_rad):
        self.begun_at = joints_rad.copy()

    def blocked(self, ways):
        self.ways = ways
        return "wall" if max(way[:, 0].max() for way in ways) > self.at_rad else ""


@pytest.mark.parametrize("speed", [0.1, 0.5, 1.0])
def test_the_arm_comes_to_rest_before_what_is_in_the_way(speed):
    wall = Wall(HOME[0] + 0.4)
    guard = guard_at(HOME, wall)
    np.testing.assert_array_equal(wall.begun_at, HOME[:6])
    asked = ramp(speed, round(0.6 / speed / STEP_RAD))
    sent = np.vstack([HOME, HOME, follow(guard, asked)]).astype(float)
    assert sent[:, 0].max() <= wall.at_rad
    assert np.abs(np.diff(sent[:, :6], 2, axis=0)).max() <= CHANGE_RAD
    assert wall.at_rad - sent[-1, 0] < 0.12 * max(speed, 0.2)  # and not far before it
    assert guard.report.counts["stopped: wall"] > 0
    assert guard.report.latched == ""


def test_what_is_still_to_come_of_the_chunk_is_looked_at():
    wall = Wall(HOME[0] + 0.1)
    chunk = ramp(0.5, 8).astype(np.float32)
    alone = guard_at(HOME, wall).check(see(HOME), chunk[0])
    np.testing.assert_array_equal(alone, chunk[0])
    guard = guard_at(HOME, wall)
    told = guard.check(see(HOME), chunk[0], chunk[1:])
    assert guard.report.counts == {"slowed: wall": 1}
    np.testing.assert_allclose(told[:6] - HOME[:6], (chunk[0] - HOME)[:6] / 2, atol=1e-6)
    # Nonsense to come is no reason now: it latches when it is asked for.
    broken = np.full((3, D), np.nan, np.float32)
    np.testing.assert_array_equal(guard_at(HOME, wall).check(see(HOME), chunk[0], broken), chunk[0])


def test_the_stopping_distance_is_the_data_sheets():
    wall = Wall(np.inf)
    direction = np.array([0, 1.0, 0, 0, 0, 0])
    sent = follow(guard_at(HOME, wall), ramp(0.99, 12, direction))
    end = max(way[-1, 1] for way in wall.ways) - sent[-1, 1]
    # Manual 3.1, joint 2: 0.65 rad from 180 deg/s, so 0.65 * (0.99 * 70 / 180)^2.
    assert end == pytest.approx(0.0963, abs=2e-4)


# ---- arbitrary chunks ----------------------------------------------------------------------------


def fuzz(episodes: int, seed: int, servo_every: int) -> Tally:
    tally, rng = Tally(), np.random.default_rng(seed)
    for episode in range(episodes):
        tally.add(play(FR3, rng, through_servo=episode % servo_every == 0))
    return tally


def check_tally(tally: Tally) -> None:
    assert tally.beyond == 0
    for shares in (tally.guard, tally.servo):
        assert max(shares.values()) <= 1 + 1e-9
    # The limits were tried, not only kept.
    assert min(tally.guard[name] for name in ("position", "speed", "acceleration")) > 0.99
    assert min(tally.servo.values()) > 0.99
    wanted = {"speed", "acceleration", "position", "jump of the target", "not finite", "stale observation"}
    assert wanted <= set(tally.counts)
    assert 0 < tally.latched < tally.chunks


def test_nothing_beyond_a_limit_leaves_guard_or_servo():
    tally = fuzz(episodes=330, seed=0, servo_every=5)
    assert tally.actions >= 20_000 and tally.ticks >= 20_000
    check_tally(tally)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_nothing_beyond_a_limit_leaves_in_a_million_actions():
    tally = fuzz(episodes=16_500, seed=1, servo_every=20)
    assert tally.actions >= 1_000_000 and tally.ticks >= 200_000
    check_tally(tally)


def test_the_fuzzer_sees_what_leaks(monkeypatch):
    monkeypatch.setattr(limits.MotionLimits, "next", lambda self, asked: (asked, ""))
    tally = fuzz(episodes=5, seed=0, servo_every=10)
    assert tally.beyond > 0 and tally.guard["acceleration"] > 1


any_number = st.floats(width=32, allow_nan=True, allow_infinity=True)
near_number = st.floats(-4, 4, width=32)
asked_actions = st.lists(
    st.one_of(
        hnp.arrays(np.float32, D, elements=any_number),
        hnp.arrays(np.float32, D, elements=near_number),
        # Relative to what was sent before: the only kind that is not latched at once.
        hnp.arrays(np.float32, D, elements=st.floats(-0.25, 0.25, width=32)).map(lambda step: ("step", step)),
    ),
    min_size=1,
    max_size=30,
)


@given(
    start=hnp.arrays(np.float32, D, elements=st.floats(0, 1, width=32)),
    asked=asked_actions,
    lag=st.floats(0, 1),
    age_s=st.floats(0, 0.3),
)
def test_nothing_beyond_a_limit_ever_leaves(start, asked, lag, age_s):
    state = FR3.action_min + start * (FR3.action_max - FR3.action_min)
    guard, sent = guard_at(state), state.copy()
    for action in asked:
        wanted = sent + action[1] if isinstance(action, tuple) else action
        before = sent
        sent = guard.check(see(state, age_s), wanted)
        assert np.isfinite(sent).all()
        assert (sent >= FR3.action_min).all()
        assert (sent <= FR3.action_max).all()
        assert np.abs((sent.astype(float) - before)[:6]).max() <= STEP_RAD
        state = (sent + np.float32(lag) * (state - sent)).astype(np.float32)
