"""The FR3 as LeRobot's Robot: absolute joint targets at any rate, through motion guard and servo stream."""

import contextlib
import logging
import time
from typing import cast

import numpy as np
from lerobot.robots import Robot  # pyright: ignore[reportMissingImports]

from lerobot_robot_fairino_fr3.config_fairino_fr3 import FairinoFR3Config
from lerobot_robot_fairino_fr3.paced_motion import PacedMotion
from real.core.checks import refuse_unfit, report
from real.core.faults import RobotUnreachable
from real.core.priority import raised_priority
from real.fairino.driver import FairinoDriver
from real.parity.preflight import robot_checks
from real.workcell.connect import open_robot
from real.workcell.env import RobotEnv
from sim.core.contract import Observation, check_action
from sim.core.errors import UserError
from sim.core.signals import end_on_signals
from sim.robots.fairino_fr3 import fairino_fr3

logger = logging.getLogger(__name__)

ROBOT = fairino_fr3()
PATIENCE_S = 2.0  # for state and images after a pause in which the machine was busy
RETRY_S = 0.02


class FairinoFR3(Robot):
    """One arm, or its emulator. Values: rad, gripper 0 closed .. 1 open; pictures uint8 RGB."""

    config_class = FairinoFR3Config
    name = "fairino_fr3"

    def __init__(self, config: FairinoFR3Config):
        super().__init__(config)
        self.config = config
        self._opened = contextlib.ExitStack()
        self._env: RobotEnv | None = None
        self._motion: PacedMotion | None = None
        self._heard_s = self._lag_s = 0.0  # when LeRobot called last, and how old what it read was then

    @property
    def cameras(self) -> tuple[str, ...]:
        """LeRobot counts them."""
        return ROBOT.camera_names

    @property
    def observation_features(self) -> dict:
        picture = (self.config.image_height, self.config.image_width, 3)
        return {**self.action_features, **dict.fromkeys(ROBOT.camera_names, picture)}

    @property
    def action_features(self) -> dict:
        return dict.fromkeys(ROBOT.value_names, float)

    @property
    def is_connected(self) -> bool:
        return self._env is not None

    @property
    def is_calibrated(self) -> bool:
        """The controller knows its zeros."""
        return True

    def calibrate(self) -> None:
        pass

    def configure(self) -> None:
        pass

    def connect(self, calibrate: bool = True) -> None:  # noqa: FBT001, FBT002
        """Switch the drives on; nothing moves before the first action. UserError when not fit to move.

        From here on a lost session ends LeRobot's program as Ctrl-C does, which disconnects: else it would leave the
        arm in servo mode.
        """
        if self.is_connected:
            raise UserError(f"{self} is connected already")
        end_on_signals()
        size = (self.config.image_height, self.config.image_width)
        with raised_priority(), contextlib.ExitStack() as opened:
            env = opened.enter_context(open_robot(self.config.session(), size))
            checks = robot_checks(env)
            logger.info("%s", report(checks))
            refuse_unfit(checks)
            driver = cast(FairinoDriver, env.driver)
            driver.power_on(self.config.speed_percent)
            if self.config.kind == "emulator":  # some real grippers travel their whole stroke on it: a person does that
                driver.gripper.activate()
            env.driver.settle()
            self._motion = PacedMotion(env)
            self._motion.start()
            self._heard_s = time.monotonic()
            self._opened, self._env = opened.pop_all(), env

    def get_observation(self) -> dict:
        """Return what is measured now. RobotFault or RobotUnreachable when the arm stopped or does not answer."""
        env, motion = self._connected()
        motion.raise_error()
        seen = _look(env, motion)
        self._heard_s = time.monotonic()
        self._lag_s = self._heard_s - seen.stamp_s
        return {**_named(seen.state), **seen.images}

    def send_action(self, action: dict) -> dict:
        """Move towards it; returns what the motion guard let through last.

        UserError once the guard has latched, and for an action later than `max_answer_s` after the observation, or
        where there was none the action, before it.
        """
        _, motion = self._connected()
        if missing := set(ROBOT.value_names) - set(action):
            raise UserError(f"the action lacks {', '.join(sorted(missing))}")
        requested = check_action(np.array([action[name] for name in ROBOT.value_names]), ROBOT.action_dim)
        answered_s = time.monotonic() - self._heard_s
        if answered_s > self.config.max_answer_s:
            motion.stop()
            raise UserError(
                f"stale observation: the action comes {answered_s:.2f} s after it, "
                f"max_answer_s={self.config.max_answer_s:g}; the arm was stopped"
            )
        sent = motion.send(requested, self._lag_s)
        self._heard_s, self._lag_s = time.monotonic(), 0.0
        return _named(sent)

    def disconnect(self) -> None:
        """Slow the arm to rest and leave servo mode."""
        _, motion = self._connected()
        self._env = self._motion = None
        with self._opened:
            motion.stop()

    def _connected(self) -> tuple[RobotEnv, PacedMotion]:
        if self._env is None or self._motion is None:
            raise UserError(f"{self} is not connected")
        return self._env, self._motion


def _look(env: RobotEnv, motion: PacedMotion) -> Observation:
    """Return what is seen now; after a pause of the arm once state and images are there again."""
    until_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            env.driver.raise_fault()
            return env.capture()
        except RobotUnreachable:
            if not motion.rests or time.monotonic() > until_s:
                raise
        time.sleep(RETRY_S)


def _named(values: np.ndarray) -> dict:
    return dict(zip(ROBOT.value_names, map(float, values), strict=True))
