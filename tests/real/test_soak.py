"""The soak: a few trials over sockets, the whole in the slow tests, and proof that its checks can fail."""

import faulthandler

import numpy as np
import pytest
from running import Running

from real.fairino.driver import FairinoDriver
from real.fairino.framing import FrameCutter
from real.soak.frame_reassembly import soak_reassembly
from real.soak.recorded_episodes import RecordingResult, soak_recordings
from real.soak.servo_trials import LASTING, ServoSoak
from real.soak.soak import SoakConfig, main, report
from real.workcell.episode_setup import EmulatedBench
from real.workcell.recording import RobotRecorder
from sim.core.config import load
from sim.core.errors import UserError


@pytest.fixture(autouse=True)
def short_limits(monkeypatch):
    """The limits of real use, under which any trial may stop; calls may be late on a busy machine."""
    for limit in ("fairino.driver.MAX_STATE_AGE_S", "control.watchdog.MAX_BEAT_AGE_S", "fairino.servo_link.COUNTED_S"):
        monkeypatch.setattr(f"real.{limit}", 0.25)
    monkeypatch.setattr("real.soak.servo_trials.LATE_S", 5.0)


def soak_some(trials: int, kinds: tuple[str, ...] = ()) -> ServoSoak:
    running = Running()
    soak = ServoSoak("127.0.0.1", running.ports, np.random.default_rng(5))
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


def test_a_hundred_faults_into_the_frame_parsers():
    result = soak_reassembly(100, 0)
    assert sum(result.injected.values()) >= 100
    assert set(result.injected) == {"lost", "torn", "doubled", "corrupt", "merged", "garbage"}
    assert not result.failures


def test_trials_of_several_faults_over_sockets():
    kinds = ("torn", "corrupt", "dead_rpc", "lost_udp", "emergency_stop", "power_loss", "drop_state")
    soak = soak_some(len(kinds), kinds)
    assert soak.result.failures == []
    assert set(soak.result.injected) >= {"emergency_stop", "power_loss", "drop_state"}
    assert soak.result.faults >= 10
    assert "accounted for" in soak.result.summary()


def test_a_driver_that_does_not_stop_fails(monkeypatch):
    monkeypatch.setattr(FairinoDriver, "stop", lambda self: None)
    soak = soak_some(1, ("drift",))
    assert any("still in servo mode" in text for text in soak.result.failures)
    assert "2 failures" in report(soak_reassembly(1, 0), {"3.9.6": soak.result}, RecordingResult())


def test_a_stop_that_works_only_when_repeated_fails(monkeypatch):
    """A person who repeats it makes the arm safe in the end; the program's own stop failed."""
    monkeypatch.setitem(LASTING, "mute_state", ((1, 1), (60, 60)))  # until the trial ends it
    injected, inject, stop = [""], EmulatedBench.inject, FairinoDriver.stop
    monkeypatch.setattr(
        EmulatedBench, "inject", lambda self, what, *rest: (injected.append(what), inject(self, what, *rest))[1]
    )
    monkeypatch.setattr(
        FairinoDriver, "stop", lambda self: stop(self) if injected[-1] != "mute_state" else None
    )  # the first one comes while the state is mute
    soak = soak_some(1, ("mute_state",))
    assert soak.result.stopped == 1
    assert any("the first stop left the controller in servo mode" in text for text in soak.result.failures)


def record_some(kinds: tuple[str, ...]) -> RecordingResult:
    running = Running()
    try:
        return soak_recordings("127.0.0.1", running.ports, (8, 10), kinds)
    finally:
        running.stop()


def test_interrupted_episodes_are_recorded_to_their_last_period(monkeypatch):
    for limit in ("fairino.driver.MAX_STATE_AGE_S", "control.watchdog.MAX_BEAT_AGE_S", "fairino.servo_link.COUNTED_S"):
        monkeypatch.setattr(f"real.{limit}", 2.0)  # a busy machine ends no episode
    result = record_some(("emergency_stop", "lost"))
    assert result.failures == []
    assert 4 <= result.played["emergency_stop"] < result.played["lost"] == 12
    assert result.rows == sum(result.played.values())


def test_a_recorder_that_omits_the_period_of_the_fault_fails(monkeypatch):
    add = RobotRecorder.add
    monkeypatch.setattr(RobotRecorder, "add", lambda self, step: None if step.feedback.truncated else add(self, step))
    result = record_some(("emergency_stop",))
    assert "1 failures" in report(soak_reassembly(1, 0), {}, result)
    assert result.rows == result.played["emergency_stop"] - 1


def test_a_parser_that_accepts_anything_fails(monkeypatch):
    monkeypatch.setattr("real.fairino.state_frame.FrameStream.is_good", lambda self, frame: True)
    assert soak_reassembly(50, 0).failures
    monkeypatch.undo()
    monkeypatch.setattr(FrameCutter, "_skip", lambda self, count: self._buffer.clear())
    assert soak_reassembly(50, 0).failures


def test_a_stream_that_is_too_fast_fails(monkeypatch):
    monkeypatch.setattr("real.emulator.limit_monitor.TOLERANCE_DEG", -0.2)
    soak = soak_some(2, ("late", "jitter"))
    assert any("faster than a policy is allowed" in text for text in soak.result.failures)


def test_a_soak_without_faults_is_refused():
    with pytest.raises(UserError, match="faults=0"):
        load("soak", SoakConfig, ["faults=0"])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_five_thousand_faults_of_all_kinds(capfd):
    main(SoakConfig(5000))  # SystemExit when a check fails
    assert "0 failures" in capfd.readouterr().out
