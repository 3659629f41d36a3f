"""`python -m real.parity data=DIR [reference=runs/demos] [takes=4]`, or `robot=emulator|fr3` instead of data

Does the robot look to its policy as the simulator did? A recording of `real.rollout.rollout`, or without
data one look at the robot as it stands, is held against the simulator and the demonstrations the
policy learned from: keys, units, senses and zeros of joints and gripper, size, crop, turn and
colours of pictures, rate and delays. What is wrong is named, with its mend. Nothing is moved.
"""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from real.parity import colour, follow, numbers
from real.parity.numbers import Finding
from real.parity.recording import LAGS, Expected, Recording, Take, read_recording, read_takes
from real.parity.still import LOOKING, held_against, look
from real.workcell.connect import RobotConnection, open_robot
from sim.core.errors import UserError
from sim.dataset.reader import Dataset
from sim.robots.robot import Robot

if TYPE_CHECKING:
    from real.parity.view import ModelView

REFERENCE_TAKES = 12  # spread over the dataset
MOVING = (follow.rate, follow.actions, follow.joints_follow, follow.gripper)
MARGIN_RAD = 0.1  # around where the reference's episodes begin


@dataclass(frozen=True)
class ParityConfig:
    """Options of the program; `conf/parity.yaml` says what null stands for."""

    data: str | None = None
    robot: RobotConnection = RobotConnection(start="always")
    reference: str | None = "runs/demos"
    takes: int = 4
    pictures: bool = True

    def __post_init__(self) -> None:
        if self.takes < 1:
            raise UserError(f"takes={self.takes}, expected at least 1")


def expected_from(root: str, robot: Robot) -> Expected:
    """What a dataset's episodes are like: the reference. UserError when it is missing or empty."""
    dataset = Dataset(root)
    if not dataset.num_episodes:
        raise UserError(f"reference {root} has no episodes")
    spread = np.unique(np.linspace(0, dataset.num_episodes - 1, REFERENCE_TAKES).astype(int))
    return expected_of(read_takes(dataset, spread.tolist()), robot, float(dataset.fps))


def expected_of(takes: Sequence[Take], robot: Robot, fps: float) -> Expected:
    """What these takes are like."""
    starts = np.array([take.state[0] for take in takes], float)
    height, width = next(iter(takes[0].images.values())).shape[1:3]
    pictures = {camera: _range([follow.picture_lag((take,), camera) for take in takes]) for camera in takes[0].images}
    return dataclasses.replace(
        Expected.by_contract(robot, (height, width)),
        fps=fps,
        start_low=starts.min(axis=0) - MARGIN_RAD,
        start_high=starts.max(axis=0) + MARGIN_RAD,
        lags=_range([numbers.median_lag((take,)) for take in takes]) or LAGS,
        picture_lags={camera: lags for camera, lags in pictures.items() if lags},
    )


def _range(values: Sequence[float]) -> tuple[float, float] | None:
    known = np.array([value for value in values if np.isfinite(value)])
    return (float(np.quantile(known, 0.1)), float(np.quantile(known, 0.9))) if len(known) else None


def compare(recording: Recording, expected: Expected, *, pictures: bool = True) -> list[Finding]:
    """Everything that is looked at, in order; after something wrong, what rests on it is left out."""
    findings = held_against(recording, expected, LOOKING + (MOVING if recording.moves else ()))
    if any(finding.cause for finding in findings):
        return findings
    if recording.moves:
        findings += follow.delays(recording, expected)
    return findings + (drawn(recording, expected) if pictures else [])


def drawn(recording: Recording, expected: Expected) -> list[Finding]:
    """Whether the pictures show the arm where its joints say it is, in its colours; draws with MuJoCo, some seconds."""
    from real.parity.view import ModelView

    height, width = recording.takes[0].images[recording.cameras[0]].shape[1:3]
    view = ModelView(expected.robot, (height, width))
    try:
        return drawn_by(view, recording, expected)
    finally:
        view.close()


def drawn_by(view: "ModelView", recording: Recording, expected: Expected) -> list[Finding]:
    """`drawn` by a view that is there: what it has drawn once it does not draw again."""
    from real.parity.pictures import PictureTest

    findings = list(colour.colours(recording, expected, view.tool_px("wrist")))
    verdict = PictureTest(view, recording.cameras, recording.takes).verdict()
    name, reading = "pictures and joints", f"they agree to {verdict.upright:.2f}"
    if not verdict.telling:
        return [*findings, Finding(name, f"{reading}, too little to tell: let the arm move in good light")]
    if verdict.guess.cause:
        reading += f", to {verdict.score:.2f} if {verdict.guess.cause}"
    return [*findings, Finding(name, reading, verdict.guess.cause, verdict.guess.mend)]


def report(findings: Sequence[Finding]) -> str:
    """Two lines a finding that is wrong, one for the others."""
    lines = []
    for finding in findings:
        mark = "WRONG" if finding.cause else "ok"
        lines.append(f"  {finding.name:20s} {mark:6s} {finding.reading}")
        if finding.cause:
            lines.append(f"  {'':20s} {'':6s} {finding.cause}; {finding.mend}")
    return "\n".join(lines)


def parity(config: ParityConfig, say: Callable[[str], None] = print) -> list[Finding]:
    """The whole program."""
    if config.reference and Path(config.reference).is_dir():
        expected = expected_from(config.reference, config.robot.load())
    else:
        say(f"no reference at {config.reference}: only the contract is compared with")
        expected = Expected.by_contract(config.robot.load())
    if config.data:
        recording = read_recording(config.data, config.takes)
    else:
        size = expected.image_size or (96, 96)
        with open_robot(config.robot, size, say) as env:
            recording = look(env)
    findings = compare(recording, expected, pictures=config.pictures)
    say(report(findings))
    return findings


def main(config: ParityConfig) -> None:
    wrong = sum(bool(finding.cause) for finding in parity(config))
    if wrong:
        print(f"{wrong} of what was looked at is wrong; mend it before the policy moves the arm", file=sys.stderr)
        sys.exit(1)
