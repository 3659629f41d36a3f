"""Circles in an image: where an agent believes the named things are, as wide as it is sure."""

from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw

from sim.core.estimate import Estimate
from sim.envs.simulation import Simulation

COLOURS = {"object": (255, 220, 0), "target": (0, 230, 255)}
UNSURE, UNSURE_M = (255, 40, 40), 0.1  # colour and size of circles that are larger: the thing was not found
CORNERS = 48


def draw_regions(image: np.ndarray, world: Simulation, camera: str, estimates: Iterable[Estimate]) -> np.ndarray:
    """Return a copy of what a camera of the world sees, uint8 (H, W, 3), with a horizontal circle for each estimate."""
    number, data = world.scene.cameras[camera], world.data
    seen_from = data.cam_xpos[number], data.cam_xmat[number].reshape(3, 3), world.scene.model.cam_fovy[number]
    height, width = image.shape[:2]
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    for one in estimates:
        sure = one.within_m < UNSURE_M
        at = project(circle(one.pos_w, min(one.within_m, UNSURE_M)), *seen_from)
        pixels = height * (at - 0.5) + [width / 2, height / 2]  # the field of view is that of the height
        if np.isfinite(pixels).all():
            draw.line([*map(tuple, pixels.tolist())], COLOURS.get(one.name, UNSURE) if sure else UNSURE, 2)
    return np.asarray(picture)


def circle(center_w: np.ndarray, radius_m: float) -> np.ndarray:
    """Return points (CORNERS + 1, 3) m of a horizontal circle, the first one also last."""
    angle = np.linspace(0, 2 * np.pi, CORNERS + 1)
    return center_w + radius_m * np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], 1)


def project(points_w: np.ndarray, pos_w: np.ndarray, rotation_w: np.ndarray, fovy_deg: float) -> np.ndarray:
    """Return pixels (N, 2) of points (N, 3) m in a square image, in units of its side, nan behind the camera."""
    seen = (points_w - pos_w) @ rotation_w  # x right, y up, looking along -z
    focal = 0.5 / np.tan(np.deg2rad(fovy_deg) / 2)
    depth = np.where(seen[:, 2] < -0.005, -seen[:, 2], np.nan)[:, None]
    return 0.5 + focal * seen[:, :2] * [1, -1] / depth
