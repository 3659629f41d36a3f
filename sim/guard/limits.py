"""Speed, acceleration and range of a stream of joint targets, one target a period.

Of every stream that is requested, the nearest is made whose first and second differences stay within
the limits and from whose every target the arm can still brake before the end of a joint's range.
A stream that keeps the limits passes bit for bit. The third difference needs no rule of its own: two
accelerations within a differ by at most 2a in a period, and `Robot.stream_accel_rad_s2` is small enough for that.
"""

import numpy as np

from sim.robots.robot import Robot

# Inside the limits by this share, so that rounding a target to float32 (2e-7 rad) never leaves them.
ROUNDING = 1e-3


class MotionLimits:
    """The state of one stream: where it is and its last step. Arrays (joints,), rad and rad a period."""

    def __init__(self, robot: Robot):
        period_s = robot.control_period_s
        self._low, self._high = np.array(robot.position_min_rad), np.array(robot.position_max_rad)
        self._top = robot.policy_speed_rad_s * period_s * (1 - ROUNDING)
        self._change = robot.stream_accel_rad_s2 * period_s**2 * (1 - ROUNDING)
        self._brake = self._change * (1 - ROUNDING)  # planned with, so that what is needed is always allowed
        self.reset(np.zeros(robot.joints))

    def reset(self, position_rad: np.ndarray) -> None:
        """Begin at rest at `position_rad`; where that is out of range, it may stay so far out and come back."""
        self.position = np.array(position_rad, float)
        self.step = np.zeros_like(self.position)
        self._requested = self.position.copy()
        self.low, self.high = np.minimum(self._low, self.position), np.maximum(self._high, self.position)

    def next(self, requested: np.ndarray) -> tuple[np.ndarray, str]:
        """Return the target allowed for `requested` (in range), and what limited it: "speed", "acceleration", ""."""
        wanted = requested - self.position
        ends = self._ends()
        low, high = self._allowed(ends)
        pace = _within(requested - self._requested, -self._top, self._top)
        behind = wanted - pace
        self._requested = requested.copy()
        if (wanted >= low).all() and (wanted <= high).all() and np.abs(behind).max() <= self._brake:
            return requested, ""
        reason = "speed" if np.abs(wanted).max() > self._top else "acceleration"
        # Go on at the pace of what is requested and make up for the delay as fast as can be braked again.
        step = pace + np.sign(behind) * self._fastest(np.abs(behind))
        step *= min(1.0, self._top / max(np.abs(step).max(), self._top))
        return self.position + self._scaled(_within(step, *ends), low, high), reason

    def braking(self) -> np.ndarray:
        """Return the next target on the way to rest, all joints together along their path."""
        rest = 1 - min(1.0, self._brake / max(np.abs(self.step).max(), self._brake))
        return self.position + _within(self.step * rest, *self._allowed(self._ends()))

    def commit(self, position_rad: np.ndarray) -> None:
        """Note that `position_rad` was sent."""
        self.step = np.asarray(position_rad, float) - self.position
        self.position = np.array(position_rad, float)

    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and highest step (joints,) that speed and the ends of the range allow."""
        room = np.stack([self.position - self.low, self.high - self.position])
        down, up = np.minimum(self._fastest(room), self._top)
        return -down, up

    def _allowed(self, ends: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and highest next step (joints,), the acceleration considered."""
        high = np.minimum(self.step + self._change, ends[1])
        return np.minimum(np.maximum(self.step - self._change, ends[0]), high), high

    def _fastest(self, distance: np.ndarray) -> np.ndarray:
        """Return the largest first step of a motion that ends at rest after `distance` >= 0, braking every period.

        In units of the change b a period allows: steps u, u-1, ... sum to (n+1) u - n(n+1)/2, n = floor(u).
        """
        units = np.maximum(distance, 0.0) / self._brake
        n = np.floor((np.sqrt(1 + 8 * units) - 1) / 2)
        return self._brake * (units / (n + 1) + n / 2)

    def _scaled(self, step: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return as far from the present step towards `step` as is allowed, all joints by one share."""
        here = _within(self.step, low, high)
        change = step - here
        room = np.where(change > 0, high - here, here - low)
        moves = np.abs(change) > 1e-12
        share = min(1.0, float(np.divide(room, np.abs(change), out=np.ones_like(room), where=moves).min()))
        return _within(here + share * change, low, high)


def _within(values: np.ndarray, low: np.ndarray | float, high: np.ndarray | float) -> np.ndarray:
    """Clip as np.clip, which takes three times as long on six numbers."""
    return np.minimum(np.maximum(values, low), high)
