"""Delays and the gripper's travel, from what was logged.

A camera's delay is found from a swing back and forth: delayed images show different positions on the way out and back.
The delay is the time shift that makes the image a function of the position again.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from real.calibrate.estimates import Estimate
from real.calibrate.motion_log import MotionLog
from real.cameras.camera import Frame
from sim.core.errors import UserError

MAX_DELAY_S = 0.25
GRID_S = 0.005
DEGREE = 6  # of the polynomial from position to image
COMPONENTS = 3  # principal components of the images
RESAMPLES = 40
MIN_FRAMES = 40
TRAVEL_SHARE = (0.15, 0.85)  # of the stroke, where the fingers move evenly


def tracking_delay_s(log: MotionLog, joint: int) -> float:
    """Delay of a moving joint behind its commands, s: of network, controller and drive together."""
    return _best_shift(lambda shift_s: _misfit(log, joint, shift_s))


def camera_delay(frames: Sequence[Frame], log: MotionLog, joint: int, rng: np.random.Generator) -> Estimate:
    """Time from exposure to stamp of an image, s, from frames recorded while `joint` swung back and forth.

    The standard deviation is that of RESAMPLES bootstrap samples. UserError with too few images, or when none changes.
    """
    shown, stamps_s = _components(frames), np.array([frame.stamp_s for frame in frames])

    def delay_s(chosen: np.ndarray) -> float:
        def misfit(shift_s: float) -> float:
            position = np.interp(stamps_s[chosen] - shift_s, log.received_s, log.joints_rad[:, joint])
            position = 2 * (position - position.min()) / max(float(np.ptp(position)), 1e-9) - 1
            basis = np.polynomial.chebyshev.chebvander(position, DEGREE)
            left = shown[chosen] - basis @ np.linalg.lstsq(basis, shown[chosen], rcond=None)[0]
            return float((left * left).mean())

        return _best_shift(misfit)

    everything = np.arange(len(frames))
    samples = [delay_s(rng.choice(everything, len(frames))) for _ in range(RESAMPLES)]
    return Estimate(delay_s(everything), float(np.std(samples)))


def _components(frames: Sequence[Frame]) -> np.ndarray:
    """Return (n, COMPONENTS) principal components of the images, scaled by the first."""
    if len(frames) < MIN_FRAMES:
        raise UserError(f"{len(frames)} images while the arm swung, expected at least {MIN_FRAMES}")
    pixels = np.stack([frame.image for frame in frames]).reshape(len(frames), -1).astype(np.float32)
    pixels -= pixels.mean(axis=0)
    left, scale, _ = np.linalg.svd(pixels @ pixels.T, hermitian=True)
    if scale[0] < 1.0:
        raise UserError("the images do not change while the arm swings; is the camera covered?")
    return left[:, :COMPONENTS] * np.sqrt(scale[:COMPONENTS] / scale[0])


def gripper_travel(log: MotionLog) -> dict[str, Estimate]:
    """Return the ends (openings 0..1) and speed (openings per second) of a gripper that closed and opened.

    UserError when it did not move, or in one direction only.
    """
    closed, opened = float(log.opening.min()), float(log.opening.max())
    if opened - closed < 0.2:
        raise UserError(f"the gripper moved from {opened:.2f} to {closed:.2f} only; is something between its fingers?")
    low, high = (closed + share * (opened - closed) for share in TRAVEL_SHARE)
    inside = (log.opening > low) & (log.opening < high)
    ways = np.split(np.flatnonzero(inside), np.flatnonzero(np.diff(np.flatnonzero(inside)) > 1) + 1)
    speeds = [abs(np.polyfit(log.received_s[way], log.opening[way], 1)[0]) for way in ways if len(way) > 4]
    if len(speeds) < 2:
        raise UserError("the gripper did not close and open again")
    spread = float(np.std(speeds, ddof=1))
    # Openings are reported in percent: the standard deviation of a rounding error is a third of that.
    ends = {name: Estimate(end, 0.003) for name, end in (("gripper_closed", closed), ("gripper_open", opened))}
    return {**ends, "gripper_speed_per_s": Estimate(float(np.mean(speeds)), spread)}


def _misfit(log: MotionLog, joint: int, shift_s: float) -> float:
    """Return the variance of the measured joint around the command `shift_s` before."""
    inside = log.received_s > log.sent_s[0] + MAX_DELAY_S
    commanded = np.interp(log.received_s[inside] - shift_s, log.sent_s, log.sent_rad[:, joint])
    return float(np.var(log.joints_rad[inside, joint] - commanded))


def _best_shift(misfit) -> float:
    """Return the minimum of `misfit` between -20 ms and MAX_DELAY_S."""
    grid = np.arange(-0.02, MAX_DELAY_S, GRID_S)
    best = grid[int(np.argmin([misfit(shift_s) for shift_s in grid]))]
    found: Any = minimize_scalar(misfit, bounds=(best - GRID_S, best + GRID_S), method="bounded")
    return float(found.x)
