"""`python -m real.benchmark [minutes=10] [stops=200] [firmware=3.9.6] [servo=auto|rpc|udp]`: time the servo stream.

Streams ServoJ to an emulator in its own process and prints the wake-up latency of the servo thread and
the deviation of the send intervals from 8 ms, next to a reference loop that sleeps to the same deadlines in a
process of its own at the same time: the difference is due to this program, the rest to the machine. Then
the time from a due StopMotion until it is sent, for faults in the state and for halts.
"""

import contextlib
import logging
import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from real.control.servo_stream import ServoStream
from real.core.faults import RobotUnreachable
from real.core.priority import raise_priority
from real.core.rate import Rate
from real.fairino.driver import FairinoDriver
from real.fairino.ports import Ports
from real.fairino.releases import EmulatedRelease
from real.fairino.servo_link import SERVO_WAYS, ServoLink
from real.workcell.emulator_process import EmulatorProcess
from real.workcell.episode_setup import EmulatedBench
from sim.core.options import SEED, Options, above, at_least, one_of, option
from sim.core.program import run_program
from sim.robots.fairino_fr3 import SERVO_PERIOD_S

SWING_RAD, SWING_HZ = 0.15, 0.3
BEFORE_STOP_S = (0.05, 0.25)
TIMEOUT_S = 10.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BenchmarkConfig(Options):
    """Options of the program."""

    minutes: float = option(10.0, "of streaming", above(0.0))
    stops: int = option(200, "stops afterwards", at_least(0))
    firmware: str = option("3.9.6", "the release to emulate", EmulatedRelease())
    servo: str = option("auto", "how ServoJ is sent; auto: udp where the release has it", one_of(*SERVO_WAYS))
    seed: int = option(0, "of the random choices", SEED)


class SendTimes:
    """A servo link that records when each ServoJ is sent."""

    def __init__(self, link: ServoLink):
        self.link, self.name = link, link.name
        self.times_s: list[float] = []

    def begin(self, joint_deg: list[float]) -> None:
        self.link.begin(joint_deg)

    def send(self, joint_deg: list[float]) -> None:
        self.times_s.append(time.monotonic())
        self.link.send(joint_deg)

    def close(self) -> None:
        self.link.close()


def reference_loop(pipe: Connection) -> None:
    """Sleep to deadlines until a message arrives; send the lateness and time of every wake-up, s."""
    raise_priority()
    rate = Rate(SERVO_PERIOD_S)
    rate.lateness_s = []
    times_s = []
    pipe.send("ready")
    rate.reset()
    while not pipe.poll():
        rate.sleep()
        times_s.append(time.monotonic())
    pipe.send((rate.lateness_s, times_s))


@contextlib.contextmanager
def _reference(results: dict):
    """Run the reference loop during the block; `results` gets its lateness and times."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=reference_loop, args=(theirs,), daemon=True)
    process.start()
    ours.recv()
    try:
        yield
        ours.send("end")
        results["late"], results["times"] = ours.recv()
    finally:
        process.join(TIMEOUT_S)


def stream_timing(driver: FairinoDriver, minutes: float) -> tuple[ServoStream, list[float], list[float]]:
    """Swing for `minutes`; returns the stream, the lateness of every wake-up and the time of every send, s."""
    times = driver.servo_link = SendTimes(driver.servo_link)
    stream = ServoStream(driver)
    stream.rate.lateness_s = late_s = []
    stream.start()
    home = stream.commanded_rad
    rate, begin_s = Rate(driver.robot.control_period_s), time.monotonic()
    while (t := time.monotonic() - begin_s) < 60 * minutes and stream.running:
        stream.set_target(home + SWING_RAD * np.sin(2 * np.pi * SWING_HZ * t))
        rate.sleep()
    stream.stop()
    driver.servo_link = times.link
    if stream.error is not None:
        raise stream.error
    return stream, late_s, times.times_s


def stop_times(driver: FairinoDriver, bench: EmulatedBench, count: int, seed: int) -> dict[str, list[float]]:
    """Return the seconds from when a stop was due until StopMotion was sent, for faults in the state and for halts."""
    rng = np.random.default_rng(seed)
    delays: dict[str, list[float]] = {"fault in the state": [], "halt": []}
    for k in range(count):
        stream = ServoStream(driver)
        driver.settle()
        stream.start()
        start = stream.commanded_rad
        stream.set_target(start + rng.uniform(-0.03, 0.03, len(start)))
        time.sleep(rng.uniform(*BEFORE_STOP_S))
        kind = "halt" if k % 2 else "fault in the state"
        if kind == "halt":
            stream.halt("benchmark")
        else:
            bench.inject("emergency_stop")
        _wait(lambda: not stream.running)  # noqa: B023
        delays[kind].append(driver.stop_sent_s - stream.watchdog.due_s)
        if kind != "halt":
            bench.inject("release")
            bench.inject("reset_errors")
            _wait(lambda: not driver.controller_state().must_stop)
            driver.power_on()
    return delays


def _wait(condition) -> None:
    ends_s = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > ends_s:
            raise RobotUnreachable(f"the benchmark timed out after {TIMEOUT_S:g} s; is the machine too busy?")
        time.sleep(0.002)


def row(name: str, seconds: list[float] | np.ndarray) -> str:
    """Return one line: median, 99 %, 99.9 % and maximum in ms, and the number of samples."""
    if not len(seconds):  # as of stops=0
        return f"  {name:34s} none"
    ms = 1e3 * np.asarray(seconds)
    p50, p99, p999 = np.percentile(ms, [50, 99, 99.9])
    return f"  {name:34s} p50 {p50:7.3f}  p99 {p99:7.3f}  p99.9 {p999:7.3f}  max {ms.max():8.3f} ms  n {len(ms)}"


def _spread(times_s: list[float]) -> np.ndarray:
    """Return the deviation of consecutive times from one period, s."""
    return np.abs(np.diff(times_s) - SERVO_PERIOD_S)


def report(stream: ServoStream, late_s: list[float], times_s: list[float], reference: dict) -> str:
    missed, reference_missed = (int((np.asarray(late) > SERVO_PERIOD_S).sum()) for late in (late_s, reference["late"]))
    lines = [
        f"ServoJ calls {stream.sent}; deadlines missed by more than one period {missed} "
        f"(reference loop {reference_missed}); "
        f"slowest call {1e3 * stream.slowest_call_s:.2f} ms",
        row("servo thread wake-up latency", late_s),
        row("  reference loop", reference["late"]),
        row("deviation of sends from 8 ms", _spread(times_s)),
        row("  reference loop", _spread(reference["times"])),
    ]
    return "\n".join(lines)


def main(config: BenchmarkConfig) -> None:
    """Run the whole program."""
    granted = raise_priority()
    _log.info("real-time priority %s", "granted" if granted else "not granted")
    with EmulatorProcess((32, 32), firmware=config.firmware) as process:
        bench = EmulatedBench((process.host, process.ports["bench_port"]))
        with FairinoDriver(process.host, Ports.of(process.ports), servo=config.servo) as driver:
            _log.info("%s: %s", driver.firmware, driver.links)
            driver.power_on()
            reference: dict = {}
            with _reference(reference):
                timed = stream_timing(driver, config.minutes)
            _log.info("%s", report(*timed, reference))
            for kind, seconds in stop_times(driver, bench, config.stops, config.seed).items():
                _log.info("%s", row(f"StopMotion sent after {kind}", seconds))
            monitor = bench.request("monitor")
            _log.info(
                "limits exceeded: %d of %d targets %s",
                monitor["violation_count"], monitor["targets"], monitor["violations"],
            )  # fmt: skip
        bench.close()


if __name__ == "__main__":
    run_program("real_benchmark", BenchmarkConfig, main, __doc__)
