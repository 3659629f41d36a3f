"""The servo layer between policy targets and the arm: one code for simulation and robot.

Every policy period a target arrives. Ruckig plans from the present commanded state to it, so that
it is reached at the period's end with the speed of travel, within speed, acceleration and jerk
limits; when no target follows, the arm is brought to rest along its path: no joint more than 0.095 rad
beyond the last target (from 70 deg/s, `sim.guard.stopping.servo_stop_rad`), the tool 8 cm where one joint swings
the arm at full stretch.

Ruckig itself knows no position limits, so a plan may swing over one. Therefore only states are
commanded from which every joint can still stop inside its range; where a plan would leave them,
the joints stop instead.
"""

import numpy as np
from ruckig import (
    ControlInterface,
    InputParameter,
    OutputParameter,
    Result,
    Ruckig,
    Synchronization,
    Trajectory,
)

from sim.robots.robot import Robot

# Nearer to a limit than this the stop is computed; at full policy speed it takes 0.085 rad.
STOP_MARGIN_RAD = 0.2
LIMIT_TOLERANCE_RAD = 1e-6


class Servo:
    """Jerk-limited interpolation of joint targets. All arrays (joints,), rad, rad/s, rad/s^2."""

    def __init__(self, robot: Robot):
        n = robot.joints
        self.period_s, self._control_period_s = robot.servo_period_s, robot.control_period_s
        self._speed = robot.policy_speed_rad_s
        self._low = [float(low) for low in robot.position_min_rad]  # lists: numpy is slower on six numbers
        self._high = [float(high) for high in robot.position_max_rad]
        self._otg, self._otg_brake = Ruckig(n, self.period_s), Ruckig(n, self.period_s)
        self._plan = InputParameter(n)
        self._out = OutputParameter(n)
        self._brake, self._brake_path = InputParameter(n), Trajectory(n)
        self._brake.control_interface = ControlInterface.Velocity
        self._brake.synchronization = Synchronization.No
        for limited in (self._plan, self._brake):
            limited.max_velocity = [robot.policy_speed_rad_s] * n
            limited.max_acceleration = [robot.policy_accel_rad_s2] * n
            limited.max_jerk = [robot.policy_jerk_rad_s3] * n
        self.reset(np.zeros(n))

    def reset(self, position_rad: np.ndarray) -> None:
        """Stand still at `position_rad`; nothing is commanded until the first target."""
        zeros = [0.0] * len(position_rad)
        self._plan.control_interface = ControlInterface.Position
        self._plan.current_position = list(map(float, position_rad))
        self._plan.current_velocity = zeros
        self._plan.current_acceleration = zeros
        self._plan.target_position = list(map(float, position_rad))
        self._plan.target_velocity = zeros
        self._plan.target_acceleration = zeros
        self._plan.minimum_duration = None
        self._plan.synchronization = Synchronization.Time
        # An arm that begins outside its range may stay there and come back, not go further out.
        self._stop_low = np.minimum(self._low, position_rad) - LIMIT_TOLERANCE_RAD
        self._stop_high = np.maximum(self._high, position_rad) + LIMIT_TOLERANCE_RAD
        self._free_low = (self._stop_low + STOP_MARGIN_RAD).tolist()
        self._free_high = (self._stop_high - STOP_MARGIN_RAD).tolist()
        self._last_target = list(map(float, position_rad))
        self._last_travel = zeros
        self._moving = False

    @property
    def position_rad(self) -> np.ndarray:
        return np.array(self._plan.current_position)

    @property
    def velocity_rad_s(self) -> np.ndarray:
        return np.array(self._plan.current_velocity)

    def set_target(self, position_rad: np.ndarray, duration_s: float | None = None) -> None:
        """Reach `position_rad` in `duration_s` (None: one control period), or as soon after as the limits allow.

        The arm arrives with the speed of travel, so that a stream of targets is one motion. That
        speed is extrapolated from the last two steps: a backward difference alone lags by half a
        period, which makes the plan swing around the path (20 mrad against 0.1 mrad on a sine).
        """
        fastest = 0.98 * self._speed
        joints = zip(np.asarray(position_rad, float).tolist(), self._low, self._high, strict=True)
        target = [min(max(position, low), high) for position, low, high in joints]
        travel = [(new - old) / self._control_period_s for new, old in zip(target, self._last_target, strict=True)]
        change = zip(travel, self._last_travel, strict=True)
        arrival = [min(max(1.5 * now - 0.5 * before, -fastest), fastest) for now, before in change]
        # At a joint limit the arm must arrive at rest, or it would leave the range.
        for i, (position, low, high) in enumerate(zip(target, self._low, self._high, strict=True)):
            if position <= low + 0.05 or position >= high - 0.05:
                arrival[i] = 0.0
        self._last_target, self._last_travel = target, travel
        self._plan.control_interface = ControlInterface.Position
        self._plan.synchronization = Synchronization.Time
        self._plan.target_position = target
        self._plan.target_velocity = arrival
        self._plan.minimum_duration = self._control_period_s if duration_s is None else duration_s
        self._moving = True

    def stop(self, *, keep_path: bool = True) -> None:
        """Come to rest as fast as the limits allow: all joints together, or each by itself."""
        self._plan.control_interface = ControlInterface.Velocity
        self._plan.synchronization = Synchronization.Time if keep_path else Synchronization.No
        self._plan.target_velocity = [0.0] * len(self._plan.target_velocity)
        self._plan.minimum_duration = None
        self._moving = True

    def tick(self) -> np.ndarray:
        """Return the next command, one period on, rad. Call it every `period_s`."""
        if not self._moving:
            return self.position_rad
        result = self._otg.update(self._plan, self._out)
        if result < 0 or not self._can_stop():
            self.stop(keep_path=False)
            result = self._otg.update(self._plan, self._out)
        if result < 0:
            raise RuntimeError(f"servo plan failed ({result}) towards {self._plan.target_position}")
        self._out.pass_to_input(self._plan)
        if result == Result.Finished:
            self._after_target()
        return self.position_rad

    def _can_stop(self) -> bool:
        """Return whether every joint, from the state planned next, can stop inside its range."""
        for position, low, high in zip(self._out.new_position, self._free_low, self._free_high, strict=True):
            if not low < position < high:
                break
        else:
            return True  # 30 times cheaper than the braking path of every tick
        # Counted from where each joint is: the extrema that ruckig gives of a stop always include 0.
        self._brake.current_position = [0.0] * len(self._out.new_position)
        self._brake.current_velocity = self._out.new_velocity
        self._brake.current_acceleration = self._out.new_acceleration
        if self._otg_brake.calculate(self._brake, self._brake_path) < 0:
            return False
        travel = zip(self._out.new_position, self._brake_path.position_extrema, strict=True)
        return all(
            low <= position + bound.min and position + bound.max <= high
            for (position, bound), low, high in zip(travel, self._stop_low, self._stop_high, strict=True)
        )

    def _after_target(self) -> None:
        if self._plan.control_interface == ControlInterface.Position and any(self._plan.target_velocity):
            self.stop()
        else:
            self._moving = False
