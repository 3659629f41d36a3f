"""What tells a wrong robot while it still stands: one look, its keys, the size and light of its pictures, its joints.

`real.rollout.rollout` asks this before anything moves; it needs neither MuJoCo nor a recording.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from real.parity import numbers
from real.parity.numbers import Finding, Test
from real.parity.recording import ACTION, STATE, Expected, Recording, Take
from real.workcell.env import RobotEnv

FRAMES = 12  # a take
DARK, BRIGHT = 12.0, 243.0  # mean levels between which a picture shows something
FLAT = 4.0  # levels, standard deviation


def look(env: RobotEnv) -> Recording:
    """One look at a robot that stands still; nothing is moved. RobotSilent where it does not answer."""
    seen = env.look()
    images = {name: image[None] for name, image in seen.images.items()}
    take = Take(seen.state[None], seen.state[None], images)
    names = (*env.robot.joint_names, "gripper")
    return Recording(
        env.robot.name, Expected.by_contract(env.robot).fps, {STATE: names, ACTION: names}, tuple(images), (take,)
    )


def picture_basics(recording: Recording, expected: Expected) -> Iterator[Finding]:
    """Type, size and light of every camera's pictures."""
    for camera in recording.cameras:
        images = np.concatenate([take.images[camera][:: max(len(take.state) // FRAMES, 1)] for take in recording.takes])
        height, width = images.shape[1:3]
        mean, spread = float(images.mean()), float(images.std(axis=(1, 2)).mean())
        reading = f"{camera} {width}x{height}, mean level {mean:.0f}"
        yield Finding("pictures", reading, *_fault(camera, images, mean, spread, expected))


def _fault(camera: str, images: np.ndarray, mean: float, spread: float, expected: Expected) -> tuple[str, str]:
    size = images.shape[1:3]
    if images.dtype != np.uint8 or images.shape[-1] != 3:
        return f"pictures of camera {camera} are {images.dtype} {images.shape[1:]}", "give uint8 (H, W, 3) RGB, 0..255"
    if expected.image_size and size != expected.image_size:
        wanted = f"{expected.image_size[1]}x{expected.image_size[0]}"
        return (
            f"pictures of camera {camera} are {size[1]}x{size[0]}, the policy learned {wanted}",
            f"crop and resize them to {wanted}",
        )
    if mean < DARK or mean > BRIGHT or spread < FLAT:
        what = "black" if mean < DARK else "white" if mean > BRIGHT else "without contrast"
        return f"pictures of camera {camera} are {what}", "take off the cap, light the bench, set robot.exposure"
    return "", ""


# Each rests on those before it.
LOOKING: tuple[Test, ...] = (picture_basics, numbers.start)


def held_against(recording: Recording, expected: Expected, tests: Sequence[Test] = LOOKING) -> list[Finding]:
    """The keys, then `tests` in order; after something wrong, what rests on it is left out."""
    findings = list(numbers.keys(recording, expected))
    if findings:
        return findings
    findings = [
        Finding("keys", f"{recording.robot_type}: {', '.join(recording.names[STATE])}; {', '.join(recording.cameras)}")
    ]
    if not recording.moves:
        expected = expected.anywhere()
    for test in tests:
        new = list(test(recording, expected))
        findings += new
        if any(finding.cause for finding in new):
            break
    return findings
