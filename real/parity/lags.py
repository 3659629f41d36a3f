"""By how many frames the measured joints lag behind the commanded ones."""

from collections.abc import Sequence

import numpy as np

from real.parity.recording import Trajectory
from sim.control.servo import Servo
from sim.robots.robot import Robot

LAGS = np.arange(-2, 9)  # policy periods that are tried


def lag_periods(joint_state: np.ndarray, joint_action: np.ndarray) -> float:
    """Return the frames by which the measured joints (T, J) lag behind the commanded ones: where their speeds correlate
    best, by a parabola through the maximum; nan where nothing moves."""
    state, action = np.diff(joint_state, axis=0), np.diff(joint_action, axis=0)
    if len(action) < 2 * len(LAGS) or np.abs(action).sum() == 0 or np.abs(state).sum() == 0:
        return np.nan
    scores = np.array([_agreement(state, action, int(lag)) for lag in LAGS])
    best = int(np.argmax(scores))
    if not 0 < best < len(LAGS) - 1:
        return float(LAGS[best])
    left, top, right = scores[best - 1 : best + 2]
    bend = left - 2 * top + right
    return float(LAGS[best] + (0.5 * (left - right) / bend if bend < 0 else 0.0))


def _agreement(state: np.ndarray, action: np.ndarray, lag: int) -> float:
    """Return the correlation of absolute speeds, so that a wrong sign or unit of a joint does not hide the lag."""
    late, early = shifted(state, action, lag)
    late, early = np.abs(late), np.abs(early)
    norm = np.linalg.norm(late, axis=0) * np.linalg.norm(early, axis=0)
    products = (late * early).sum(axis=0)
    return float(np.sum(products[norm > 0] / norm[norm > 0]))


def shifted(state: np.ndarray, action: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of both that belong together: the state `lag` frames after each action."""
    end = min(len(state), len(action))
    if lag >= 0:
        return state[lag:end], action[: max(end - lag, 0)]
    return state[: max(end + lag, 0)], action[-lag:end]


def servo_path(action: np.ndarray, start: np.ndarray, robot: Robot) -> np.ndarray:
    """Return where the servo stream is at the end of each period (T, joints), given `action` (T, joints) from rest at
    `start` (joints,)."""
    servo, ticks, path = Servo(robot), 0, np.empty_like(action)
    servo.reset(start)
    for t, target in enumerate(action):
        servo.set_target(target)
        due = round((t + 1) * robot.control_period_s / robot.servo_period_s)
        for _ in range(due - ticks):
            servo.tick()
        ticks, path[t] = due, servo.position_rad
    return path


def median_delay(trajectories: Sequence[Trajectory], robot: Robot) -> float:
    """Return the frames by which the joints lag behind the servo stream's path; nan where nothing moves.

    Behind the actions themselves they lag by more where these are jerky, as at every chunk of a policy that begins
    where the arm was measured.
    """
    joints = [(one.state[:, :-1].astype(float), one.action[:, :-1].astype(float)) for one in trajectories]
    return _median([lag_periods(state, servo_path(action, state[0], robot)) for state, action in joints])


def median_lag(trajectories: Sequence[Trajectory]) -> float:
    """Return the frames by which the joints lag behind the actions, the median; nan where nothing moves in any."""
    return _median(
        [lag_periods(one.state[:, :-1].astype(float), one.action[:, :-1].astype(float)) for one in trajectories]
    )


def _median(lags: Sequence[float]) -> float:
    known = [lag for lag in lags if np.isfinite(lag)]
    return float(np.median(known)) if known else np.nan
