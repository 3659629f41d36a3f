"""Episodes with an injected fault, played and recorded as in a rollout: every period played must be in the dataset."""

import dataclasses
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from real.cameras.camera import EmulatorCamera
from real.core.shutdown import ShutdownRequest
from real.fairino.driver import FairinoDriver
from real.fairino.ports import Ports
from real.soak.servo_trials import DEADLINE_S, ONCE, READY_S, RECOVER
from real.workcell.env import RobotEnv
from real.workcell.episode_runner import EpisodeRunner
from real.workcell.episode_setup import EmulatedBench
from real.workcell.recording import robot_features
from sim.core.contract import Feedback, Observation
from sim.core.errors import UserError
from sim.dataset.reader import Dataset, DatasetWriter
from sim.robots.fairino_fr3 import fairino_fr3
from sim.teleop.page import LivePage

RELEASE = "3.9.6"  # older ones do not move the gripper in servo mode, and an episode moves it
KINDS = (*ONCE, "mute_state", "dead_rpc", "power_loss", "lost", "lost_udp")
BEFORE_PERIODS, PERIODS = 3, 12


@dataclass
class RecordingResult:
    """The periods played and the rows recorded."""

    played: dict[str, int] = field(default_factory=dict)  # periods, by injected fault
    rows: int = 0
    failures: list[str] = field(default_factory=list)

    def summary(self) -> str:
        return f"{len(self.played)} episodes: {sum(self.played.values())} periods played, {self.rows} recorded"


class _FaultyEnv(RobotEnv):
    """Counts the periods played, injects a fault after BEFORE_PERIODS of them and ends after PERIODS."""

    played = 0
    inject_fault: Callable[[], None]

    def apply(self, action: np.ndarray) -> Feedback:
        if self.played == BEFORE_PERIODS:
            self.inject_fault()
        self.played += 1
        feedback = super().apply(action)
        return dataclasses.replace(feedback, truncated=True) if self.played == PERIODS else feedback


class _SwayAgent:
    """An agent that moves J1 slightly back and forth."""

    def reset(self, observation: Observation, seed: int) -> None:
        self._start, self._step = observation.state, 0

    def act(self, observation: Observation) -> np.ndarray:
        self._step += 1
        return self._start + np.float32(0.02 * np.sin(0.5 * self._step)) * np.eye(len(self._start), dtype=np.float32)[0]

    def flags(self) -> dict[str, bool]:
        return {}


def soak_recordings(
    host: str, ports: dict[str, int], image_size: tuple[int, int], kinds: tuple[str, ...] = KINDS
) -> RecordingResult:
    """Play one episode for every fault kind on one emulator with images of image_size (height, width)."""
    result = RecordingResult()
    with tempfile.TemporaryDirectory() as out:
        robot = fairino_fr3()
        schema = robot_features(robot, image_size)
        with DatasetWriter(out, schema, robot.control_hz, robot.name, {}) as writer, LivePage(0) as page:
            for seed, kind in enumerate(kinds):
                result.played[kind] = _play(host, ports, kind, seed, writer, page)
        data = Dataset(out)
        rows = [len(data.columns(number)["action"]) for number in range(data.num_episodes)]
    result.rows = sum(rows)
    if rows != list(result.played.values()):
        result.failures.append(f"periods played: {result.played}, recorded: {rows}")
    return result


def _play(host: str, ports: dict[str, int], kind: str, seed: int, writer: DatasetWriter, page: LivePage) -> int:
    """Play one episode; returns the number of periods played."""
    bench = EmulatedBench((host, ports["bench_port"]), 10.0)
    for step in RECOVER:
        bench.inject(step)
    cameras = {name: EmulatorCamera(name, (host, ports["camera_port"])) for name in fairino_fr3().camera_names}
    env = _FaultyEnv(_ready(host, ports), cameras, bench)
    with env:
        env.inject_fault = lambda: bench.inject(kind)
        EpisodeRunner(env, _SwayAgent(), page, ShutdownRequest(), None).run(seed, writer)  # powered on already
        bench.inject("end")  # before the driver is closed
        return env.played


def _ready(host: str, ports: dict[str, int]) -> FairinoDriver:
    """Return a new driver, as every rollout has; the controller may still be recovering from the last fault."""
    ends_s = time.monotonic() + READY_S
    while True:
        driver = None
        try:
            driver = FairinoDriver(host, Ports.of(ports), deadline_s=DEADLINE_S)
            driver.power_on()
            driver.gripper.activate()
        except UserError:
            if driver is not None:
                driver.close()
            if time.monotonic() > ends_s:
                raise
            time.sleep(0.05)
        else:
            return driver
