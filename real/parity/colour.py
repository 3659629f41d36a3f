"""Is red in the pictures where red is?

What the gripper holds tells the colours: the instruction names it, and the wrist camera sees it between
the fingers. Tables and walls tell nothing; the policy learned from all kinds of them.
"""

from collections.abc import Iterator

import numpy as np

from real.parity.numbers import Finding
from real.parity.recording import Expected, Recording, Take
from sim.scene.placement import COLOURS

PATCH_PX = 3  # around the tool, of pictures 96 pixels high
HOLDS = 5  # frames in which something is held
CLEARER = 2.0  # how much nearer, times, another order must bring the colour to its name
SHADES = 3.0  # levels between channels below which a picture is grey
SWAPS = {"red and blue are exchanged (BGR instead of RGB)": [2, 1, 0], "red and green are exchanged": [1, 0, 2]}


def colours(recording: Recording, expected: Expected, tool_px: tuple[float, float]) -> Iterator[Finding]:
    """The order of the colour channels, by what the gripper holds: the instruction names its colour.

    tool_px: (row, column) of the tool in the pictures of the wrist camera.
    """
    pictures = np.concatenate([take.images[camera][:1] for take in recording.takes for camera in recording.cameras])
    if np.abs(np.diff(pictures.astype(float), axis=-1)).mean() < SHADES:
        yield Finding("colours", "no colours", "the pictures are grey", "set the camera to colour")
        return
    held = [found for take in recording.takes if (found := _held(take, tool_px))]
    orders = {"": [0, 1, 2], **SWAPS}
    # A name that stays as near under an exchange (green, or grey things) tells nothing of it.
    apart = (
        {cause: float(np.mean([_apart(seen[order], name) for name, seen in held])) for cause, order in orders.items()}
        if held
        else {}
    )
    if not apart:
        yield Finding("colours", "nothing whose colour is named was held: not told")
        return
    best = min(apart, key=lambda cause: apart[cause])
    names = ", ".join(dict.fromkeys(name for name, _ in held))
    reading = (
        f"{names} held: looks {apart['']:.2f} from its name, with channels exchanged {min(apart[c] for c in SWAPS):.2f}"
    )
    if best and apart[""] > CLEARER * apart[best]:
        yield Finding("colours", reading, best, "convert the camera's pictures to RGB once, where they are read")
    else:
        yield Finding("colours", reading)


def _held(take: Take, tool_px: tuple[float, float]) -> tuple[str, np.ndarray] | None:
    """The named colour and the mean (3,) red, green, blue seen between the fingers while they hold something."""
    words = take.instruction.lower().split()
    name = next((word for word in words if word in COLOURS), None)
    opening, asked = take.state[:, -1], take.action[:, -1]
    holding = (asked < 0.1) & (opening > 0.15) & (opening < 0.9)
    frames = np.flatnonzero(holding)[HOLDS:]  # not while they close
    if name is None or len(frames) < HOLDS or "wrist" not in take.images:
        return None
    images = take.images["wrist"]
    size = max(round(PATCH_PX * images.shape[1] / 96), 1)
    row, column = (round(at) for at in tool_px)
    patch = images[frames, max(row - size, 0) : row + size + 1, max(column - size, 0) : column + size + 1]
    return name, np.median(patch.reshape(-1, 3), axis=0)


def _apart(seen: np.ndarray, name: str) -> float:
    """How far two colours lie apart, brightness aside: 0 the same, 1 across."""
    tints = [colour - colour.mean() for colour in (np.array(seen, float), np.array(COLOURS[name], float))]
    sizes = [np.linalg.norm(tint) for tint in tints]
    if min(sizes) == 0:
        return 0.5
    return float(1 - (tints[0] @ tints[1]) / (sizes[0] * sizes[1])) / 2
