"""Check of the order of the colour channels.

The object in the gripper is the reference: the instruction names its colour, and the wrist camera sees it between
the fingers. Tables and walls are none; training varies their colours.
"""

from collections.abc import Iterator

import numpy as np

from real.parity.findings import Finding
from real.parity.recording import Recording, Trajectory
from sim.scene.placement import COLOURS

PATCH_PX = 3  # around the tool, of images 96 pixels high
HOLDS = 5  # frames in which an object is held
CLEARER = 2.0  # factor by which another order must bring the colour closer to its name
SHADES = 3.0  # levels between channels below which an image is grey
SWAPS = {"red and blue are exchanged (BGR instead of RGB)": [2, 1, 0], "red and green are exchanged": [1, 0, 2]}


def channel_order(recording: Recording, camera: str, tool_px: tuple[float, float]) -> Iterator[Finding]:
    """Check the order of the colour channels. tool_px: (row, column) of the tool in the images of `camera`, on the
    wrist."""
    first = [trajectory.images[name][:1] for trajectory in recording.trajectories for name in recording.cameras]
    images = np.concatenate(first)
    if np.abs(np.diff(images.astype(float), axis=-1)).mean() < SHADES:
        yield Finding("colours", "no colours", "the images are grey", "set the camera to colour")
        return
    held = [found for trajectory in recording.trajectories if (found := _held(trajectory, camera, tool_px))]
    orders = {"": [0, 1, 2], **SWAPS}
    # A colour that stays as close to its name under an exchange (green, grey) does not show it.
    distance = (
        {
            cause: float(np.mean([_distance(seen[order], name) for name, seen in held]))
            for cause, order in orders.items()
        }
        if held
        else {}
    )
    if not distance:
        yield Finding("colours", "no object with a named colour was held: not determined")
        return
    best = min(distance, key=lambda cause: distance[cause])
    names = ", ".join(dict.fromkeys(name for name, _ in held))
    reading = (
        f"{names} held: {distance['']:.2f} from its name, with channels exchanged {min(distance[c] for c in SWAPS):.2f}"
    )
    if best and distance[""] > CLEARER * distance[best]:
        yield Finding("colours", reading, best, "convert the camera's images to RGB once, where they are read")
    else:
        yield Finding("colours", reading)


def _held(trajectory: Trajectory, camera: str, tool_px: tuple[float, float]) -> tuple[str, np.ndarray] | None:
    """Return the named colour and the median (3,) red, green, blue between the fingers while they hold an object."""
    words = trajectory.instruction.lower().split()
    name = next((word for word in words if word in COLOURS), None)
    opening, commanded = trajectory.state[:, -1], trajectory.action[:, -1]
    holding = (commanded < 0.1) & (opening > 0.15) & (opening < 0.9)
    frames = np.flatnonzero(holding)[HOLDS:]  # not while the fingers close
    if name is None or len(frames) < HOLDS or camera not in trajectory.images:
        return None
    images = trajectory.images[camera]
    size = max(round(PATCH_PX * images.shape[1] / 96), 1)
    row, column = (round(at) for at in tool_px)
    patch = images[frames, max(row - size, 0) : row + size + 1, max(column - size, 0) : column + size + 1]
    return name, np.median(patch.reshape(-1, 3), axis=0)


def _distance(seen: np.ndarray, name: str) -> float:
    """Return the distance of two colours, brightness aside: 0 equal, 1 opposite."""
    tints = [colour - colour.mean() for colour in (np.array(seen, float), np.array(COLOURS[name], float))]
    sizes = [np.linalg.norm(tint) for tint in tints]
    if min(sizes) == 0:
        return 0.5
    return float(1 - (tints[0] @ tints[1]) / (sizes[0] * sizes[1])) / 2
