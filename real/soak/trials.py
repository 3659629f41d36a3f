"""One trial of the soak: a swinging target, something goes wrong, and how it ended."""

import contextlib
import time
from dataclasses import dataclass, field

import numpy as np

from real.control.servo_stream import ServoStream
from real.core.clock import Ticker
from real.fairino.driver import FairinoDriver, Ports
from real.workcell.episode_setup import EmulatedBench
from sim.core.errors import UserError

RELEASES = ("3.8.2", "3.8.5", "3.9.6")  # legacy frames and 7 arguments; 8 arguments; CNDE and UDP
DEADLINE_S = 0.5
LATE_S = 0.3  # what a busy machine may add to a deadline
STILL_RAD_S, STILL_WITHIN_S = 0.01, 2.0
BEFORE_PERIODS, DURING_PERIODS = 3, 8
READY_S = 8.0
# kind -> (least and most of it, least and most s it lasts).
LASTING = {
    "late": ((0.02, 0.2), (0.2, 0.4)), "jitter": ((0.01, 0.1), (0.2, 0.4)), "lost": ((0.2, 0.9), (0.2, 0.4)),
    "torn": ((0.2, 0.9), (0.2, 0.4)), "doubled": ((0.2, 0.9), (0.2, 0.4)), "corrupt": ((0.2, 0.9), (0.2, 0.4)),
    "merged": ((0.2, 0.9), (0.2, 0.4)), "garbage": ((0.2, 0.9), (0.2, 0.4)), "mute_state": ((1, 1), (0.1, 0.8)),
    "slow_rpc": ((0.01, 0.8), (0.1, 0.6)), "dead_rpc": ((0.2, 0.9), (0.1, 0.6)),
    "garbled_rpc": ((0.2, 0.9), (0.1, 0.6)), "lost_udp": ((0.1, 0.9), (0.2, 0.4)),
    "doubled_udp": ((0.1, 0.9), (0.2, 0.4)),
    "drift": ((-20000, 20000), (0.3, 0.6)), "power_loss": ((1, 1), (0.3, 1.0)),
}  # fmt: skip
ONCE = ("emergency_stop", "safety_stop", "collision", "disable", "drop_state")
MUST_STOP = ("emergency_stop", "safety_stop", "collision", "disable", "power_loss")
UNREACHABLE = ("slow_rpc", "dead_rpc", "garbled_rpc", "power_loss")  # nobody's stop is sure to arrive while these last
COUNTED = set(LASTING) - {"mute_state", "drift", "power_loss"}  # by the emulator, one by one
MEND = ("end", "release", "safety_clear", "reset_errors")  # what a person does at the pendant


@dataclass
class SoakTally:
    """What happened on one release."""

    trials: int = 0
    faults: int = 0
    injected: dict[str, int] = field(default_factory=dict)
    stopped: int = 0  # trials in which the stream stopped by itself
    refused: int = 0  # trials in which servo mode was not even entered
    rows: int = 0
    slowest_call_s: float = 0.0
    slowest_end_s: float = 0.0
    targets: int = 0
    worst_deg_s: float = 0.0
    frames: tuple[int, int] = (0, 0)  # undamaged ones that left, ones accounted for
    wrong: list[str] = field(default_factory=list)

    def summary(self) -> str:
        return (
            f"{self.faults} faults {self.injected} in {self.trials} trials: {self.stopped} stopped by themselves, "
            f"{self.refused} refused to start; {self.rows} rows; slowest call {self.slowest_call_s:.2f} s of "
            f"{DEADLINE_S:g}, slowest end {self.slowest_end_s:.2f} s; {self.targets} ServoJ targets, fastest "
            f"{self.worst_deg_s:.0f} deg/s; {self.frames[0]} undamaged frames, {self.frames[1]} accounted for"
        )


class Soak:
    """Trials against one emulator by one driver, kind after kind."""

    def __init__(self, host: str, ports: dict[str, int], rng: np.random.Generator):
        self._rng = rng
        self._bench = EmulatedBench((host, ports["bench_port"]), 10.0)
        places = Ports.of(ports)
        self._driver = FairinoDriver(host, places, deadline_s=DEADLINE_S)
        self._stream = ServoStream(self._driver)
        self._kinds = [kind for kind in (*LASTING, *ONCE) if places.servo or not kind.endswith("_udp")]
        self.tally = SoakTally()

    @property
    def went_round(self) -> bool:
        """Whether every kind had its turn."""
        return self.tally.trials >= len(self._kinds)

    def trial(self) -> None:
        """Mend what was broken, swing, break something, stop, judge."""
        kind = self._kinds[self.tally.trials % len(self._kinds)]
        self.tally.trials += 1
        self._get_ready()
        before = self._rng.random() < 0.15
        try:
            if before:
                self._cause(kind)
            self._stream = ServoStream(self._driver)
            self._stream.start()
        except UserError as error:
            self.tally.refused += 1
            if not before:
                self._fail(kind, f"servo mode was refused without a cause: {error}")
        else:
            self._swing(BEFORE_PERIODS)
            if not before:
                self._cause(kind)
            self._swing(DURING_PERIODS)
        self._end(kind)
        self._count(kind)

    def _get_ready(self) -> None:
        for accident in MEND:
            self._bench.cause(accident)
        self._bench.prepare(self.tally.trials)  # or the arm would wander into the table
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
            self._bench.cause(kind)
            return
        (least, most), lasts = LASTING[kind]
        self._bench.cause(kind, float(self._rng.uniform(least, most)), float(self._rng.uniform(*lasts)))

    def _swing(self, periods: int) -> None:
        """A row a policy period, whatever happens: what is recorded never waits for the arm."""
        home, clock = self._stream.commanded_rad, Ticker(self._driver.robot.control_period_s)
        reach, phase = self._rng.uniform(0.02, 0.12, len(home)), self._rng.uniform(0.5, 3.0)
        for k in range(periods):
            self._stream.set_target(home + reach * np.sin(phase * k * 0.3))
            clock.wait()
            self.tally.rows += 1

    def _end(self, kind: str) -> None:
        """Stop, and look whether the arm is safe."""
        begin_s = time.monotonic()
        self._stream.stop()
        self.tally.slowest_end_s = max(self.tally.slowest_end_s, time.monotonic() - begin_s)
        stopped = self._stream.error is not None
        self.tally.stopped += stopped
        if kind in MUST_STOP and self._stream.sent and not stopped:
            self._fail(kind, "the stream went on")
        if kind not in UNREACHABLE and self._bench.ask("witness")["in_servo"]:
            self._fail(kind, "the first stop left the controller in servo mode")
        self._bench.cause("end")
        if stopped:  # a line that was dead may have swallowed the stop: then a person tries again
            with contextlib.suppress(UserError):
                self._driver.stop()
        self._look(kind)

    def _look(self, kind: str) -> None:
        ends_s = time.monotonic() + STILL_WITHIN_S
        while (seen := self._bench.ask("witness"))["speed_rad_s"] > STILL_RAD_S and time.monotonic() < ends_s:
            time.sleep(0.02)
        if seen["speed_rad_s"] > STILL_RAD_S:
            self._fail(kind, f"the arm still moves at {seen['speed_rad_s']:.2f} rad/s")
        if seen["in_servo"]:
            self._fail(kind, "the controller is still in servo mode")
        if seen["beyond"]:
            self._fail(kind, f"beyond a limit: {seen['violations']}")
        self.tally.targets, self.tally.worst_deg_s = seen["targets"], seen["worst_target_deg_s"]
        self.tally.slowest_call_s = self._driver.slowest_call_s
        if self._driver.slowest_call_s > DEADLINE_S + LATE_S:
            self._fail(kind, f"a call took {self._driver.slowest_call_s:.2f} s")

    def _count(self, kind: str) -> None:
        counted = self._bench.ask("tally")["injected"]
        single = {name: number for name, number in self.tally.injected.items() if name not in COUNTED}
        if kind not in COUNTED:
            single[kind] = single.get(kind, 0) + 1
        self.tally.injected = {**counted, **single}
        self.tally.faults = sum(self.tally.injected.values())

    def account(self) -> None:
        """Every state frame that left undamaged was taken or refused, none was lost on the way."""
        self._bench.cause("mute_state")
        time.sleep(0.2)
        states, told = self._driver.states, self._bench.ask("tally")
        taken = states.frames + states.plausibility.refused_zeros + states.plausibility.refused_jumps
        # CNDE has no checksum: a damaged frame may be taken, but no undamaged one may be missing.
        spare = told["injected"].get("corrupt", 0) if "CNDE" in states.protocol else 0
        self.tally.frames = (told["whole_frames"], taken)
        if not told["whole_frames"] <= taken <= told["whole_frames"] + spare:
            self._fail("all", f"{told['whole_frames']} undamaged frames left, {taken} arrived (spare {spare})")
        self._bench.cause("end")

    def _fail(self, kind: str, what: str) -> None:
        self.tally.wrong.append(f"trial {self.tally.trials} ({kind}): {what}; {self._stream.error}")

    def close(self) -> None:
        self._driver.close()
        self._bench.close()
