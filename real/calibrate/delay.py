"""Delays and the gripper's travel, from what was logged.

A camera's delay comes from a swing to and fro: on the same path, late pictures show another place going than coming.
The delay is the shift in time that makes the picture a function of the place again.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from real.calibrate.log import MotionLog
from real.calibrate.posterior import Estimate
from real.cameras.camera import Frame
from sim.core.errors import UserError

MAX_DELAY_S = 0.25
GRID_S = 0.005
BUMPS = 6  # degree of the polynomial from place to picture
VIEWS = 3  # principal components of the pictures
RESAMPLES = 40
MIN_FRAMES = 40
TRAVEL_SHARE = (0.15, 0.85)  # of the stroke, where the fingers move evenly


def tracking_delay_s(log: MotionLog, joint: int) -> float:
    """How late a moving joint follows its commands, s: network, controller and drive together."""
    return _best_shift(lambda shift_s: _misfit(log, joint, shift_s))


def camera_delay(frames: Sequence[Frame], log: MotionLog, joint: int, rng: np.random.Generator) -> Estimate:
    """How long before its stamp a picture was taken, s, from frames seen while `joint` swung to and fro.

    The spread is that of RESAMPLES bootstrap samples. UserError with too few pictures, or when none changes.
    """
    shown, stamps_s = _views(frames), np.array([frame.stamp_s for frame in frames])

    def delay_s(chosen: np.ndarray) -> float:
        def misfit(shift_s: float) -> float:
            place = np.interp(stamps_s[chosen] - shift_s, log.received_s, log.joints_rad[:, joint])
            place = 2 * (place - place.min()) / max(float(np.ptp(place)), 1e-9) - 1
            basis = np.polynomial.chebyshev.chebvander(place, BUMPS)
            left = shown[chosen] - basis @ np.linalg.lstsq(basis, shown[chosen], rcond=None)[0]
            return float((left * left).mean())

        return _best_shift(misfit)

    everything = np.arange(len(frames))
    samples = [delay_s(rng.choice(everything, len(frames))) for _ in range(RESAMPLES)]
    return Estimate(delay_s(everything), float(np.std(samples)))


def _views(frames: Sequence[Frame]) -> np.ndarray:
    """(n, VIEWS) what changes most in the pictures, in units of its own spread."""
    if len(frames) < MIN_FRAMES:
        raise UserError(f"{len(frames)} pictures while the arm swung, expected at least {MIN_FRAMES}")
    pixels = np.stack([frame.image for frame in frames]).reshape(len(frames), -1).astype(np.float32)
    pixels -= pixels.mean(axis=0)
    left, scale, _ = np.linalg.svd(pixels @ pixels.T, hermitian=True)
    if scale[0] < 1.0:
        raise UserError("the pictures do not change while the arm swings; is the camera covered?")
    return left[:, :VIEWS] * np.sqrt(scale[:VIEWS] / scale[0])


def gripper_travel(log: MotionLog) -> dict[str, Estimate]:
    """Ends (openings 0..1) and speed (openings a second, mean and spread) of a gripper that closed and opened.

    UserError when it did not move, or not both ways.
    """
    closed, opened = float(log.opening.min()), float(log.opening.max())
    if opened - closed < 0.2:
        raise UserError(f"the gripper went from {opened:.2f} to {closed:.2f} only; is something between its fingers?")
    low, high = (closed + share * (opened - closed) for share in TRAVEL_SHARE)
    inside = (log.opening > low) & (log.opening < high)
    ways = np.split(np.flatnonzero(inside), np.flatnonzero(np.diff(np.flatnonzero(inside)) > 1) + 1)
    speeds = [abs(np.polyfit(log.received_s[way], log.opening[way], 1)[0]) for way in ways if len(way) > 4]
    if len(speeds) < 2:
        raise UserError("the gripper did not close and open again")
    spread = float(np.std(speeds, ddof=1))
    # Openings are told in percent: a position is known to a third of that.
    ends = {name: Estimate(end, 0.003) for name, end in (("gripper_closed", closed), ("gripper_open", opened))}
    return {**ends, "gripper_speed_per_s": Estimate(float(np.mean(speeds)), spread)}


def _misfit(log: MotionLog, joint: int, shift_s: float) -> float:
    """How far the measured joint is from what was commanded `shift_s` before, but for a constant."""
    inside = log.received_s > log.sent_s[0] + MAX_DELAY_S
    commanded = np.interp(log.received_s[inside] - shift_s, log.sent_s, log.sent_rad[:, joint])
    return float(np.var(log.joints_rad[inside, joint] - commanded))


def _best_shift(misfit) -> float:
    """Where `misfit` is least between -20 ms and MAX_DELAY_S."""
    grid = np.arange(-0.02, MAX_DELAY_S, GRID_S)
    best = grid[int(np.argmin([misfit(shift_s) for shift_s in grid]))]
    found: Any = minimize_scalar(misfit, bounds=(best - GRID_S, best + GRID_S), method="bounded")
    return float(found.x)
