"""Evaluations side by side, against published tables and other libraries."""

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_statsmodels
from statsmodels.stats.proportion import proportion_confint

from rl.compare import mcnemar, paired, read_outcomes, summary
from sim.errors import UserError


def results(success: list[bool], time_s: list[float] | None = None, first: int = 900000) -> dict:
    times = time_s or [5.0 if s else 15.0 for s in success]
    rows = [{"seed": first + i, "success": s, "time_s": t} for i, (s, t) in enumerate(zip(success, times, strict=True))]
    return {"episodes": rows[::-1]}  # any order


def test_success_throughput_and_time():
    found = summary(read_outcomes(results([True] * 3 + [False])))
    assert found["n"] == 4
    assert found["success_rate"] == 0.75
    assert found["throughput_per_hour"] == pytest.approx(3 * 3600 / 30)
    assert found["mean_time_s"] == 5.0
    assert [found["ci_low"], found["ci_high"]] == pytest.approx(proportion_confint(3, 4, method="wilson"))


def test_all_failures_have_no_mean_time_but_an_interval():
    found = summary(read_outcomes(results([False] * 20)))
    assert found["mean_time_s"] is None
    assert (found["throughput_per_hour"], found["ci_low"]) == pytest.approx((0.0, 0.0))
    assert found["ci_high"] == pytest.approx(0.161, abs=1e-3)  # Wilson, 0 of 20


def test_the_bootstrap_interval_covers_as_often_as_it_says():
    """100 evaluations of 150 episodes at 80 %: the true throughput lies inside 95 % of the intervals."""
    rng, inside = np.random.default_rng(0), 0
    true = 0.8 * 3600 / (0.8 * 5 + 0.2 * 15)
    for i in range(100):
        found = summary(read_outcomes(results((rng.random(150) < 0.8).tolist())), seed=i)
        inside += found["throughput_ci_low"] <= true <= found["throughput_ci_high"]
    assert inside >= 88


@pytest.mark.parametrize(("gained", "lost"), [(10, 2), (1, 1), (0, 5), (30, 11)])
def test_mcnemar_is_statsmodels(gained, lost):
    table = [[50, gained], [lost, 50]]
    assert mcnemar(gained, lost) == pytest.approx(float(mcnemar_of_statsmodels(table, exact=True).pvalue))


def test_nothing_changed():
    same = read_outcomes(results([True, False, True]))
    found = paired(same, same)
    assert (found["gained"], found["lost"], found["p_success"]) == (0, 0, 1.0)
    assert (found["throughput_change_low"], found["throughput_change_high"]) == (0.0, 0.0)


def test_gains_and_losses_are_counted_by_seed():
    before = read_outcomes(results([True, False, False, False, True]))
    after = read_outcomes(results([True, True, True, False, False]))
    found = paired(before, after)
    assert (found["gained"], found["lost"]) == (2, 1)
    assert found["p_success"] == 1.0


def test_different_seeds_cannot_be_paired():
    with pytest.raises(UserError, match="different seeds"):
        paired(read_outcomes(results([True])), read_outcomes(results([True], first=1)))
