"""Hypotheses of what differs between a robot and its simulator, each with the transformation that undoes it.

`image_alignment` transforms images or joints under each and finds the one under which they agree best.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import affine_transform

from sim.robots.robot import Robot

ZOOMS = (0.7, 0.8, 1.25, 1.4)  # how much larger objects appear than in the simulator
SQUEEZED = 0.75  # a 4:3 image scaled to a square instead of cropped
SHIFTS = (0.125, -0.125)  # of the width: a 4:3 image cropped off centre
OFFSETS_DEG = (10.0, -10.0, 90.0, -90.0, 180.0)
CROP_REMEDY = (
    "crop around the centre to the aspect ratio of the simulator's images, then resize (real.cameras.camera.fit)"
)


@dataclass(frozen=True)
class Hypothesis:
    """One possible difference. image, state: what undoes it; camera: whose images it concerns, "" for the joints."""

    cause: str
    remedy: str
    camera: str = ""
    image: Callable[[np.ndarray], np.ndarray] | None = None  # float (H, W) -> the same, nan where unknown
    state: Callable[[np.ndarray], np.ndarray] | None = None  # (D,) -> (D,)
    swaps_cameras: bool = False


NO_FAULT = Hypothesis("", "")


def hypotheses(robot: Robot, cameras: tuple[str, ...], image_size: tuple[int, int]) -> list[Hypothesis]:
    """Return all hypotheses about images and joints; the order of colour channels is checked by `channel_order`."""
    found = [hypothesis for camera in cameras for hypothesis in _of_images(camera, image_size)]
    if len(cameras) == 2:
        remedy = f"exchange the devices of robot.cameras.{cameras[0]} and .{cameras[1]}"
        found.append(Hypothesis(f"cameras {cameras[0]} and {cameras[1]} are exchanged", remedy, swaps_cameras=True))
    return found + list(_of_joints(robot))


def _of_images(camera: str, image_size: tuple[int, int]) -> Iterator[Hypothesis]:
    def hypothesis(what: str, remedy: str, undo: Callable[[np.ndarray], np.ndarray]) -> Hypothesis:
        return Hypothesis(f"images of camera {camera} are {what}", remedy, camera, undo)

    turn = f"rotate or mirror them where camera {camera} is read, or mount it as in the simulator"
    yield hypothesis("mirrored left to right", turn, np.fliplr)
    yield hypothesis("mirrored top to bottom", turn, np.flipud)
    yield hypothesis("rotated by 180 degrees", turn, lambda image: np.rot90(image, 2))
    if image_size[0] == image_size[1]:
        yield hypothesis("rotated by 90 degrees clockwise", turn, lambda image: np.rot90(image, 1))
        yield hypothesis("rotated by 90 degrees counter-clockwise", turn, lambda image: np.rot90(image, -1))
    for zoom in ZOOMS:
        what = (
            "cropped too much, or its field of view is narrower"
            if zoom > 1
            else "not cropped, or its field of view is wider"
        )
        yield hypothesis(
            f"{what}: objects appear {zoom:g} times as large", f"{CROP_REMEDY}; or set the lens", _Scaled(zoom, zoom)
        )
    yield hypothesis("squeezed horizontally instead of cropped", CROP_REMEDY, _Scaled(1.0, SQUEEZED))
    yield hypothesis("squeezed vertically instead of cropped", CROP_REMEDY, _Scaled(SQUEEZED, 1.0))
    for shift in SHIFTS:
        side = "right" if shift > 0 else "left"
        yield hypothesis(
            f"cropped off centre: everything is {abs(shift):.0%} to the {side}", CROP_REMEDY, _Scaled(1.0, 1.0, shift)
        )


@dataclass(frozen=True)
class _Scaled:
    """Undo a scaling by `rows` and `columns` about the centre and a shift to the right by `shift` of the width."""

    rows: float
    columns: float
    shift: float = 0.0

    def __call__(self, image: np.ndarray) -> np.ndarray:
        scale = np.array([self.rows, self.columns])
        middle = (np.array(image.shape) - 1) / 2
        offset = middle - scale * middle + [0, self.shift * image.shape[1]]
        return affine_transform(image, scale, offset.tolist(), order=1, mode="constant", cval=np.nan)


def _of_joints(robot: Robot) -> Iterator[Hypothesis]:
    where = "in the driver's conversion, or set the joint's zero on the controller"
    for j, name in enumerate(robot.joint_names):
        yield Hypothesis(
            f"joint {name} turns opposite to the simulator's",
            f"negate {name} {where}",
            state=_Recalibrated(j, -1.0, 0.0),
        )
        for offset_deg in OFFSETS_DEG:
            yield Hypothesis(
                f"the zero of joint {name} is off by about {offset_deg:+.0f} deg",
                f"subtract {offset_deg:+.0f} deg from {name} {where}",
                state=_Recalibrated(j, 1.0, np.deg2rad(offset_deg)),
            )


@dataclass(frozen=True)
class _Recalibrated:
    """Undo the wrong sign of a joint, or a zero that reads `offset_rad` too much."""

    joint: int
    sign: float
    offset_rad: float

    def __call__(self, state: np.ndarray) -> np.ndarray:
        state = np.array(state, float)
        state[self.joint] = self.sign * state[self.joint] - self.offset_rad
        return state
