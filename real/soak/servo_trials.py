"""Trials of the servo stream: a moving target, an injected fault, and checks of the outcome."""

import contextlib
import time
from dataclasses import dataclass, field

import numpy as np

from real.control.servo_stream import ServoStream
from real.core.rate import Rate
from real.fairino.driver import FairinoDriver
from real.fairino.ports import Ports
from real.workcell.episode_setup import EmulatedBench
from sim.core.errors import UserError

RELEASES = ("3.8.2", "3.8.5", "3.9.6")  # legacy frames and 7 arguments; 8 arguments; CNDE and UDP
DEADLINE_S = 0.5
LATE_S = 0.3  # allowance for a busy machine beyond a deadline
STILL_RAD_S, STILL_WITHIN_S = 0.01, 2.0
BEFORE_PERIODS, DURING_PERIODS = 3, 8
READY_S = 8.0
# kind -> (range of its amount, range of its duration in s).
LASTING = {
    "late": ((0.02, 0.2), (0.2, 0.4)), "jitter": ((0.01, 0.1), (0.2, 0.4)), "lost": ((0.2, 0.9), (0.2, 0.4)),
    "torn": ((0.2, 0.9), (0.2, 0.4)), "doubled": ((0.2, 0.9), (0.2, 0.4)), "corrupt": ((0.2, 0.9), (0.2, 0.4)),
    "merged": ((0.2, 0.9), (0.2, 0.4)), "garbage": ((0.2, 0.9), (0.2, 0.4)), "zeros": ((0.2, 0.9), (0.2, 0.4)),
    "mute_state": ((1, 1), (0.1, 0.8)),
    "slow_rpc": ((0.01, 0.8), (0.1, 0.6)), "dead_rpc": ((0.2, 0.9), (0.1, 0.6)),
    "garbled_rpc": ((0.2, 0.9), (0.1, 0.6)), "lost_udp": ((0.1, 0.9), (0.2, 0.4)),
    "doubled_udp": ((0.1, 0.9), (0.2, 0.4)),
    "drift": ((-20000, 20000), (0.3, 0.6)), "power_loss": ((1, 1), (0.3, 1.0)),
}  # fmt: skip
ONCE = ("emergency_stop", "safety_stop", "collision", "disable", "drop_state")
MUST_STOP = ("emergency_stop", "safety_stop", "collision", "disable", "power_loss")
UNREACHABLE = ("slow_rpc", "dead_rpc", "garbled_rpc", "power_loss")  # a stop may not arrive while these last
COUNTED = set(LASTING) - {"mute_state", "drift", "power_loss"}  # individually by the emulator
RECOVER = ("end", "release", "safety_clear", "reset_errors")  # as a person does at the pendant


@dataclass
class ServoResult:
    """The outcome of the trials on one release."""

    trials: int = 0
    faults: int = 0
    injected: dict[str, int] = field(default_factory=dict)
    stopped: int = 0  # trials in which the stream stopped by itself
    refused: int = 0  # trials in which servo mode was not entered
    rows: int = 0
    slowest_call_s: float = 0.0
    slowest_end_s: float = 0.0
    targets: int = 0
    worst_deg_s: float = 0.0
    frames: tuple[int, int] = (0, 0)  # undamaged ones sent, ones accounted for
    failures: list[str] = field(default_factory=list)

    def summary(self) -> str:
        return (
            f"{self.faults} faults {self.injected} in {self.trials} trials: {self.stopped} stopped by themselves, "
            f"{self.refused} refused to start; {self.rows} rows; slowest call {self.slowest_call_s:.2f} s of "
            f"{DEADLINE_S:g}, slowest end {self.slowest_end_s:.2f} s; {self.targets} ServoJ targets, fastest "
            f"{self.worst_deg_s:.0f} deg/s; {self.frames[0]} undamaged frames, {self.frames[1]} accounted for"
        )


class ServoSoak:
    """Trials of one driver against one emulator, one fault kind after another."""

    def __init__(self, host: str, ports: dict[str, int], rng: np.random.Generator):
        self._rng = rng
        self._bench = EmulatedBench((host, ports["bench_port"]), 10.0)
        fairino_ports = Ports.of(ports)
        self._driver = FairinoDriver(host, fairino_ports, deadline_s=DEADLINE_S)
        self._stream = ServoStream(self._driver)
        self._kinds = [kind for kind in (*LASTING, *ONCE) if fairino_ports.servo or not kind.endswith("_udp")]
        self.result = ServoResult()

    @property
    def tried_every_kind(self) -> bool:
        """Whether every fault kind was tried."""
        return self.result.trials >= len(self._kinds)

    def trial(self) -> None:
        """Recover, move, inject a fault, stop and check."""
        kind = self._kinds[self.result.trials % len(self._kinds)]
        self.result.trials += 1
        self._get_ready()
        before = self._rng.random() < 0.15
        try:
            if before:
                self._cause(kind)
            self._start(time.monotonic() + (0.0 if before else READY_S))
        except UserError as error:
            self.result.refused += 1
            if not before:
                self._fail(kind, f"servo mode was refused without a fault: {error}")
        else:
            self._swing(BEFORE_PERIODS)
            if not before:
                self._cause(kind)
            self._swing(DURING_PERIODS)
        self._end(kind)
        self._count(kind)

    def _start(self, until_s: float) -> None:
        """Begin a new stream; on a busy machine a state may come too late for it: try again until then."""
        while True:
            self._stream = ServoStream(self._driver)
            try:
                self._stream.start()
                return
            except UserError:
                if time.monotonic() >= until_s:
                    raise
                time.sleep(0.05)

    def _get_ready(self) -> None:
        for step in RECOVER:
            self._bench.inject(step)
        self._bench.prepare(self.result.trials)  # otherwise the arm would drift into the table
        ends_s = time.monotonic() + READY_S
        while True:
            try:
                self._driver.power_on()
                self._driver.settle()
                self._driver.check_ready()
                return
            except UserError as error:
                if time.monotonic() > ends_s:
                    raise error
                time.sleep(0.05)

    def _cause(self, kind: str) -> None:
        if kind in ONCE:
            self._bench.inject(kind)
            return
        (least, most), lasts = LASTING[kind]
        self._bench.inject(kind, float(self._rng.uniform(least, most)), float(self._rng.uniform(*lasts)))

    def _swing(self, periods: int) -> None:
        """Record one row per policy period, whatever happens: the recording never waits for the arm."""
        home, rate = self._stream.commanded_rad, Rate(self._driver.robot.control_period_s)
        reach, phase = self._rng.uniform(0.02, 0.12, len(home)), self._rng.uniform(0.5, 3.0)
        for k in range(periods):
            self._stream.set_target(home + reach * np.sin(phase * k * 0.3))
            rate.sleep()
            self.result.rows += 1

    def _end(self, kind: str) -> None:
        """Stop, and check that the arm is safe."""
        begin_s = time.monotonic()
        self._stream.stop()
        self.result.slowest_end_s = max(self.result.slowest_end_s, time.monotonic() - begin_s)
        stopped = self._stream.error is not None
        self.result.stopped += stopped
        if kind in MUST_STOP and self._stream.sent and not stopped:
            self._fail(kind, "the stream continued")
        if kind not in UNREACHABLE and self._bench.request("monitor")["in_servo"]:
            self._fail(kind, "the first stop left the controller in servo mode")
        self._bench.inject("end")
        if stopped:  # the stop may have been lost on a dead line: a person would repeat it
            with contextlib.suppress(UserError):
                self._driver.stop()
        self._check_at_rest(kind)

    def _check_at_rest(self, kind: str) -> None:
        ends_s = time.monotonic() + STILL_WITHIN_S
        while (seen := self._bench.request("monitor"))["speed_rad_s"] > STILL_RAD_S and time.monotonic() < ends_s:
            time.sleep(0.02)
        if seen["speed_rad_s"] > STILL_RAD_S:
            self._fail(kind, f"the arm still moves at {seen['speed_rad_s']:.2f} rad/s")
        if seen["in_servo"]:
            self._fail(kind, "the controller is still in servo mode")
        if seen["violation_count"]:
            self._fail(kind, f"limits exceeded: {seen['violations']}")
        self.result.targets, self.result.worst_deg_s = seen["targets"], seen["max_target_deg_s"]
        self.result.slowest_call_s = self._driver.slowest_call_s
        if self._driver.slowest_call_s > DEADLINE_S + LATE_S:
            self._fail(kind, f"a call took {self._driver.slowest_call_s:.2f} s")

    def _count(self, kind: str) -> None:
        counted = self._bench.request("fault_counts")["injected"]
        single = {name: number for name, number in self.result.injected.items() if name not in COUNTED}
        if kind not in COUNTED:
            single[kind] = single.get(kind, 0) + 1
        self.result.injected = {**counted, **single}
        self.result.faults = sum(self.result.injected.values())

    def account(self) -> None:
        """Check that every state frame sent undamaged was accepted or rejected; none may be lost in transit."""
        self._bench.inject("mute_state")
        time.sleep(0.2)
        states, sent = self._driver.states, self._bench.request("fault_counts")
        accounted = states.frames + states.plausibility.refused_zeros + states.plausibility.refused_jumps
        # CNDE has no checksum: a damaged frame may be accepted, but no undamaged one may be missing.
        undetected = sent["injected"].get("corrupt", 0) if "CNDE" in states.protocol else 0
        self.result.frames = (sent["whole_frames"], accounted)
        if not sent["whole_frames"] <= accounted <= sent["whole_frames"] + undetected:
            self._fail(
                "all", f"{sent['whole_frames']} undamaged frames left, {accounted} arrived (undetected {undetected})"
            )
        self._bench.inject("end")

    def _fail(self, kind: str, what: str) -> None:
        self.result.failures.append(f"trial {self.result.trials} ({kind}): {what}; {self._stream.error}")

    def close(self) -> None:
        self._driver.close()
        self._bench.close()
