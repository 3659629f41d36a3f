"""A leader arm without hardware for LeRobot's programs: J1 swings about the FR3's home pose, the gripper stays open."""

import time
from dataclasses import dataclass

import numpy as np
from lerobot.teleoperators import Teleoperator, TeleoperatorConfig  # pyright: ignore[reportMissingImports]

from sim.robots.fairino_fr3 import fairino_fr3

ROBOT = fairino_fr3()
AMPLITUDE_RAD, SPEED_RAD_S = 0.1, 1.0


@TeleoperatorConfig.register_subclass("swing")
@dataclass(kw_only=True)
class SwingConfig(TeleoperatorConfig):
    pass


class Swing(Teleoperator):
    config_class, name = SwingConfig, "swing"

    def __init__(self, config: SwingConfig):
        super().__init__(config)
        self._begun_s: float | None = None
        self.is_open = False

    action_features = property(lambda self: dict.fromkeys(ROBOT.value_names, float))
    feedback_features = property(lambda self: {})
    is_connected = property(lambda self: self.is_open)
    is_calibrated = property(lambda self: True)

    def connect(self, calibrate: bool = True) -> None:
        self.is_open = True

    def calibrate(self) -> None:
        pass

    def configure(self) -> None:
        pass

    def get_action(self) -> dict:
        self._begun_s = self._begun_s or time.monotonic()
        values = np.array([*ROBOT.home_rad, 1.0])
        values[0] += AMPLITUDE_RAD * np.sin(SPEED_RAD_S / AMPLITUDE_RAD * (time.monotonic() - self._begun_s))
        return dict(zip(ROBOT.value_names, map(float, values), strict=True))

    def send_feedback(self, feedback: dict) -> None:
        pass

    def disconnect(self) -> None:
        self.is_open = False
