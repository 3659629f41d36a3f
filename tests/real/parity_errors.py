"""Errors made in a correct recording, and the cause that the parity test must report for each."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from real.parity.recording import ACTION, STATE, Recording, Trajectory

NAMES = tuple(f"{name}.pos" for name in ("j1", "j2", "j3", "j4", "j5", "j6", "gripper"))
DEG = 180 / np.pi


@dataclass(frozen=True)
class RecordingError:
    """reported: a part of the cause that must be reported. needs_rendering: images and joints together show it."""

    name: str
    reported: str
    change: Callable[[Recording], Recording]
    needs_rendering: bool = False


def on_trajectories(change: Callable[[Trajectory], Trajectory]) -> Callable[[Recording], Recording]:
    return lambda recording: dataclasses.replace(
        recording, trajectories=tuple(change(trajectory) for trajectory in recording.trajectories)
    )


def on(column: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Recording], Recording]:
    """change: (T, D) -> (T, D) of "state", "action" or "both"."""
    names = ("state", "action") if column == "both" else (column,)
    return on_trajectories(
        lambda trajectory: dataclasses.replace(
            trajectory, **{name: change(getattr(trajectory, name).astype(float)) for name in names}
        )
    )


def value(j: int, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    def changed(rows: np.ndarray) -> np.ndarray:
        rows = rows.copy()
        rows[:, j] = change(rows[:, j])
        return rows

    return changed


def joints(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda rows: np.column_stack([rows[:, :-1] * factor, rows[:, -1]])


def columns(*order: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda rows: rows[:, list(order)]


def images(camera: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Recording], Recording]:
    """change: one image -> one image."""

    def changed(trajectory: Trajectory) -> Trajectory:
        images = {**trajectory.images, camera: np.stack([change(image) for image in trajectory.images[camera]])}
        return dataclasses.replace(trajectory, images=images)

    return on_trajectories(changed)


def every_camera(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Recording], Recording]:
    return lambda recording: images("wrist", change)(images("front", change)(recording))


def frames(
    trajectory: Trajectory, chosen: np.ndarray, *, of: tuple[str, ...] = ("state", "action", "images")
) -> Trajectory:
    """The trajectory with other frames of the named parts; all parts cut to the same length."""

    def pick(name: str, rows: np.ndarray) -> np.ndarray:
        return rows[chosen] if name in of else rows[: len(chosen)]

    images = {camera: pick("images", rows) for camera, rows in trajectory.images.items()}
    return Trajectory(
        pick("state", trajectory.state), pick("action", trajectory.action), images, trajectory.instruction
    )


def late(part: str, by: int) -> Callable[[Recording], Recording]:
    """`part` comes `by` frames later than it did."""
    return on_trajectories(
        lambda trajectory: frames(trajectory, np.maximum(np.arange(len(trajectory.state)) - by, 0), of=(part,))
    )


def held(part: str, times: int) -> Callable[[Recording], Recording]:
    """`part` is updated only every `times` frames."""
    return on_trajectories(
        lambda trajectory: frames(trajectory, np.arange(len(trajectory.state)) // times * times, of=(part,))
    )


def resized(box: tuple[float, float, float, float]) -> Callable[[np.ndarray], np.ndarray]:
    """The part left, top, right, bottom (of 0..1; beyond: black) of each image, scaled to the size of the whole."""

    def change(image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        corners = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
        part = Image.fromarray(image).transform(
            (width, height), Image.Transform.EXTENT, corners, Image.Resampling.BILINEAR
        )
        return np.asarray(part)

    return change


def exchanged_cameras(trajectory: Trajectory) -> Trajectory:
    return dataclasses.replace(
        trajectory, images={"front": trajectory.images["wrist"], "wrist": trajectory.images["front"]}
    )


def differences(trajectory: Trajectory) -> Trajectory:
    action = trajectory.action.astype(float)
    action[:, :-1] -= trajectory.state[:, :-1]
    return dataclasses.replace(trajectory, action=action)


def renamed(column: str, names: tuple[str, ...]) -> Callable[[Recording], Recording]:
    return lambda recording: dataclasses.replace(recording, names={**recording.names, column: names})


def without(camera: str) -> Callable[[Recording], Recording]:
    def change(recording: Recording) -> Recording:
        trajectories = [
            dataclasses.replace(t, images={c: i for c, i in t.images.items() if c != camera})
            for t in recording.trajectories
        ]
        left = tuple(c for c in recording.cameras if c != camera)
        return dataclasses.replace(recording, cameras=left, trajectories=tuple(trajectories))

    return change


ERRORS = (
    # schema
    RecordingError("another robot", "not of a 'fairino_fr3'", lambda r: dataclasses.replace(r, robot_type="so101")),
    RecordingError("six values of state", "observation.state holds", renamed(STATE, NAMES[:-1])),
    RecordingError("gripper named first", "action holds", renamed(ACTION, (NAMES[-1], *NAMES[:-1]))),
    RecordingError("no wrist camera", "no images of camera wrist", without("wrist")),
    # state
    RecordingError("state not sent", "all zeros", on("state", lambda rows: rows * 0)),
    RecordingError("state not finite", "not finite", on("state", value(2, lambda x: x * np.nan))),
    RecordingError("state frozen", "or frozen", on("state", lambda rows: np.repeat(rows[:1], len(rows), 0))),
    RecordingError("state is the command", "state and action are equal", on_trajectories(lambda t: dataclasses.replace(t, state=t.action))),
    RecordingError("degrees measured", "measured joints are in degrees", on("state", joints(DEG))),
    RecordingError("degrees everywhere", "measured joints are in degrees", on("both", joints(DEG))),
    RecordingError("radians twice", "converted to radians twice", on("state", joints(1 / DEG))),
    RecordingError("gripper first in state", "gripper comes before", on("state", columns(6, 0, 1, 2, 3, 4, 5))),
    RecordingError("joints reversed", "reverse order", on("both", columns(5, 4, 3, 2, 1, 0, 6))),
    RecordingError("j2 and j4 exchanged in action", "command moves j4", on("action", columns(0, 3, 2, 1, 4, 5, 6))),
    RecordingError("j3 negated, measured", "j3 turns opposite", on("state", value(2, np.negative))),
    RecordingError("j2 negated, commanded", "j2 is measured with the opposite sign", on("action", value(1, np.negative))),
    RecordingError("j1 negated, both", "j1 turns opposite", on("both", value(0, np.negative)), needs_rendering=True),
    RecordingError("j6 negated, both", "j6 turns opposite", on("both", value(5, np.negative)), needs_rendering=True),
    RecordingError("j4 zero off by 90, measured", "zero of joint j4 is off by about +90", on("both", value(3, lambda x: x + np.pi / 2))),
    RecordingError("j5 zero off by 5, measured", "j5 is measured", on("state", value(4, lambda x: x + 5 / DEG))),
    RecordingError("j2 zero off by 10, both", "zero of joint j2 is off", on("both", value(1, lambda x: x + 10 / DEG)), needs_rendering=True),
    RecordingError("j3 zero off by -10, both", "zero of joint j3 is off", on("both", value(2, lambda x: x - 10 / DEG)), needs_rendering=True),
    # gripper
    RecordingError("gripper inverted, both", "open reads closed", on("both", value(6, lambda x: 1 - x))),
    RecordingError("gripper inverted, commanded", "gripper is inverted", on("action", value(6, lambda x: 1 - x))),
    RecordingError("gripper in percent, both", "gripper is in percent", on("both", value(6, lambda x: 100 * x))),
    RecordingError("gripper in percent, commanded", "commanded gripper is in percent", on("action", value(6, lambda x: 100 * x))),
    RecordingError("gripper 0..255, commanded", "0..255", on("action", value(6, lambda x: 255 * x))),
    RecordingError("gripper in metres", "gripper is in metres", on("state", value(6, lambda x: 0.08 * x))),
    RecordingError("gripper stroke", "commanded open is measured", on("state", value(6, lambda x: 0.8 * x))),
    RecordingError("gripper stuck", "gripper was commanded to move but is measured at rest", on("state", value(6, lambda x: 0 * x + 1))),
    # actions
    RecordingError("degrees commanded", "commanded joints are in degrees", on("action", joints(DEG))),
    RecordingError("differences", "actions are differences", on_trajectories(differences)),
    RecordingError("action not finite", "action is not finite", on("action", value(0, lambda x: x * np.nan))),
    # images alone
    RecordingError("another size", "the policy was trained with 96x96", images("front", lambda image: image[::2, ::2])),
    RecordingError("float images", "float", images("wrist", lambda image: image / np.float32(255))),
    RecordingError("black", "are black", images("wrist", lambda image: image // 32)),
    RecordingError("overexposed", "are white", images("front", lambda image: np.minimum(image.astype(int) * 8 + 100, 255).astype(np.uint8))),
    RecordingError("blue and red exchanged", "BGR", every_camera(lambda image: image[..., ::-1]), needs_rendering=True),
    RecordingError("grey", "images are grey", every_camera(lambda image: np.repeat(image.mean(2, keepdims=True).astype(np.uint8), 3, 2)), needs_rendering=True),
    # images and joints
    RecordingError("front mirrored", "front are mirrored left to right", images("front", np.fliplr), needs_rendering=True),
    RecordingError("front upside down", "front are rotated by 180", images("front", lambda i: i[::-1, ::-1]), needs_rendering=True),
    RecordingError("wrist mirrored", "wrist are mirrored left to right", images("wrist", np.fliplr), needs_rendering=True),
    RecordingError("wrist top to bottom", "wrist are mirrored top to bottom", images("wrist", np.flipud), needs_rendering=True),
    RecordingError("wrist turned", "wrist are rotated by 180", images("wrist", lambda i: i[::-1, ::-1]), needs_rendering=True),
    RecordingError("wrist on its side", "wrist are rotated by 90 degrees clockwise", images("wrist", lambda i: np.rot90(i, -1)), needs_rendering=True),
    RecordingError("cameras exchanged", "are exchanged", on_trajectories(exchanged_cameras), needs_rendering=True),
    RecordingError("wrist cropped too much", "wrist are cropped too much", images("wrist", resized((0.12, 0.12, 0.88, 0.88))), needs_rendering=True),
    RecordingError("front cropped too much", "front are cropped too much", images("front", resized((0.12, 0.12, 0.88, 0.88))), needs_rendering=True),
    RecordingError("wrist not cropped", "wrist are not cropped", images("wrist", resized((-0.16, -0.16, 1.16, 1.16))), needs_rendering=True),
    RecordingError("wrist squeezed", "wrist are squeezed horizontally", images("wrist", resized((-0.166, 0, 1.166, 1))), needs_rendering=True),
    RecordingError("front off centre", "front are cropped off centre", images("front", resized((0.125, 0, 1.125, 1))), needs_rendering=True),
    # time
    RecordingError("10 frames a second", "recorded at 10 frames", lambda r: dataclasses.replace(r, fps=10.0)),
    RecordingError("every third frame kept", "further apart", on_trajectories(lambda t: frames(t, np.arange(0, len(t.state), 3)))),
    RecordingError("camera at 10 Hz", "camera wrist is slower", held("images", 2)),
    RecordingError("state at 7 Hz", "state is slower", held("state", 3)),
    RecordingError("motion 150 ms late", "action to motion takes", late("state", 3)),
    RecordingError("images 150 ms late", "motion to camera", late("images", 3)),
)  # fmt: skip
