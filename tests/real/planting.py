"""Faults planted into a recording, each as somebody once made it, and what the parity test must say of it."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from real.parity.recording import ACTION, STATE, Recording, Take

NAMES = ("j1", "j2", "j3", "j4", "j5", "j6", "gripper")
DEG = 180 / np.pi


@dataclass(frozen=True)
class Plant:
    """says: a part of the cause that must be named. pictures: it takes pictures and joints together to see it."""

    name: str
    says: str
    change: Callable[[Recording], Recording]
    pictures: bool = False


def on_takes(change: Callable[[Take], Take]) -> Callable[[Recording], Recording]:
    return lambda recording: dataclasses.replace(recording, takes=tuple(change(take) for take in recording.takes))


def on(column: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Recording], Recording]:
    """change: (T, D) -> (T, D) of "state", "action" or "both"."""
    names = ("state", "action") if column == "both" else (column,)
    return on_takes(
        lambda take: dataclasses.replace(take, **{name: change(getattr(take, name).astype(float)) for name in names})
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


def pictures(camera: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Recording], Recording]:
    """change: one picture -> one picture."""

    def changed(take: Take) -> Take:
        images = {**take.images, camera: np.stack([change(image) for image in take.images[camera]])}
        return dataclasses.replace(take, images=images)

    return on_takes(changed)


def every_camera(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Recording], Recording]:
    return lambda recording: pictures("wrist", change)(pictures("front", change)(recording))


def frames(take: Take, chosen: np.ndarray, *, of: tuple[str, ...] = ("state", "action", "images")) -> Take:
    """The take with other frames of the named parts; all parts cut to the same length."""

    def pick(name: str, rows: np.ndarray) -> np.ndarray:
        return rows[chosen] if name in of else rows[: len(chosen)]

    images = {camera: pick("images", rows) for camera, rows in take.images.items()}
    return Take(pick("state", take.state), pick("action", take.action), images, take.instruction)


def late(part: str, by: int) -> Callable[[Recording], Recording]:
    """`part` comes `by` frames later than it did."""
    return on_takes(lambda take: frames(take, np.maximum(np.arange(len(take.state)) - by, 0), of=(part,)))


def held(part: str, times: int) -> Callable[[Recording], Recording]:
    """`part` is read anew only every `times` frames."""
    return on_takes(lambda take: frames(take, np.arange(len(take.state)) // times * times, of=(part,)))


def resized(box: tuple[float, float, float, float]) -> Callable[[np.ndarray], np.ndarray]:
    """The part left, top, right, bottom (of 0..1; beyond: black) of each picture, made as large as the picture was."""

    def change(image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        corners = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
        picture = Image.fromarray(image).transform(
            (width, height), Image.Transform.EXTENT, corners, Image.Resampling.BILINEAR
        )
        return np.asarray(picture)

    return change


def exchanged_cameras(take: Take) -> Take:
    return dataclasses.replace(take, images={"front": take.images["wrist"], "wrist": take.images["front"]})


def differences(take: Take) -> Take:
    action = take.action.astype(float)
    action[:, :-1] -= take.state[:, :-1]
    return dataclasses.replace(take, action=action)


def renamed(column: str, names: tuple[str, ...]) -> Callable[[Recording], Recording]:
    return lambda recording: dataclasses.replace(recording, names={**recording.names, column: names})


def without(camera: str) -> Callable[[Recording], Recording]:
    def change(recording: Recording) -> Recording:
        takes = [
            dataclasses.replace(t, images={c: i for c, i in t.images.items() if c != camera}) for t in recording.takes
        ]
        left = tuple(c for c in recording.cameras if c != camera)
        return dataclasses.replace(recording, cameras=left, takes=tuple(takes))

    return change


PLANTS = (
    # keys
    Plant("another robot", "not of a 'fairino_fr3'", lambda r: dataclasses.replace(r, robot_type="so101")),
    Plant("six values of state", "observation.state holds", renamed(STATE, NAMES[:-1])),
    Plant("gripper named first", "action holds", renamed(ACTION, (NAMES[-1], *NAMES[:-1]))),
    Plant("no wrist camera", "no pictures of camera wrist", without("wrist")),
    # state
    Plant("state not sent", "all zeros", on("state", lambda rows: rows * 0)),
    Plant("state not finite", "not finite", on("state", value(2, lambda x: x * np.nan))),
    Plant("state frozen", "or frozen", on("state", lambda rows: np.repeat(rows[:1], len(rows), 0))),
    Plant("state is the command", "same numbers", on_takes(lambda t: dataclasses.replace(t, state=t.action))),
    Plant("degrees measured", "measured joints are in degrees", on("state", joints(DEG))),
    Plant("degrees everywhere", "measured joints are in degrees", on("both", joints(DEG))),
    Plant("radians twice", "converted to radians twice", on("state", joints(1 / DEG))),
    Plant("gripper first in state", "gripper stands before", on("state", columns(6, 0, 1, 2, 3, 4, 5))),
    Plant("joints reversed", "reverse order", on("both", columns(5, 4, 3, 2, 1, 0, 6))),
    Plant("j2 and j4 exchanged in action", "command moves j4", on("action", columns(0, 3, 2, 1, 4, 5, 6))),
    Plant("j3 negated, measured", "j3 turns the other way", on("state", value(2, np.negative))),
    Plant("j2 negated, commanded", "j2 is measured in the opposite sense", on("action", value(1, np.negative))),
    Plant("j1 negated, both", "j1 turns the other way", on("both", value(0, np.negative)), pictures=True),
    Plant("j6 negated, both", "j6 turns the other way", on("both", value(5, np.negative)), pictures=True),
    Plant("j4 zero off by 90, measured", "zero of joint j4 is off by about +90", on("both", value(3, lambda x: x + np.pi / 2))),
    Plant("j5 zero off by 5, measured", "j5 is measured", on("state", value(4, lambda x: x + 5 / DEG))),
    Plant("j2 zero off by 10, both", "zero of joint j2 is off", on("both", value(1, lambda x: x + 10 / DEG)), pictures=True),
    Plant("j3 zero off by -10, both", "zero of joint j3 is off", on("both", value(2, lambda x: x - 10 / DEG)), pictures=True),
    # gripper
    Plant("gripper inverted, both", "open reads closed", on("both", value(6, lambda x: 1 - x))),
    Plant("gripper inverted, commanded", "sense is wrong", on("action", value(6, lambda x: 1 - x))),
    Plant("gripper in percent, both", "gripper is in percent", on("both", value(6, lambda x: 100 * x))),
    Plant("gripper in percent, commanded", "commanded gripper is in percent", on("action", value(6, lambda x: 100 * x))),
    Plant("gripper 0..255, commanded", "0..255", on("action", value(6, lambda x: 255 * x))),
    Plant("gripper in metres", "gripper is in metres", on("state", value(6, lambda x: 0.08 * x))),
    Plant("gripper stroke", "commanded open is measured", on("state", value(6, lambda x: 0.8 * x))),
    Plant("gripper stuck", "gripper was commanded but is measured at rest", on("state", value(6, lambda x: 0 * x + 1))),
    # actions
    Plant("degrees commanded", "commanded joints are in degrees", on("action", joints(DEG))),
    Plant("differences", "actions are differences", on_takes(differences)),
    Plant("action not finite", "action is not finite", on("action", value(0, lambda x: x * np.nan))),
    # pictures alone
    Plant("another size", "the policy learned 96x96", pictures("front", lambda image: image[::2, ::2])),
    Plant("float pictures", "float", pictures("wrist", lambda image: image / np.float32(255))),
    Plant("black", "are black", pictures("wrist", lambda image: image // 32)),
    Plant("overexposed", "are white", pictures("front", lambda image: np.minimum(image.astype(int) * 8 + 100, 255).astype(np.uint8))),
    Plant("blue and red exchanged", "BGR", every_camera(lambda image: image[..., ::-1]), pictures=True),
    Plant("grey", "pictures are grey", every_camera(lambda image: np.repeat(image.mean(2, keepdims=True).astype(np.uint8), 3, 2)), pictures=True),
    # pictures and joints
    Plant("front mirrored", "front are mirrored left to right", pictures("front", np.fliplr), pictures=True),
    Plant("front upside down", "front are turned by 180", pictures("front", lambda i: i[::-1, ::-1]), pictures=True),
    Plant("wrist mirrored", "wrist are mirrored left to right", pictures("wrist", np.fliplr), pictures=True),
    Plant("wrist top to bottom", "wrist are mirrored top to bottom", pictures("wrist", np.flipud), pictures=True),
    Plant("wrist turned", "wrist are turned by 180", pictures("wrist", lambda i: i[::-1, ::-1]), pictures=True),
    Plant("wrist on its side", "wrist are turned by 90 degrees clockwise", pictures("wrist", lambda i: np.rot90(i, -1)), pictures=True),
    Plant("cameras exchanged", "are exchanged", on_takes(exchanged_cameras), pictures=True),
    Plant("wrist cropped too much", "wrist are cropped too much", pictures("wrist", resized((0.12, 0.12, 0.88, 0.88))), pictures=True),
    Plant("front cropped too much", "front are cropped too much", pictures("front", resized((0.12, 0.12, 0.88, 0.88))), pictures=True),
    Plant("wrist not cropped", "wrist are not cropped", pictures("wrist", resized((-0.16, -0.16, 1.16, 1.16))), pictures=True),
    Plant("wrist squeezed", "wrist are squeezed sideways", pictures("wrist", resized((-0.166, 0, 1.166, 1))), pictures=True),
    Plant("front off centre", "front are cropped off centre", pictures("front", resized((0.125, 0, 1.125, 1))), pictures=True),
    # time
    Plant("10 frames a second", "recorded at 10 frames", lambda r: dataclasses.replace(r, fps=10.0)),
    Plant("every third frame kept", "further apart", on_takes(lambda t: frames(t, np.arange(0, len(t.state), 3)))),
    Plant("camera at 10 Hz", "camera wrist is slower", held("images", 2)),
    Plant("state at 7 Hz", "state is slower", held("state", 3)),
    Plant("motion 150 ms late", "action to motion takes", late("state", 3)),
    Plant("pictures 150 ms late", "motion to camera", late("images", 3)),
)  # fmt: skip
