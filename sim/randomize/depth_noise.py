"""What a stereo camera makes of true depth: noise that grows with the square of distance, steps, shadows, holes.

Such a camera finds how far each pixel is shifted between two imagers, the disparity d = f B / z, in steps of 1/32 px
("Subpixel linearity improvement for Intel RealSense depth camera D400 series", Grunnet-Jepsen et al., rev. 1.3). Noise
of a disparity, s, is the same everywhere; that of depth then is z^2 s / (f B), the formula of Intel's "Tuning depth
cameras for best performance" (rev. 2.0). What the second imager does not see, beside a nearer thing, has no depth.

Shapes: H, W pixels.
"""

from dataclasses import dataclass

import numpy as np

STEPS = 32  # of a disparity, per pixel


@dataclass(frozen=True)
class StereoCamera:
    """A kind of camera, by its data sheet."""

    focal_px: float
    baseline_m: float
    near_m: float  # nearer, and farther than `far_m`, there is no depth
    far_m: float


D435 = StereoCamera(focal_px=212.0, baseline_m=0.05, near_m=0.105, far_m=3.0)  # 424 x 240 px, which sees the nearest
D405 = StereoCamera(focal_px=447.0, baseline_m=0.018, near_m=0.07, far_m=1.0)  # 848 x 480 px; made for wrists


@dataclass(frozen=True)
class DepthNoise:
    """How one camera measures in one episode."""

    disparity_px: float  # standard deviation
    holes: float  # share of pixels that find no match


def measure(
    depth_m: np.ndarray, fovy_rad: float, camera: StereoCamera, noise: DepthNoise, rng: np.random.Generator
) -> np.ndarray:
    """Return uint16 (H, W), mm, 0 where nothing is measured, of true depth float32 (H, W).

    fovy_rad: from the top of the image to its bottom.
    """
    scale = camera.focal_px * camera.baseline_m
    disparity = scale / depth_m + noise.disparity_px * rng.standard_normal(depth_m.shape)
    measured_m = scale / np.maximum(np.rint(disparity * STEPS) / STEPS, 1 / STEPS)
    lost = (np.minimum(depth_m, measured_m) < camera.near_m) | (np.maximum(depth_m, measured_m) > camera.far_m)
    lost |= shadowed(depth_m, fovy_rad, camera.baseline_m) | (rng.random(depth_m.shape) < noise.holes)
    return np.where(lost, 0.0, np.rint(1e3 * measured_m)).astype(np.uint16)


def shadowed(depth_m: np.ndarray, fovy_rad: float, baseline_m: float) -> np.ndarray:
    """Return bool (H, W), True where the second imager, `baseline_m` to the right, sees a nearer thing instead.

    It sees a pixel shifted to the left by the disparity; one further right that is shifted beyond it hides it.
    """
    height, width = depth_m.shape
    focal_px = height / 2 / np.tan(fovy_rad / 2)
    seen_at = np.arange(width) - focal_px * baseline_m / depth_m
    nearest = np.minimum.accumulate(seen_at[:, ::-1], axis=1)[:, ::-1]  # of a pixel and those right of it
    return seen_at > nearest
