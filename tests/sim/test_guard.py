"""Nothing beyond a limit leaves the motion guard, whatever is asked of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sim.contract import POLICY_PERIOD_S, Observation
from sim.guard import MotionGuard
from sim.robot import FR3

HOME = np.array([*FR3.home_rad, 1.0], np.float32)
STEP_RAD = FR3.policy_speed_rad_s * POLICY_PERIOD_S
D = FR3.action_dim


def see(state: np.ndarray, age_s: float = 0.0) -> Observation:
    return Observation({}, np.asarray(state, np.float32), "", 0.0, age_s)


def guard_at(state: np.ndarray = HOME) -> MotionGuard:
    guard = MotionGuard(FR3)
    guard.reset(state)
    return guard


def test_an_allowed_action_passes_unchanged_and_uncounted():
    guard = guard_at()
    asked = HOME + np.float32(0.5 * STEP_RAD)
    asked[-1] = 0.3
    np.testing.assert_array_equal(guard.check(see(HOME), asked), asked)
    assert guard.report.counts == {}
    assert guard.report.latched == ""


def test_too_fast_a_step_is_scaled_as_a_whole_and_counted():
    guard = guard_at()
    asked = HOME + np.array([0.2, 0.1, -0.2, 0, 0, 0.05, 0], np.float32)
    step = guard.check(see(HOME), asked)[:6] - HOME[:6]
    np.testing.assert_allclose(step, np.array([1, 0.5, -1, 0, 0, 0.25]) * STEP_RAD, atol=1e-6)
    assert guard.report.counts == {"speed": 1}


def test_positions_are_clipped_and_counted():
    state = FR3.action_max.copy() - np.float32(0.01)
    guard = guard_at(state)
    sent = guard.check(see(state), FR3.action_max + np.float32(0.02))
    np.testing.assert_allclose(sent, FR3.action_max, atol=1e-6)
    assert guard.report.counts == {"position": 1}


@pytest.mark.parametrize(
    ("observation", "asked", "why"),
    [
        (see(HOME, age_s=0.3), HOME, "stale observation"),
        (see(HOME, age_s=float("nan")), HOME, "stale observation"),
        (see(HOME), HOME + np.float32(FR3.max_step_rad + 0.05), "jump of the target"),
        (see(HOME), np.zeros(D, np.float32), "jump of the target"),
        (see(np.zeros(D)), np.full(D, 0.1, np.float32), "jump of the measurement"),
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


def test_an_action_of_another_size_is_an_error():
    with pytest.raises(ValueError, match="shape"):
        guard_at().check(see(HOME), HOME[:6])


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
        assert np.abs(sent[:6] - before[:6]).max() <= STEP_RAD + 1e-6
        state = (sent + np.float32(lag) * (state - sent)).astype(np.float32)
