"""Returns and bins against numbers written out."""

import numpy as np
import pytest

from rl.advantage.returns import (
    BINS,
    Convention,
    ReturnScale,
    normalize,
    returns,
    rewards,
    two_hot,
)

CENTERS = np.linspace(-1.0, 0.0, 201)
EIGHT = ReturnScale(time_limit_steps=8)


def test_a_success_of_five_steps_in_a_limit_of_eight():
    raw = returns(rewards(5, EIGHT, success=True))
    assert raw.tolist() == [-4, -3, -2, -1, 0]
    assert normalize(raw, EIGHT).tolist() == [-0.5, -0.375, -0.25, -0.125, 0.0]


def test_a_failure_is_at_the_bottom_bin_from_its_first_frame():
    raw = returns(rewards(4, EIGHT, success=False))
    assert raw.tolist() == [-11, -10, -9, -8]
    assert normalize(raw, EIGHT).tolist() == [-1.0] * 4
    assert two_hot(normalize(raw, EIGHT)).argmax(1).tolist() == [0] * 4


def test_convention_b_tells_how_far_a_failure_is_from_its_end():
    scale = ReturnScale(8, convention=Convention.B)
    assert normalize(returns(rewards(4, scale, success=False)), scale).tolist() == [
        -11 / 16,
        -10 / 16,
        -9 / 16,
        -8 / 16,
    ]
    assert normalize(returns(rewards(5, scale, success=True)), scale).tolist() == [-0.25, -3 / 16, -0.125, -1 / 16, 0.0]


def test_a_time_out_costs_no_less_than_the_slowest_success():
    """Whatever the lengths, a failure must not outrank a success (the early-termination trap)."""
    slow = normalize(returns(rewards(8, EIGHT, success=True)), EIGHT)[0]
    quick_failure = normalize(returns(rewards(1, EIGHT, success=False)), EIGHT)[0]
    assert slow == -7 / 8 > quick_failure == -1.0
    with pytest.raises(ValueError, match="at least the time limit"):
        ReturnScale(8, fail_cost=3)


def test_round_trips_through_bins():
    values = np.random.default_rng(0).uniform(-1, 0, 1000)
    assert two_hot(values).shape == (1000, BINS) == (1000, len(CENTERS))
    assert np.abs(CENTERS[two_hot(values).argmax(1)] - values).max() <= 0.0025 + 1e-12
    assert np.abs(two_hot(values) @ CENTERS - values).max() < 1e-6


def test_two_hot_shares_one_between_neighbours():
    row = two_hot(np.array([-0.99875]))[0]  # a quarter of the way from bin 0 to bin 1
    assert row[:3].tolist() == pytest.approx([0.75, 0.25, 0.0], abs=1e-5)
    rows = two_hot(np.array([-1.0, 0.0, -7.0, 3.0]))
    assert rows.sum(1).tolist() == [1, 1, 1, 1]
    assert rows.argmax(1).tolist() == [0, 200, 0, 200]
    assert (np.count_nonzero(rows, axis=1) <= 2).all()
