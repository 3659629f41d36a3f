"""The measurements that a calibration consists of: the motion of each, and what is estimated from it."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np

from real.calibrate.board_views import calibrate_cameras
from real.calibrate.delays import camera_delay, gripper_travel, tracking_delay_s
from real.calibrate.estimates import Estimate
from real.calibrate.excitation import multisine
from real.calibrate.motion_log import CycleLog, MotionRecorder, on_cycles
from real.cameras.calibration_board import load_opencv
from real.cameras.camera import Camera, Frame
from real.control.guarded_motion import GuardedArm
from real.fairino.driver import FairinoDriver
from real.workcell.env import RobotEnv
from sim.robots.robot import Robot

MOTION_S = 20.0  # length of a log: short enough that the drift between two clocks does not matter
# Centres of the excitation relative to the home pose, rad: gravity acts differently at each.
CENTRES_RAD = ((0, 0, 0, 0, 0, 0), (0.5, 0.2, -0.35, 0.3, 0.3, 0.4), (-0.4, -0.15, 0.3, -0.4, -0.3, -0.5))
SWING_JOINT, SWING_RAD, SWING_HZ, SWING_S = 0, 0.22, 0.5, 32.0
GRIPPER_CYCLES, GRIPPER_STROKE_S = 3, 2.5  # a cycle is closing and opening
DOWNSAMPLING = 4  # every fourth pixel suffices to see a motion

_log = logging.getLogger(__name__)


@dataclass
class Results:
    """The estimates so far, and the folder of the logs. `fit` runs once the arm is at rest."""

    out: Path
    robot: Robot
    seed: int
    motion_s: float
    estimates: dict[str, Estimate] = field(default_factory=dict)
    metadata: dict = field(default_factory=dict)
    motions: list[CycleLog] = field(default_factory=list)

    def fit(self) -> None:
        """Estimate the dynamics from the logged motions; takes minutes, without the arm."""
        if self.motions:
            from real.calibrate.dynamics import fit_dynamics

            _log.info("fitting %d cycles of motion", sum(len(log.command_rad) for log in self.motions))
            self.estimates |= fit_dynamics(self.motions, self.robot)


class ImageRecorder:
    """Records the frames of all cameras while its context is open. `frames` and `ages_s` by camera."""

    def __init__(self, cameras: Mapping[str, Camera]):
        self._cameras = cameras
        self.frames: dict[str, list[Frame]] = {name: [] for name in cameras}
        self.ages_s: dict[str, list[float]] = {name: [] for name in cameras}
        self._ending = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="images", daemon=True)

    def __enter__(self) -> "ImageRecorder":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ending.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._ending.wait(0.01):
                for name, camera in self._cameras.items():
                    self._take(name, camera.latest())
        # The error of a lost camera is raised in the thread that moves the arm.
        except Exception as error:  # noqa: BLE001
            self._error = error

    def _take(self, name: str, frame: Frame) -> None:
        self.ages_s[name].append(time.monotonic() - frame.stamp_s)  # also of one seen before: a policy gets it too
        frames = self.frames[name]
        if not frames or frames[-1].stamp_s != frame.stamp_s:
            frames.append(Frame(frame.image[::DOWNSAMPLING, ::DOWNSAMPLING].copy(), frame.stamp_s))


def measure_delays(env: RobotEnv, arm: GuardedArm, results: Results) -> None:
    """Swing J1 in view of the cameras."""
    home = np.array(env.robot.home_rad)
    arm.move_to(home)
    period_s = env.robot.control_period_s
    at_s = np.arange(1, round(SWING_S / period_s) + 1) * period_s
    targets = np.tile(home, (len(at_s), 1))
    swell = np.clip(np.minimum(at_s, SWING_S - at_s), 0.0, 1.0)
    targets[:, SWING_JOINT] += SWING_RAD * swell * np.sin(2 * np.pi * SWING_HZ * at_s)
    with ImageRecorder(env.cameras) as images, MotionRecorder(cast(FairinoDriver, env.driver)) as recorder:
        arm.track(targets)
        arm.hold(0.5)
        log = recorder.log()
    log.save(results.out / "swing.npz")
    found = results.estimates
    results.metadata["tracking_delay_s"] = tracking_delay_s(log, SWING_JOINT)
    rng = np.random.default_rng(results.seed)
    before = {name: camera_delay(frames, log, SWING_JOINT, rng) for name, frames in images.frames.items()}
    found |= {f"{name}_delay_s": delay for name, delay in before.items()}
    ages_s = np.concatenate([images.ages_s[name] for name in before])
    lead = Estimate(*(float(np.mean([getattr(delay, key) for delay in before.values()])) for key in ("mean", "std")))
    found["state_lead_s"] = lead
    spread_s = float(np.hypot(lead.std, np.percentile(ages_s, 84) - np.median(ages_s)))
    found["observation_delay_s"] = Estimate(float(lead.mean + np.median(ages_s)), spread_s)
    results.metadata["images"] = {name: len(frames) for name, frames in images.frames.items()}


def measure_gripper(env: RobotEnv, arm: GuardedArm, results: Results) -> None:
    """Close and open the gripper, with nothing between its fingers."""
    arm.opening = 1.0
    arm.hold(GRIPPER_STROKE_S)
    with MotionRecorder(cast(FairinoDriver, env.driver)) as recorder:
        for _ in range(GRIPPER_CYCLES):
            for arm.opening in (0.0, 1.0):
                arm.hold(GRIPPER_STROKE_S)
        log = recorder.log()
    log.save(results.out / "gripper.npz")
    found = gripper_travel(log)
    speed, designed = found["gripper_speed_per_s"], env.robot.gripper_speed_per_s
    found["gripper_speed"] = Estimate(speed.mean / designed, speed.std / designed)
    results.estimates |= found


def measure_motion(env: RobotEnv, arm: GuardedArm, results: Results) -> None:
    """Play the excitation about several poses; the dynamics are fitted afterwards."""
    for number in range(max(1, round(results.motion_s / MOTION_S))):
        centre = np.array(env.robot.home_rad) + CENTRES_RAD[number % len(CENTRES_RAD)]
        arm.move_to(centre)
        with MotionRecorder(cast(FairinoDriver, env.driver)) as recorder:
            arm.track(multisine(env.robot, centre, MOTION_S, results.seed + number))
            log = recorder.log()
        log.save(results.out / f"motion_{number}.npz")
        results.motions.append(on_cycles(log))


def measure_cameras(env: RobotEnv, arm: GuardedArm, results: Results) -> None:
    """View the board from all sides."""
    estimates, cameras = calibrate_cameras(env, arm)
    results.estimates |= estimates
    results.metadata["cameras"] = cameras


def _check_sysid() -> None:
    from real.calibrate.dynamics import load_sysid

    load_sysid()


@dataclass(frozen=True)
class Measurement:
    """check: UserError when something it needs is not installed."""

    description: str
    measure: Callable[[RobotEnv, GuardedArm, Results], None]
    check: Callable[[], object] = lambda: None


MEASUREMENTS = {
    "delays": Measurement("the arm swings in view of the cameras", measure_delays),
    "gripper": Measurement("the gripper closes and opens; keep its fingers free", measure_gripper),
    "dynamics": Measurement("all joints swing, slow and fast", measure_motion, _check_sysid),
    "camera": Measurement("the arm views the board from all sides", measure_cameras, load_opencv),
}
