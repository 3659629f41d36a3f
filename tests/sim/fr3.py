"""The FAIRINO FR3 and its periods, for tests that are about this arm."""

import pytest

from sim.robots.fairino_fr3 import SERVO_PERIOD_S, fairino_fr3
from sim.robots.robot import RobotConfig

FR3 = fairino_fr3()
CONTROL_PERIOD_S = FR3.control_period_s
FPS = FR3.control_hz
OTHER_ROBOTS = pytest.mark.parametrize(  # and what refuses a policy of the FR3 for them
    ("robot", "message"),
    [
        (RobotConfig(control_hz=25), "made with fairino_fr3 at 20 Hz, this is fairino_fr3 at 25 Hz"),
        (RobotConfig("franka", control_hz=20), "made with fairino_fr3 at 20 Hz, this is franka at 20 Hz"),
    ],
)

__all__ = ["CONTROL_PERIOD_S", "FPS", "FR3", "OTHER_ROBOTS", "SERVO_PERIOD_S"]
