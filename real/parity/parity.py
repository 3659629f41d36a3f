"""`python -m real.parity data=DIR [reference=runs/demos] [episodes=4]`, or `robot=emulator|fr3` instead of data

Compare a robot with the simulator that its policy was trained in. A recording of `real.rollout`, or without
data one observation of the robot at rest, is compared with the simulator and with the demonstrations that the
policy was trained on: names, units, signs and zeros of joints and gripper, size, crop, rotation and
colour channels of images, rate and delays. Prints what is wrong and how to put it right. Nothing is moved.
"""

import dataclasses
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from real.parity import tracking
from real.parity.channel_order import channel_order
from real.parity.findings import Finding
from real.parity.lags import median_delay
from real.parity.recording import LAGS, Expected, Recording, Trajectory, read_recording, read_trajectories
from real.parity.static_checks import STATIC_CHECKS, capture, run_checks
from real.workcell.connect import RobotConnection, emulator_of_our_own, open_robot
from sim.core.console import event
from sim.core.errors import UserError
from sim.core.options import Options, at_least, block, option
from sim.dataset.reader import Dataset
from sim.robots.robot import Robot

if TYPE_CHECKING:
    from real.parity.arm_renderer import ArmRenderer

REFERENCE_TAKES = 12  # spread over the dataset
MOTION_CHECKS = (tracking.rate, tracking.actions, tracking.joint_tracking, tracking.gripper)
MARGIN_RAD = 0.1  # around where the reference's episodes begin

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ParityConfig(Options):
    """Options of the program."""

    data: str | None = option(None, "a recording of real.rollout; null: one observation of the robot at rest")
    robot: RobotConnection = block(emulator_of_our_own, "the arm and its bench")
    reference: str | None = option("runs/demos", "what the policy was trained on; null or missing: only the contract")
    episodes: int = option(4, "of the recording, the last ones", at_least(1))
    images: bool = option(True, "render the arm and compare; takes some seconds")


def expected_from_dataset(root: str, robot: Robot) -> Expected:
    """Return the reference that a dataset's episodes are. UserError when it is missing or empty."""
    dataset = Dataset(root)
    if not dataset.num_episodes:
        raise UserError(f"reference {root} has no episodes")
    spread = np.unique(np.linspace(0, dataset.num_episodes - 1, REFERENCE_TAKES).astype(int))
    return expected_from_trajectories(read_trajectories(dataset, spread.tolist()), robot, float(dataset.fps))


def expected_from_trajectories(trajectories: Sequence[Trajectory], robot: Robot, fps: float) -> Expected:
    """Return the reference that these trajectories are."""
    starts = np.array([trajectory.state[0] for trajectory in trajectories], float)
    sizes = [frames.shape[1:3] for frames in trajectories[0].images.values()]  # none: no images were recorded
    image_lags = {
        camera: _range([tracking.image_lag((trajectory,), camera) for trajectory in trajectories])
        for camera in trajectories[0].images
    }
    return dataclasses.replace(
        Expected.from_contract(robot, sizes[0] if sizes else None),
        fps=fps,
        start_low=starts.min(axis=0) - MARGIN_RAD,
        start_high=starts.max(axis=0) + MARGIN_RAD,
        lags=_range([median_delay((trajectory,), robot) for trajectory in trajectories]) or LAGS,
        image_lags={camera: lags for camera, lags in image_lags.items() if lags},
    )


def _range(values: Sequence[float]) -> tuple[float, float] | None:
    known = np.array([value for value in values if np.isfinite(value)])
    return (float(np.quantile(known, 0.1)), float(np.quantile(known, 0.9))) if len(known) else None


def compare(recording: Recording, expected: Expected, *, images: bool = True) -> list[Finding]:
    """Run all checks in order, up to the first that finds something wrong: the later ones presuppose it."""
    findings = run_checks(recording, expected, STATIC_CHECKS + (MOTION_CHECKS if recording.moves else ()))
    if any(finding.cause for finding in findings):
        return findings
    if recording.moves:
        findings += tracking.delays(recording, expected)
    return findings + (check_rendering(recording, expected) if images else [])


def check_rendering(recording: Recording, expected: Expected) -> list[Finding]:
    """Check whether the images show the arm where its joints place it, and its colours; renders with MuJoCo, some
    seconds."""
    from real.parity.arm_renderer import ArmRenderer

    height, width = recording.trajectories[0].images[recording.cameras[0]].shape[1:3]
    renderer = ArmRenderer(expected.robot, (height, width))
    try:
        return check_with_renderer(renderer, recording, expected)
    finally:
        renderer.close()


def check_with_renderer(renderer: "ArmRenderer", recording: Recording, expected: Expected) -> list[Finding]:
    """Run `check_rendering` with a renderer that the caller keeps: it caches what it has rendered."""
    from real.parity.image_alignment import AlignmentTest

    findings = []
    for camera in expected.robot.wrist_cameras[:1]:
        findings += channel_order(recording, camera.name, renderer.tool_px(camera.name))
    verdict = AlignmentTest(renderer, recording.cameras, recording.trajectories).verdict()
    name, reading = "images and joints", f"agreement {verdict.baseline:.2f}"
    if not verdict.conclusive:
        return [*findings, Finding(name, f"{reading}, inconclusive: record a motion in good light")]
    if verdict.hypothesis.cause:
        reading += f", {verdict.score:.2f} if {verdict.hypothesis.cause}"
    return [*findings, Finding(name, reading, verdict.hypothesis.cause, verdict.hypothesis.remedy)]


def report(findings: Sequence[Finding]) -> str:
    """Return two lines for a finding that is wrong, one for the others."""
    lines = []
    for finding in findings:
        mark = "WRONG" if finding.cause else "ok"
        lines.append(f"  {finding.name:20s} {mark:6s} {finding.reading}")
        if finding.cause:
            lines.append(f"  {'':20s} {'':6s} {finding.cause}; {finding.remedy}")
    return "\n".join(lines)


def parity(config: ParityConfig) -> list[Finding]:
    """Run the whole program."""
    if config.reference and Path(config.reference).is_dir():
        expected = expected_from_dataset(config.reference, config.robot.load())
    else:
        _log.info("no reference at %s: comparing with the contract alone", config.reference)
        expected = Expected.from_contract(config.robot.load())
    if config.data:
        recording = read_recording(config.data, config.episodes)
    else:
        size = expected.image_size or (96, 96)
        with open_robot(config.robot, size) as env:
            recording = capture(env)
    findings = compare(recording, expected, images=config.images)
    found = [dataclasses.asdict(finding) for finding in findings]
    _log.info("%s", report(findings), extra=event("parity", findings=found))
    return findings


def main(config: ParityConfig) -> None:
    wrong = sum(bool(finding.cause) for finding in parity(config))
    if wrong:
        _log.error("checks that failed: %d; put them right before the policy moves the arm", wrong)
        sys.exit(1)
