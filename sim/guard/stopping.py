"""How far an arm travels before it stands, and along which ways: what the guard must keep free.

Two stops are reckoned with. A controlled stop keeps the direction of travel: the guard's own, the
servo's when the policy falls silent. In an emergency or safety stop of the controller every joint
brakes by itself. Both are given the longer of the servo's distance and the data sheet's.
"""

import numpy as np

from sim.robots.robot import Robot

EMERGENCY_POINTS = 4  # of the bent way of an emergency stop
SLOW_SHARE = 0.1  # of the fastest joint's speed


def servo_stop_rad(robot: Robot, speed_rad_s: np.ndarray) -> np.ndarray:
    """Return how far beyond its last target the servo layer may bring each joint to rest, (joints,) from (joints,)
    speeds.

    v^2/2a + va/2j, or v sqrt(v/j) where the jerk limit alone decides (S-curve), and one servo period until the
    silence is noticed.
    """
    speed, a, j = np.abs(speed_rad_s), robot.policy_accel_rad_s2, robot.policy_jerk_rad_s3
    braking = np.where(speed > a * a / j, speed * speed / (2 * a) + speed * a / (2 * j), speed * np.sqrt(speed / j))
    return braking + speed * robot.servo_period_s


def stop_rad(robot: Robot, speed_rad_s: np.ndarray) -> np.ndarray:
    """Return (joints,) distance to rest of each joint from (joints,) speeds: the servo's or the data sheet's, the
    longer.

    The data sheet gives distances from full speed; braking torque is bounded, so they go with the square.
    """
    share = speed_rad_s / np.array(robot.max_speed_rad_s)
    return np.maximum(servo_stop_rad(robot, speed_rad_s), np.array(robot.stop_distance_rad) * share * share)


def stopping_ways(robot: Robot, position_rad: np.ndarray, step_rad: np.ndarray) -> list[np.ndarray]:
    """Return ways (n, joints) that begin at `position_rad`, reached with `step_rad` a control period, and
    end at rest."""
    speed = step_rad / robot.control_period_s
    fastest = np.abs(speed).max()
    if fastest < 1e-9:
        return []
    distance = stop_rad(robot, speed)
    # Together the joints need the time of the one that brakes worst; slow joints do not decide.
    lasts_s = (distance / np.maximum(np.abs(speed), SLOW_SHARE * fastest)).max()
    return [
        np.stack([position_rad, position_rad + speed * lasts_s]),
        position_rad + np.sign(speed) * _braking(np.abs(speed), distance),
    ]


def _braking(speed_rad_s: np.ndarray, distance_rad: np.ndarray) -> np.ndarray:
    """Return (n, joints) travelled when each joint brakes evenly over its distance, from the start to the last one's
    rest."""
    took_s = 2 * distance_rad / np.maximum(speed_rad_s, 1e-9)
    time_s = np.arange(EMERGENCY_POINTS + 1)[:, None] * (took_s.max() / EMERGENCY_POINTS)
    left = np.maximum(1 - time_s / np.maximum(took_s, 1e-9), 0)
    return distance_rad * (1 - left * left)
