"""The FAIRINO FR3 and its periods, for tests that are about this arm."""

from sim.robots.fairino_fr3 import SERVO_PERIOD_S, fairino_fr3

FR3 = fairino_fr3()
CONTROL_PERIOD_S = FR3.control_period_s
FPS = FR3.control_hz

__all__ = ["CONTROL_PERIOD_S", "FPS", "FR3", "SERVO_PERIOD_S"]
