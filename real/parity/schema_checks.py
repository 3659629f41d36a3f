"""Checks of names and of the pose in which episodes begin: units, order and signs of the measured joints."""

from collections.abc import Callable, Iterator

import numpy as np

from real.parity.findings import Finding
from real.parity.recording import ACTION, STATE, Expected, Recording, joined

START_RAD = 0.15  # how far an episode may begin outside its range


def schema(recording: Recording, expected: Expected) -> Iterator[Finding]:
    """Check robot type, columns with the names and order of their values, cameras."""
    robot = expected.robot
    name = "schema"
    if recording.robot_type != robot.name:
        yield Finding(
            name, recording.robot_type, f"the recording is of a {recording.robot_type!r}, not of a {robot.name!r}",
            "record with this robot, or give a policy trained for that one",
        )  # fmt: skip
    wanted = robot.value_names
    for column in (STATE, ACTION):
        got = recording.names[column]
        if got != wanted:
            yield Finding(
                name, f"{column}: {', '.join(got)}", f"{column} holds {list(got)}, expected {list(wanted)}",
                f"reorder the values of {column}: {', '.join(wanted)}",
            )  # fmt: skip
    missing = [camera for camera in robot.camera_names if camera not in recording.cameras]
    if missing:
        yield Finding(
            name, f"cameras {', '.join(recording.cameras)}", f"there are no images of camera {', '.join(missing)}",
            f"name the device: robot.cameras.{missing[0]}=NUMBER",
        )  # fmt: skip


def start(recording: Recording, expected: Expected) -> Iterator[Finding]:
    """Check the pose in which episodes begin: it shows wrong units, order and signs of the measured joints."""
    first = np.median([trajectory.state[0] for trajectory in recording.trajectories], axis=0).astype(float)
    reading = f"{np.rad2deg(first[:-1]).round(1).tolist()} deg, gripper {first[-1]:.2f}"
    if not np.isfinite(joined(recording.trajectories, "state")).all():
        yield Finding(
            "start", reading, "a measured value is not finite", "find where it is lost between driver and recorder"
        )
    elif not first.any():
        yield Finding(
            "start", reading, "the measured state is all zeros: none was received",
            "read the joints from the state stream before the first frame is recorded",
        )  # fmt: skip
    elif _outside(first, expected) > START_RAD:
        name, remedy = _explanation(first, expected)
        yield Finding("start", reading, name, remedy)
    else:
        yield Finding("start", reading)


def _outside(first: np.ndarray, expected: Expected) -> float:
    """Return the largest distance of a value from its start range."""
    return float(np.maximum(expected.start_low - first, first - expected.start_high).max())


def _explanation(first: np.ndarray, expected: Expected) -> tuple[str, str]:
    for cause, remedy, undo in _start_hypotheses(expected):
        if _outside(undo(first.copy()), expected) <= START_RAD:
            return cause, remedy
    worst = int(np.argmax(np.maximum(expected.start_low - first, first - expected.start_high)))
    name = expected.robot.value_names[worst]
    low, high = expected.start_low[worst], expected.start_high[worst]
    return (
        f"episodes begin with {name} at {first[worst]:.2f}, outside [{low:.2f}, {high:.2f}]",
        "begin where the policy was trained to begin: home, gripper open; if the arm is there, its zeros are wrong",
    )


def _start_hypotheses(expected: Expected) -> Iterator[tuple[str, str, Callable[[np.ndarray], np.ndarray]]]:
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
    yield "the gripper is inverted: open reads closed", opening, gripper(lambda value: 1 - value)
    order = "reorder the values: j1..j6, gripper"
    yield "the gripper comes before the joints", order, lambda state: np.roll(state, -1)
    yield "the joints are in reverse order", order, lambda state: np.array([*state[-2::-1], state[-1]])
    yield (
        "the joints are in degrees and the gripper in percent",
        to_rad,
        lambda s: np.array([*np.deg2rad(s[:-1]), s[-1] / 100]),
    )
    for j, name in enumerate(expected.robot.joint_names):
        yield (
            f"joint {name} turns opposite to the simulator's",
            f"negate {name} in the driver's conversion",
            _negated(j),
        )
    for j, name in enumerate(expected.robot.joint_names):
        for offset in (90, -90, 180):
            remedy = f"subtract {offset:+d} deg from {name}, or set its zero on the controller"
            yield f"the zero of joint {name} is off by about {offset:+d} deg", remedy, _shifted(j, -np.deg2rad(offset))


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
