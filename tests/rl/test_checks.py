"""The checks that every run prints, on outcomes that are given."""

import pytest

from rl.run.checks import gap_share, headroom_warning, indicator_check, indicator_line


def episodes(successes: int, n: int = 20) -> list[dict]:
    return [{"seed": 900000 + i, "success": i < successes, "time_s": 5.0} for i in range(n)]


def test_the_expected_order_holds():
    check = indicator_check({"positive": episodes(18), "none": episodes(15), "negative": episodes(8)})
    assert check == {
        "positive": 0.9,
        "none": 0.75,
        "negative": 0.4,
        "n": 20,
        "p": pytest.approx(2 / 2**10),
        "holds": True,
    }
    assert indicator_line(check).startswith("success on the same 20 seeds: positive 90.0%, none 75.0%, negative 40.0%")


@pytest.mark.parametrize("counts", [(8, 15, 18), (15, 18, 8), (15, 8, 10), (10, 10, 10)])
def test_any_other_order_does_not(counts):
    check = indicator_check(dict(zip(("positive", "none", "negative"), map(episodes, counts), strict=True)))
    assert not check["holds"]
    assert "NOT in the expected order" in indicator_line(check)
    assert ("no information" in indicator_line(check)) == (counts[0] <= counts[2])


def test_a_start_as_good_as_the_expert_is_a_warning():
    expert = {"throughput_per_hour": 700.0}
    assert headroom_warning({"throughput_per_hour": 300.0}, expert) is None
    assert "start leaves little to win: 650 successes an hour of the clean expert's 700" in (
        headroom_warning({"throughput_per_hour": 650.0}, expert) or ""
    )
    assert headroom_warning({"throughput_per_hour": 0.0}, {"throughput_per_hour": 0.0}) is None


def test_a_gain_is_a_share_of_the_gap_to_the_expert():
    start, expert = {"throughput_per_hour": 300.0}, {"throughput_per_hour": 700.0}
    assert gap_share(start, {"throughput_per_hour": 600.0}, expert) == pytest.approx(0.75)
    assert gap_share(start, {"throughput_per_hour": 200.0}, expert) == pytest.approx(-0.25)
    assert gap_share(expert, start, expert) is None
