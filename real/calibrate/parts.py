"""The parts of a calibration: what each moves, looks at and finds."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from real.calibrate.delay import camera_delay, gripper_travel, tracking_delay_s
from real.calibrate.excitation import multisine
from real.calibrate.log import CycleLog, MotionRecorder, on_cycles
from real.calibrate.posterior import Estimate
from real.calibrate.sight import calibrate_cameras
from real.cameras.board import load_opencv
from real.cameras.camera import Camera, Frame
from real.control.guarded_motion import GuardedArm
from real.workcell.env import RobotEnv
from sim.robots.robot import Robot

MOTION_S = 20.0  # a log is so long: short enough that two clocks stay together
# Where the excitation swings about, beside the home pose, rad: weight pulls differently at each.
CENTRES_RAD = ((0, 0, 0, 0, 0, 0), (0.5, 0.2, -0.35, 0.3, 0.3, 0.4), (-0.4, -0.15, 0.3, -0.4, -0.3, -0.5))
SWING_JOINT, SWING_RAD, SWING_HZ, SWING_S = 0, 0.22, 0.5, 32.0
GRIPPER_WAYS, GRIPPER_WAY_S = 3, 2.5  # each is closing and opening
THINNING = 4  # every fourth pixel tells enough of a motion


@dataclass
class Findings:
    """What the parts have found so far, and where it is kept. `fit` runs when the arm is at rest."""

    out: Path
    robot: Robot
    seed: int
    motion_s: float
    say: Callable[[str], None]
    estimates: dict[str, Estimate] = field(default_factory=dict)
    metadata: dict = field(default_factory=dict)
    motions: list[CycleLog] = field(default_factory=list)

    def fit(self) -> None:
        """The dynamics of what was logged; takes minutes, the arm need not wait for it."""
        if self.motions:
            from real.calibrate.dynamics import fit_dynamics

            self.say(f"fitting {sum(len(log.command_rad) for log in self.motions)} cycles of motion")
            self.estimates |= fit_dynamics(self.motions, self.robot)


class Pictures:
    """Looks through all cameras for as long as it is open. `frames` and `ages_s` by camera."""

    def __init__(self, cameras: Mapping[str, Camera]):
        self._cameras = cameras
        self.frames: dict[str, list[Frame]] = {name: [] for name in cameras}
        self.ages_s: dict[str, list[float]] = {name: [] for name in cameras}
        self._ending = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="pictures", daemon=True)

    def __enter__(self) -> "Pictures":
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
        # A lost camera is told by the thread that moves the arm.
        except Exception as error:  # noqa: BLE001
            self._error = error

    def _take(self, name: str, frame: Frame) -> None:
        frames = self.frames[name]
        if frames and frames[-1].stamp_s == frame.stamp_s:
            return
        frames.append(Frame(frame.image[::THINNING, ::THINNING].copy(), frame.stamp_s))
        self.ages_s[name].append(time.monotonic() - frame.stamp_s)


def measure_delays(env: RobotEnv, arm: GuardedArm, findings: Findings) -> None:
    """J1 swings before the cameras."""
    home = np.array(env.robot.home_rad)
    arm.go(home)
    period_s = env.robot.control_period_s
    at_s = np.arange(1, round(SWING_S / period_s) + 1) * period_s
    targets = np.tile(home, (len(at_s), 1))
    swell = np.clip(np.minimum(at_s, SWING_S - at_s), 0.0, 1.0)
    targets[:, SWING_JOINT] += SWING_RAD * swell * np.sin(2 * np.pi * SWING_HZ * at_s)
    with Pictures(env.cameras) as pictures, MotionRecorder(env.driver) as recorder:
        arm.play(targets)
        arm.hold(0.5)
        log = recorder.log()
    log.save(findings.out / "swing.npz")
    found = findings.estimates
    findings.metadata["tracking_delay_s"] = tracking_delay_s(log, SWING_JOINT)
    rng = np.random.default_rng(findings.seed)
    before = {name: camera_delay(frames, log, SWING_JOINT, rng) for name, frames in pictures.frames.items()}
    found |= {f"{name}_delay_s": delay for name, delay in before.items()}
    ages_s = np.concatenate([pictures.ages_s[name] for name in before])
    lead = Estimate(*(float(np.mean([getattr(delay, key) for delay in before.values()])) for key in ("mean", "std")))
    found["state_lead_s"] = lead
    spread_s = float(np.hypot(lead.std, np.percentile(ages_s, 84) - np.median(ages_s)))
    found["observation_delay_s"] = Estimate(float(lead.mean + np.median(ages_s)), spread_s)
    findings.metadata["pictures"] = {name: len(frames) for name, frames in pictures.frames.items()}


def measure_gripper(env: RobotEnv, arm: GuardedArm, findings: Findings) -> None:
    """The gripper closes and opens, nothing between its fingers."""
    arm.opening = 1.0
    arm.hold(GRIPPER_WAY_S)
    with MotionRecorder(env.driver) as recorder:
        for _ in range(GRIPPER_WAYS):
            for arm.opening in (0.0, 1.0):
                arm.hold(GRIPPER_WAY_S)
        log = recorder.log()
    log.save(findings.out / "gripper.npz")
    found = gripper_travel(log)
    speed, designed = found["gripper_speed_per_s"], env.robot.gripper_speed_per_s
    found["gripper_speed"] = Estimate(speed.mean / designed, speed.std / designed)
    findings.estimates |= found


def measure_motion(env: RobotEnv, arm: GuardedArm, findings: Findings) -> None:
    """The excitation, about several poses; what it tells is fitted afterwards."""
    for number in range(max(1, round(findings.motion_s / MOTION_S))):
        centre = np.array(env.robot.home_rad) + CENTRES_RAD[number % len(CENTRES_RAD)]
        arm.go(centre)
        with MotionRecorder(env.driver) as recorder:
            arm.play(multisine(env.robot, centre, MOTION_S, findings.seed + number))
            log = recorder.log()
        log.save(findings.out / f"motion_{number}.npz")
        findings.motions.append(on_cycles(log))


def measure_cameras(env: RobotEnv, arm: GuardedArm, findings: Findings) -> None:
    """The arm looks at the board from all sides."""
    estimates, cameras = calibrate_cameras(env, arm, findings.say)
    findings.estimates |= estimates
    findings.metadata["cameras"] = cameras


def _check_sysid() -> None:
    from real.calibrate.dynamics import load_sysid

    load_sysid()


@dataclass(frozen=True)
class Part:
    """check: UserError when something it needs is not installed."""

    what: str
    measure: Callable[[RobotEnv, GuardedArm, Findings], None]
    check: Callable[[], object] = lambda: None


PARTS = {
    "delays": Part("the arm swings before the cameras", measure_delays),
    "gripper": Part("the gripper closes and opens; keep its fingers free", measure_gripper),
    "dynamics": Part("all joints swing, slow and fast", measure_motion, _check_sysid),
    "camera": Part("the arm looks at the board from all sides", measure_cameras, load_opencv),
}
