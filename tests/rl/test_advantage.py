"""Advantages, thresholds and indicators against closed forms and counts."""

import numpy as np
import pytest

from rl.advantage.advantage import end_decile, indicate, n_step, threshold, thresholds
from rl.advantage.positive_rates import one_sided, positive_rates
from rl.advantage.returns import Convention, ReturnScale, normalize, returns, rewards

SCALE = ReturnScale(time_limit_steps=100)


def perfect(length: int, scale: ReturnScale = SCALE, *, success: bool) -> tuple[np.ndarray, np.ndarray]:
    steps = rewards(length, scale, success=success)
    return steps, normalize(returns(steps), scale)


def by_hand(steps: np.ndarray, values: np.ndarray, n: int, scale: float) -> list[float]:
    """The definition, one frame after the other."""
    found = []
    for t in range(len(steps)):
        total = sum(steps[t : t + n]) / scale
        later = values[t + n] if t + n < len(values) else 0.0
        found.append(total + later - values[t])
    return found


@pytest.mark.parametrize("n", [1, 7, 20, 500])
def test_a_perfect_critic_sees_no_advantage_in_a_success(n):
    steps, values = perfect(60, success=True)
    assert np.abs(n_step(steps, values, n, SCALE)).max() < 1e-12


@pytest.mark.parametrize("n", [1, 3, 20, 60, 61, 200])
@pytest.mark.parametrize("success", [True, False])
def test_is_the_definition(n, success):
    rng = np.random.default_rng(n)
    steps, values = rewards(60, SCALE, success=success), rng.uniform(-1, 0, 60)
    assert n_step(steps, values, n, SCALE) == pytest.approx(by_hand(steps, values, n, 100.0))


def test_looking_ahead_to_the_end_is_return_minus_value():
    values = np.random.default_rng(1).uniform(-1, 0, 60)
    steps, wanted = perfect(60, success=True)
    assert n_step(steps, values, 60, SCALE) == pytest.approx(wanted - values)
    assert n_step(steps, values, 999, SCALE) == pytest.approx(wanted - values)


def test_a_doomed_frame_loses_the_time_it_takes_under_convention_a():
    steps, values = perfect(60, success=False)
    assert n_step(steps, values, 20, SCALE)[:40] == pytest.approx(np.full(40, -0.2))


def test_a_doomed_frame_looks_average_under_convention_b():
    scale = ReturnScale(100, convention=Convention.B)
    steps, values = perfect(60, scale, success=False)
    assert n_step(steps, values, 20, scale) == pytest.approx(np.zeros(60))


def test_a_planted_critic_marks_the_mistake():
    """A value that falls by 0.5 at frame 30: the frames that lead there within n are the bad ones."""
    steps = rewards(100, SCALE, success=True)
    values = np.where(np.arange(100) < 30, -0.3, -0.8)
    found = n_step(steps, values, 10, SCALE)
    assert found[20:30] == pytest.approx(np.full(10, -0.6))
    assert found[:20] == pytest.approx(np.full(20, -0.1))
    assert (indicate(found, np.full(100, "a"), {"a": -0.5}, np.zeros(100, bool)) == (found > -0.5)).all()
    assert not indicate(found, np.full(100, "a"), {"a": -0.5}, np.zeros(100, bool))[20:30].any()


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.4, 0.6])
@pytest.mark.parametrize("count", [7, 1000, 4001])
def test_the_wanted_fraction_is_positive(fraction, count):
    advantages = np.random.default_rng(2).normal(size=count)
    share = (advantages > threshold(advantages, fraction)).mean()
    assert fraction - 1 / count < share <= fraction + 1e-9


def test_ties_are_not_above_themselves():
    assert not (np.zeros(50) > threshold(np.zeros(50), 0.4)).any()


def test_every_task_has_its_threshold_and_the_pool_alone_makes_it():
    rng = np.random.default_rng(3)
    tasks = np.repeat(["easy", "hard"], 500)
    advantages = np.concatenate([rng.normal(2.0, 1.0, 500), rng.normal(-2.0, 1.0, 500)])
    pool = np.arange(1000) % 2 == 0
    advantages[~pool] += 100.0  # outside the quantile: must not move it
    epsilons = thresholds(advantages, tasks, pool, 0.4)
    positive = indicate(advantages, tasks, epsilons, np.zeros(1000, bool))
    for task in ("easy", "hard"):
        assert positive[pool & (tasks == task)].mean() == pytest.approx(0.4)
    assert positive[~pool].all()


def test_forced_frames_are_positive_whatever_their_advantage():
    forced = np.arange(10) < 4
    positive = indicate(np.full(10, -9.0), np.full(10, "a"), {"a": 0.0}, forced)
    assert (positive == forced).all()


def test_nothing_to_take_a_threshold_from():
    with pytest.raises(ValueError, match="no advantages"):
        threshold(np.zeros(0), 0.4)
    with pytest.raises(ValueError, match="between 0 and 1"):
        threshold(np.zeros(3), 1.0)


def test_tenths_count_down_to_the_end():
    assert end_decile(20).tolist() == np.repeat(np.arange(9, -1, -1), 2).tolist()
    assert end_decile(1).tolist() == [0]


def test_positive_rates_by_group():
    rows = positive_rates(np.array([True, False, True, True]), {"source": np.array(["a", "a", "b", "b"])})
    assert rows == [
        {"by": "source", "group": "a", "frames": 2, "positive": 0.5},
        {"by": "source", "group": "b", "frames": 2, "positive": 1.0},
    ]


def test_a_group_that_sees_one_indicator_only_is_a_warning():
    rows = [
        {"by": "outcome", "group": "failure", "frames": 10, "positive": 0.0},
        {"by": "outcome", "group": "success", "frames": 90, "positive": 0.4},
        {"by": "source", "group": "intervention frames", "frames": 5, "positive": 1.0},  # by construction
        {"by": "task", "group": "stack", "frames": 5, "positive": 1.0},
    ]
    first, second = one_sided(rows)
    assert first.startswith("outcome failure: 0% of 10 frames are positive")
    assert second.startswith("task stack: 100% of 5 frames")
