"""Are joints, gripper, rate and delays what the simulator's are? Numbers only, no picture is looked at.

Measured joints must follow the commanded ones: the slope between the two tells senses and units,
what is left at rest tells zeros, the lag tells delays. Where both are wrong alike, the pose in
which an episode begins tells.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from real.parity.recording import ACTION, STATE, Expected, Recording, Take, joined

LAGS = np.arange(-2, 9)  # policy periods that are tried
MOVED = 0.03  # of a command, rad or openings, before it is said to have moved: its standard deviation
SLOPE = (0.7, 1.3)  # measured per commanded that counts as 1
OFFSET_RAD = np.deg2rad(2.0)
STILL_RAD = np.deg2rad(0.5)  # a command that moves less in REST frames is at rest
REST = 8  # frames
LATE_PERIODS = 0.75  # beyond what is expected
FASTER = 1.25  # than the policy's speed limit
SAME_SHARE = 0.3  # of moving frames that repeat the one before
START_RAD = 0.15  # how far an episode may begin outside its range
OPEN_READS = 0.9


@dataclass(frozen=True)
class Finding:
    """One thing looked at. cause: what is wrong, empty where nothing is; mend: what to do about it."""

    name: str
    reading: str
    cause: str = ""
    mend: str = ""


Test = Callable[[Recording, Expected], Iterator[Finding]]


def keys(recording: Recording, expected: Expected) -> Iterator[Finding]:
    """Robot, columns, their order and number, cameras."""
    robot = expected.robot
    name = "keys"
    if recording.robot_type != robot.name:
        yield Finding(
            name, recording.robot_type, f"the recording is of a {recording.robot_type!r}, not of a {robot.name!r}",
            "record with this robot, or give a policy trained for that one",
        )  # fmt: skip
    wanted = (*robot.joint_names, "gripper")
    for column in (STATE, ACTION):
        got = recording.names[column]
        if got != wanted:
            yield Finding(
                name, f"{column}: {', '.join(got)}", f"{column} holds {list(got)}, expected {list(wanted)}",
                f"bring the values of {column} into the order {', '.join(wanted)}",
            )  # fmt: skip
    missing = [camera for camera in robot.camera_names if camera not in recording.cameras]
    if missing:
        yield Finding(
            name, f"cameras {', '.join(recording.cameras)}", f"there are no pictures of camera {', '.join(missing)}",
            f"name the device: robot.cameras.{missing[0]}=NUMBER",
        )  # fmt: skip


def start(recording: Recording, expected: Expected) -> Iterator[Finding]:
    """The pose in which episodes begin: names units, order and senses that are wrong in the measured joints."""
    first = np.median([take.state[0] for take in recording.takes], axis=0).astype(float)
    reading = f"{np.rad2deg(first[:-1]).round(1).tolist()} deg, gripper {first[-1]:.2f}"
    if not np.isfinite(joined(recording.takes, "state")).all():
        yield Finding(
            "start", reading, "a measured value is not finite", "find where it is lost between driver and recorder"
        )
    elif not first.any():
        yield Finding(
            "start", reading, "the measured state is all zeros: it is not sent",
            "read the joints from the state stream before the first frame is recorded",
        )  # fmt: skip
    elif _away(first, expected) > START_RAD:
        name, mend = _explained(first, expected)
        yield Finding("start", reading, name, mend)
    else:
        yield Finding("start", reading)


def _away(first: np.ndarray, expected: Expected) -> float:
    """How far outside the start range it lies, the worst value."""
    return float(np.maximum(expected.start_low - first, first - expected.start_high).max())


def _explained(first: np.ndarray, expected: Expected) -> tuple[str, str]:
    for cause, mend, undo in _start_guesses(expected):
        if _away(undo(first.copy()), expected) <= START_RAD:
            return cause, mend
    worst = int(np.argmax(np.maximum(expected.start_low - first, first - expected.start_high)))
    name = (*expected.robot.joint_names, "gripper")[worst]
    low, high = expected.start_low[worst], expected.start_high[worst]
    return (
        f"episodes begin with {name} at {first[worst]:.2f}, outside [{low:.2f}, {high:.2f}]",
        "begin where the policy learned to begin: home, gripper open; if the arm does stand there, its zeros are wrong",
    )


def _start_guesses(expected: Expected) -> Iterator[tuple[str, str, Callable[[np.ndarray], np.ndarray]]]:
    stroke_m = expected.robot.gripper_stroke_m
    to_rad = "convert to radians where the state is read (real.fairino.driver does)"
    opening = "give the gripper as opening, 0 closed to 1 open"

    def joints(factor: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda state: np.array([*(state[:-1] * factor), state[-1]])

    def gripper(change: Callable[[float], float]) -> Callable[[np.ndarray], np.ndarray]:
        return lambda state: np.array([*state[:-1], change(state[-1])])

    yield "the measured joints are in degrees, not radians", to_rad, joints(np.pi / 180)
    yield "the measured joints are converted to radians twice", to_rad, joints(180 / np.pi)
    yield "the measured gripper is in percent, not 0..1", opening, gripper(lambda value: value / 100)
    yield "the measured gripper is in steps of 0..255, not 0..1", opening, gripper(lambda value: value / 255)
    yield "the measured gripper is in metres, not 0..1", opening, gripper(lambda value: value / stroke_m)
    yield "the gripper's sense is wrong: open reads closed", opening, gripper(lambda value: 1 - value)
    order = "bring the values into the order j1..j6, gripper"
    yield "the gripper stands before the joints", order, lambda state: np.roll(state, -1)
    yield "the joints stand in reverse order", order, lambda state: np.array([*state[-2::-1], state[-1]])
    yield (
        "the joints are in degrees and the gripper in percent",
        to_rad,
        lambda s: np.array([*np.deg2rad(s[:-1]), s[-1] / 100]),
    )
    for j, name in enumerate(expected.robot.joint_names):
        yield (
            f"joint {name} turns the other way than the simulator's",
            f"negate {name} in the driver's conversion",
            _negated(j),
        )
    for j, name in enumerate(expected.robot.joint_names):
        for turn in (90, -90, 180):
            mend = f"take {turn:+d} deg off {name}, or set its zero on the controller"
            yield f"the zero of joint {name} is off by about {turn:+d} deg", mend, _shifted(j, -np.deg2rad(turn))


def _negated(joint: int) -> Callable[[np.ndarray], np.ndarray]:
    def undo(state: np.ndarray) -> np.ndarray:
        state[joint] *= -1
        return state

    return undo


def _shifted(joint: int, by_rad: float) -> Callable[[np.ndarray], np.ndarray]:
    def undo(state: np.ndarray) -> np.ndarray:
        state[joint] += by_rad
        return state

    return undo


def lag_periods(take_state: np.ndarray, take_action: np.ndarray) -> float:
    """How many frames the measured joints (T, J) come after the commanded ones, by correlation of their
    speeds, a parabola through the best; nan where nothing moves."""
    state, action = np.diff(take_state, axis=0), np.diff(take_action, axis=0)
    if len(action) < 2 * len(LAGS) or np.abs(action).sum() == 0 or np.abs(state).sum() == 0:
        return np.nan
    scores = np.array([_agreement(state, action, int(lag)) for lag in LAGS])
    best = int(np.argmax(scores))
    if not 0 < best < len(LAGS) - 1:
        return float(LAGS[best])
    left, top, right = scores[best - 1 : best + 2]
    bend = left - 2 * top + right
    return float(LAGS[best] + (0.5 * (left - right) / bend if bend < 0 else 0.0))


def _agreement(state: np.ndarray, action: np.ndarray, lag: int) -> float:
    """Of the speeds' sizes, so that a wrong sense or unit of a joint does not hide the lag."""
    late, early = shifted(state, action, lag)
    late, early = np.abs(late), np.abs(early)
    norm = np.linalg.norm(late, axis=0) * np.linalg.norm(early, axis=0)
    products = (late * early).sum(axis=0)
    return float(np.sum(products[norm > 0] / norm[norm > 0]))


def shifted(state: np.ndarray, action: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows: the state `lag` frames after each action."""
    end = min(len(state), len(action))
    if lag >= 0:
        return state[lag:end], action[: end - lag]
    return state[: end + lag], action[-lag:end]


def median_lag(takes: tuple[Take, ...]) -> float:
    """Over the takes; nan where nothing moves in any."""
    lags = [lag_periods(take.state[:, :-1].astype(float), take.action[:, :-1].astype(float)) for take in takes]
    lags = [lag for lag in lags if np.isfinite(lag)]
    return float(np.median(lags)) if lags else np.nan
