"""Excitation that identifies the arm's dynamics: joint targets at the policy's rate, within the motion guard's limits.

Every joint moves as a sum of three sines: slow and wide for friction and weight, fast and small for inertia and gain.
No two joints share a frequency, so that the effects of one on another can be separated.
"""

import numpy as np

from sim.robots.robot import Robot

# Amplitude in rad and lowest and highest frequency in Hz of each sine; speeds add up to 0.65 rad/s at most.
SINES = ((0.22, 0.08, 0.16), (0.06, 0.35, 0.65), (0.012, 1.2, 1.8))
RAMP_S = 1.0


def multisine(robot: Robot, centre_rad: np.ndarray, length_s: float, seed: int) -> np.ndarray:
    """Return targets (T, joints) rad, a target a control period, that begin and end at rest at `centre_rad`."""
    rng = np.random.default_rng(seed)
    period_s = robot.control_period_s
    at_s = np.arange(1, round(length_s / period_s) + 1) * period_s
    ramp = np.clip(np.minimum(at_s, length_s - at_s) / RAMP_S, 0.0, 1.0)
    swell = ramp * ramp * (3 - 2 * ramp)
    swing = np.zeros((len(at_s), robot.joints))
    for amplitude_rad, low_hz, high_hz in SINES:
        hz = rng.permutation(np.linspace(low_hz, high_hz, robot.joints))
        phase = rng.uniform(0, 2 * np.pi, robot.joints)
        swing += amplitude_rad * np.sin(2 * np.pi * hz * at_s[:, None] + phase)
    return centre_rad + swell[:, None] * swing
