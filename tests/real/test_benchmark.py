"""The timing program: its sums against numbers typed out, its runs against a small emulator."""

import pytest
from running import HOST
from waiting import PATIENCE_S, wait_for

from real.benchmark import BenchmarkConfig, _reference, report, row, stop_times, stream_timing
from real.workcell.episode_setup import EmulatedBench
from sim.core.config import load
from sim.core.errors import UserError


def test_a_row_names_the_percentiles():
    text = row("x", [0.001] * 99 + [0.101])
    assert "p50   1.000" in text and "max  101.000" in text and "n 100" in text


def test_stops_that_were_not_asked_for_are_a_row_too():
    assert row("x", []).split() == ["x", "none"]


def test_the_stream_and_its_stops_are_timed(driver, running):
    driver.power_on()
    reference: dict = {}
    with _reference(reference):
        stream, late_s, times_s = stream_timing(driver, 0.02)
    assert len(times_s) == stream.sent == len(late_s) > 5
    assert len(reference["late"]) == len(reference["times"]) > 0
    assert "deadlines missed by more than one period" in report(stream, late_s, times_s, reference)
    bench = EmulatedBench(running.address("bench_port"))
    taken = stop_times(driver, bench, 4, 0)
    assert {kind: len(seconds) for kind, seconds in taken.items()} == {"fault in the state": 2, "halt": 2}
    assert all(0 < second < PATIENCE_S for seconds in taken.values() for second in seconds)
    wait_for(lambda: not running.controller.in_servo)
    bench.close()
    assert running.address("rpc_port")[0] == HOST


@pytest.mark.parametrize("word", ["minutes=0", "stops=-1", "servo=tcp"])
def test_a_wrong_option_is_reported(word):
    with pytest.raises(UserError, match=word.partition("=")[0]):
        load("real_benchmark", BenchmarkConfig, [word])
