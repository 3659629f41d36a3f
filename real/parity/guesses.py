"""What may be wrong between a robot and its simulator, each as what would undo it.

A guess sets pictures, or joints, right as if it were true; `pictures` then asks which guess
makes pictures and joints belong together best.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import affine_transform

from sim.robots.robot import Robot

ZOOMS = (0.7, 0.8, 1.25, 1.4)  # how much larger things look than the simulator draws them
SQUEEZED = 0.75  # a 4:3 picture pressed into a square instead of cropped
SHIFTS = (0.125, -0.125)  # of the width: a crop from the side of a 4:3 picture
OFFSETS_DEG = (10.0, -10.0, 90.0, -90.0, 180.0)
CROP_MEND = "crop to the aspect of the simulator's pictures around the centre, then resize (real.cameras.camera.fit)"


@dataclass(frozen=True)
class Guess:
    """One thing that may be wrong. camera: whose pictures `undo` sets right; "" for the joints."""

    cause: str
    mend: str
    camera: str = ""
    picture: Callable[[np.ndarray], np.ndarray] | None = None  # float (H, W) -> the same, nan where unknown
    state: Callable[[np.ndarray], np.ndarray] | None = None  # (D,) -> (D,)
    swaps_cameras: bool = False


NOTHING = Guess("", "")


def guesses(robot: Robot, cameras: tuple[str, ...], image_size: tuple[int, int]) -> list[Guess]:
    """All of them but colours, which have no shape."""
    found = [guess for camera in cameras for guess in _of_pictures(camera, image_size)]
    if len(cameras) == 2:
        mend = f"exchange the devices of robot.cameras.{cameras[0]} and .{cameras[1]}"
        found.append(Guess(f"cameras {cameras[0]} and {cameras[1]} are exchanged", mend, swaps_cameras=True))
    return found + list(_of_joints(robot))


def _of_pictures(camera: str, image_size: tuple[int, int]) -> Iterator[Guess]:
    def guess(what: str, mend: str, undo: Callable[[np.ndarray], np.ndarray]) -> Guess:
        return Guess(f"pictures of camera {camera} are {what}", mend, camera, undo)

    turn = f"turn or mirror them back where camera {camera} is read, or mount it as the simulator has it"
    yield guess("mirrored left to right", turn, np.fliplr)
    yield guess("mirrored top to bottom", turn, np.flipud)
    yield guess("turned by 180 degrees", turn, lambda picture: np.rot90(picture, 2))
    if image_size[0] == image_size[1]:
        yield guess("turned by 90 degrees clockwise", turn, lambda picture: np.rot90(picture, 1))
        yield guess("turned by 90 degrees counter-clockwise", turn, lambda picture: np.rot90(picture, -1))
    for zoom in ZOOMS:
        what = (
            "cropped too much, or its field of view is narrower"
            if zoom > 1
            else "not cropped, or its field of view is wider"
        )
        yield guess(
            f"{what}: things look {zoom:g} times as large", f"{CROP_MEND}; or set the lens", _Scaled(zoom, zoom)
        )
    yield guess("squeezed sideways instead of cropped", CROP_MEND, _Scaled(1.0, SQUEEZED))
    yield guess("squeezed from above instead of cropped", CROP_MEND, _Scaled(SQUEEZED, 1.0))
    for shift in SHIFTS:
        side = "right" if shift > 0 else "left"
        yield guess(
            f"cropped off centre: everything is {abs(shift):.0%} to the {side}", CROP_MEND, _Scaled(1.0, 1.0, shift)
        )


@dataclass(frozen=True)
class _Scaled:
    """Undoes that things look `rows` times as high and `columns` times as wide, moved right by `shift` of the width."""

    rows: float
    columns: float
    shift: float = 0.0

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        scale = np.array([self.rows, self.columns])
        middle = (np.array(picture.shape) - 1) / 2
        offset = middle - scale * middle + [0, self.shift * picture.shape[1]]
        return affine_transform(picture, scale, offset.tolist(), order=1, mode="constant", cval=np.nan)


def _of_joints(robot: Robot) -> Iterator[Guess]:
    where = "in the driver's conversion, or set the joint's zero on the controller"
    for j, name in enumerate(robot.joint_names):
        yield Guess(
            f"joint {name} turns the other way than the simulator's",
            f"negate {name} {where}",
            state=_Turned(j, -1.0, 0.0),
        )
        for offset_deg in OFFSETS_DEG:
            yield Guess(
                f"the zero of joint {name} is off by about {offset_deg:+.0f} deg",
                f"take {offset_deg:+.0f} deg off {name} {where}",
                state=_Turned(j, 1.0, np.deg2rad(offset_deg)),
            )


@dataclass(frozen=True)
class _Turned:
    """Undoes a joint's wrong sense, or a zero that reads `offset_rad` too much."""

    joint: int
    sign: float
    offset_rad: float

    def __call__(self, state: np.ndarray) -> np.ndarray:
        state = np.array(state, float)
        state[self.joint] = self.sign * state[self.joint] - self.offset_rad
        return state
