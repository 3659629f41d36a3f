"""The soak itself: small and quick over sockets, whole when asked for, and able to fail."""

import faulthandler
import itertools

import numpy as np
import pytest
from running import Running

from real.fairino.driver import FairinoDriver
from real.fairino.framing import FrameCutter
from real.soak.frames import soak_frames
from real.soak.records import RecordTally, soak_records
from real.soak.soak import SoakConfig, main, report
from real.soak.trials import LASTING, Soak
from real.workcell.recording import RobotRecorder
from sim.core.errors import UserError


@pytest.fixture(autouse=True)
def lenient(monkeypatch):
    """The limits of real use, under which any trial may stop; calls may be late where the machine is busy."""
    for limit in ("fairino.driver.MAX_STATE_AGE_S", "control.watchdog.MAX_BEAT_AGE_S", "fairino.servo_link.TAKEN_S"):
        monkeypatch.setattr(f"real.{limit}", 0.25)
    monkeypatch.setattr("real.soak.trials.LATE_S", 5.0)


def soak_some(trials: int, kinds: tuple[str, ...] = ()) -> Soak:
    running = Running()
    soak = Soak("127.0.0.1", running.ports, np.random.default_rng(5))
    soak._kinds = list(kinds) or soak._kinds
    try:
        for _ in range(trials):
            faulthandler.dump_traceback_later(120, exit=True)
            soak.trial()
        soak.account()
    finally:
        faulthandler.cancel_dump_traceback_later()
        soak.close()
        running.stop()
    return soak


def test_a_hundred_faults_into_the_reassembler():
    tally = soak_frames(100, 0)
    assert sum(tally.injected.values()) >= 100
    assert set(tally.injected) == {"lost", "torn", "doubled", "corrupt", "merged", "garbage"}
    assert not tally.wrong


def test_a_trial_of_some_kinds_over_sockets():
    kinds = ("torn", "corrupt", "dead_rpc", "lost_udp", "emergency_stop", "power_loss", "drop_state")
    soak = soak_some(len(kinds), kinds)
    assert soak.tally.wrong == []
    assert set(soak.tally.injected) >= {"emergency_stop", "power_loss", "drop_state"}
    assert soak.tally.faults >= 10
    assert "accounted for" in soak.tally.summary()


def test_a_driver_that_does_not_stop_is_found_out(monkeypatch):
    monkeypatch.setattr(FairinoDriver, "stop", lambda self: None)
    soak = soak_some(1, ("drift",))
    assert any("still in servo mode" in text for text in soak.tally.wrong)
    assert "2 failures" in report(soak_frames(1, 0), {"3.9.6": soak.tally}, RecordTally())


def test_a_stop_that_only_works_when_it_is_repeated_is_found_out(monkeypatch):
    """By a person who tries again the arm is safe in the end; the program's own stop was none."""
    monkeypatch.setitem(LASTING, "mute_state", ((1, 1), (0.8, 0.8)))  # longer than the state may be silent
    stops, stop = itertools.count(), FairinoDriver.stop
    monkeypatch.setattr(FairinoDriver, "stop", lambda self: stop(self) if next(stops) % 2 else None)
    soak = soak_some(1, ("mute_state",))
    assert soak.tally.stopped == 1
    assert any("the first stop left the controller in servo mode" in text for text in soak.tally.wrong)


def record_some(kinds: tuple[str, ...]) -> RecordTally:
    running = Running()
    try:
        return soak_records("127.0.0.1", running.ports, (8, 10), kinds)
    finally:
        running.stop()


def test_episodes_that_something_breaks_are_recorded_to_their_last_period():
    tally = record_some(("emergency_stop", "lost"))
    assert tally.wrong == []
    assert 4 <= tally.played["emergency_stop"] < tally.played["lost"] == 12
    assert tally.rows == sum(tally.played.values())


def test_a_recorder_that_leaves_out_the_period_of_the_fault_is_found_out(monkeypatch):
    add = RobotRecorder.add
    monkeypatch.setattr(RobotRecorder, "add", lambda self, step: None if step.feedback.truncated else add(self, step))
    tally = record_some(("emergency_stop",))
    assert "1 failures" in report(soak_frames(1, 0), {}, tally)
    assert tally.rows == tally.played["emergency_stop"] - 1


def test_a_reassembler_that_believes_anything_is_found_out(monkeypatch):
    monkeypatch.setattr("real.fairino.state_frame.FrameStream.is_good", lambda self, frame: True)
    assert soak_frames(50, 0).wrong
    monkeypatch.undo()
    monkeypatch.setattr(FrameCutter, "_skip", lambda self, count: self._buffer.clear())
    assert soak_frames(50, 0).wrong


def test_a_stream_that_is_too_fast_is_found_out(monkeypatch):
    monkeypatch.setattr("real.emulator.speed_monitor.TOLERANCE_DEG", -0.2)
    soak = soak_some(2, ("late", "jitter"))
    assert any("faster than a policy may go" in text for text in soak.tally.wrong)


def test_a_soak_without_faults_is_refused():
    with pytest.raises(UserError, match="faults=0"):
        SoakConfig(0)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_five_thousand_faults_of_all_kinds(capfd):
    main(SoakConfig(5000))  # SystemExit when one goes wrong
    assert "0 failures" in capfd.readouterr().out
