"""Checks of a robot at rest, from one observation: names, size and brightness of its images, its joints.

`real.rollout` runs them before anything moves; they need neither MuJoCo nor a recording.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from real.parity.findings import Finding, Test
from real.parity.recording import ACTION, STATE, Expected, Recording, Trajectory
from real.parity.schema_checks import schema, start
from real.workcell.env import RobotEnv

FRAMES = 12  # a trajectory
DARK, BRIGHT = 12.0, 243.0  # mean levels outside which an image shows nothing
FLAT = 4.0  # levels, standard deviation


def capture(env: RobotEnv) -> Recording:
    """Return one observation of a robot at rest; nothing is moved. RobotUnreachable where it does not answer."""
    seen = env.capture()
    images = {name: image[None] for name, image in seen.images.items()}
    trajectory = Trajectory(seen.state[None], seen.state[None], images)
    names = env.robot.value_names
    return Recording(
        env.robot.name,
        Expected.from_contract(env.robot).fps,
        {STATE: names, ACTION: names},
        tuple(images),
        (trajectory,),
    )


def image_basics(recording: Recording, expected: Expected) -> Iterator[Finding]:
    """Check type, size and brightness of every camera's images."""
    for camera in recording.cameras:
        images = np.concatenate(
            [
                trajectory.images[camera][:: max(len(trajectory.state) // FRAMES, 1)]
                for trajectory in recording.trajectories
            ]
        )
        height, width = images.shape[1:3]
        mean, spread = float(images.mean()), float(images.std(axis=(1, 2)).mean())
        reading = f"{camera} {width}x{height}, mean level {mean:.0f}"
        yield Finding("images", reading, *_fault(camera, images, mean, spread, expected))


def _fault(camera: str, images: np.ndarray, mean: float, spread: float, expected: Expected) -> tuple[str, str]:
    size = images.shape[1:3]
    if images.dtype != np.uint8 or images.shape[-1] != 3:
        return f"images of camera {camera} are {images.dtype} {images.shape[1:]}", "give uint8 (H, W, 3) RGB, 0..255"
    if expected.image_size and size != expected.image_size:
        wanted = f"{expected.image_size[1]}x{expected.image_size[0]}"
        return (
            f"images of camera {camera} are {size[1]}x{size[0]}, the policy was trained with {wanted}",
            f"crop and resize them to {wanted}",
        )
    if mean < DARK or mean > BRIGHT or spread < FLAT:
        what = "black" if mean < DARK else "white" if mean > BRIGHT else "without contrast"
        return f"images of camera {camera} are {what}", "take off the cap, light the bench, set robot.exposure"
    return "", ""


# Each presupposes those before it.
STATIC_CHECKS: tuple[Test, ...] = (image_basics, start)


def run_checks(recording: Recording, expected: Expected, tests: Sequence[Test] = STATIC_CHECKS) -> list[Finding]:
    """Check the schema, then run `tests` in order, up to the first that finds something wrong: the later ones
    presuppose it."""
    findings = list(schema(recording, expected))
    if findings:
        return findings
    findings = [
        Finding(
            "schema", f"{recording.robot_type}: {', '.join(recording.names[STATE])}; {', '.join(recording.cameras)}"
        )
    ]
    if not recording.moves:
        expected = expected.at_any_pose()
    for test in tests:
        new = list(test(recording, expected))
        findings += new
        if any(finding.cause for finding in new):
            break
    return findings
