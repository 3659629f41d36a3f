"""Paired comparisons against another library and numbers written out."""

import numpy as np
import pytest
from scipy.stats import binomtest

from rl.run.paired import Outcomes, mcnemar, paired, read_outcomes
from sim.core.errors import UserError


def outcomes(success: list[bool], time_s: list[float] | None = None, first: int = 900000) -> Outcomes:
    times = time_s or [5.0 if s else 15.0 for s in success]
    rows = [{"seed": first + i, "success": s, "time_s": t} for i, (s, t) in enumerate(zip(success, times, strict=True))]
    return read_outcomes(rows[::-1])  # any order


@pytest.mark.parametrize(("gained", "lost"), [(10, 2), (1, 1), (0, 5), (30, 11)])
def test_mcnemar_is_the_binomial_test_of_the_changed_pairs(gained, lost):
    assert mcnemar(gained, lost) == pytest.approx(float(binomtest(gained, gained + lost).pvalue))


def test_nothing_changed():
    same = outcomes([True, False, True])
    found = paired(same, same)
    assert (found["gained"], found["lost"], found["p_success"]) == (0, 0, 1.0)
    assert (found["throughput_change_low"], found["throughput_change_high"]) == (0.0, 0.0)


def test_failures_alone_are_not_certain_that_nothing_changed():
    """Of 20 failures the rate may be up to 16.1 % (Wilson): at 240 and at 480 episodes an hour."""
    found = paired(outcomes([False] * 20, [15.0] * 20), outcomes([False] * 20, [7.5] * 20))
    assert (found["gained"], found["lost"], found["p_success"]) == (0, 0, 1.0)
    assert found["throughput_change_low"] == pytest.approx(-0.1611 * 240, rel=1e-3)
    assert found["throughput_change_high"] == pytest.approx(0.1611 * 480, rel=1e-3)


def test_gains_and_losses_are_counted_by_seed():
    found = paired(outcomes([True, False, False, False, True]), outcomes([True, True, True, False, False]))
    assert (found["gained"], found["lost"]) == (2, 1)
    assert found["p_success"] == 1.0


def test_everything_twice_as_fast_doubles_the_throughput():
    success = [True] * 40
    found = paired(outcomes(success, [8.0] * 40), outcomes(success, [4.0] * 40))
    assert found["throughput_change_low"] == found["throughput_change_high"] == pytest.approx(3600 / 4 - 3600 / 8)


def test_the_paired_interval_covers_as_often_as_it_says():
    """60 pairs of evaluations, 80 % and 90 % of 150 episodes: the true change lies inside most intervals."""
    rng, inside = np.random.default_rng(0), 0
    rate = {share: share * 3600 / (share * 5 + (1 - share) * 15) for share in (0.8, 0.9)}
    for i in range(60):
        luck = rng.random(150)
        found = paired(outcomes((luck < 0.8).tolist()), outcomes((luck < 0.9).tolist()), seed=i)
        inside += found["throughput_change_low"] <= rate[0.9] - rate[0.8] <= found["throughput_change_high"]
    assert inside >= 51


def test_different_seeds_cannot_be_paired():
    with pytest.raises(UserError, match="different seeds"):
        paired(outcomes([True]), outcomes([True], first=1))


def test_a_single_episode_has_no_interval():
    found = paired(outcomes([True], [4.0]), outcomes([True], [2.0]))
    assert found["throughput_change_low"] == found["throughput_change_high"] == pytest.approx(900.0)
