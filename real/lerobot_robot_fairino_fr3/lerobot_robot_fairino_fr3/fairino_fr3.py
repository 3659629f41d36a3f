"""The FR3 as LeRobot's Robot: absolute joint targets at the policy rate, through motion guard and servo stream."""

import contextlib
import dataclasses
import logging
import time
from functools import cached_property
from typing import cast

import numpy as np
from lerobot.robots import Robot  # pyright: ignore[reportMissingImports]

from lerobot_robot_fairino_fr3.config_fairino_fr3 import FairinoFR3Config
from real.core.checks import refuse_unfit, report
from real.fairino.driver import FairinoDriver
from real.parity.preflight import robot_checks
from real.workcell.connect import open_robot
from real.workcell.env import RobotEnv
from sim.core.contract import Observation, check_action
from sim.core.errors import UserError
from sim.guard.motion_guard import MotionGuard
from sim.robots.fairino_fr3 import fairino_fr3

logger = logging.getLogger(__name__)


ROBOT = fairino_fr3()


class FairinoFR3(Robot):
    """One arm, or its emulator. Values: rad, gripper 0 closed .. 1 open; pictures uint8 RGB."""

    config_class = FairinoFR3Config
    name = "fairino_fr3"

    def __init__(self, config: FairinoFR3Config):
        super().__init__(config)
        self.config = config
        self._opened = contextlib.ExitStack()
        self._env: RobotEnv | None = None
        self._guard: MotionGuard | None = None
        self._seen: Observation | None = None

    @cached_property
    def _values(self) -> tuple[str, ...]:
        return tuple(f"{name}.pos" for name in (*ROBOT.joint_names, "gripper"))

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
        return dict.fromkeys(self._values, float)

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
        """Switch the drives on and enter servo mode where the arm is; nothing moves. UserError when not fit to move."""
        if self.is_connected:
            raise UserError(f"{self} is connected already")
        size = (self.config.image_height, self.config.image_width)
        with contextlib.ExitStack() as opened:
            env = opened.enter_context(open_robot(self.config.session(), size))
            checks = robot_checks(env)
            logger.info("%s", report(checks))
            refuse_unfit(checks)
            driver = cast(FairinoDriver, env.driver)
            driver.power_on(self.config.speed_percent)
            if self.config.kind == "emulator":  # some real grippers travel their whole stroke on it: a person does that
                driver.gripper.activate()
            env.driver.settle()
            self._seen = env.capture()
            env.stream.start()
            self._guard = MotionGuard(env.robot, env.clearance)
            self._guard.reset(self._seen.state)
            self._opened, self._env = opened.pop_all(), env

    def get_observation(self) -> dict:
        """What is measured now. RobotFault or RobotUnreachable when the arm stopped or does not answer."""
        env = self._connected()
        if env.stream.error is not None:
            raise env.stream.error
        env.driver.raise_fault()
        self._seen = env.capture()
        values = (float(value) for value in self._seen.state)
        return {**dict(zip(self._values, values, strict=True)), **self._seen.images}

    def send_action(self, action: dict) -> dict:
        """Stream towards it; returns what the motion guard let through. UserError once the guard has latched, as by an
        action 0.25 s or more behind the observation it answers."""
        env = self._connected()
        if missing := set(self._values) - set(action):
            raise UserError(f"the action lacks {', '.join(sorted(missing))}")
        assert self._guard is not None and self._seen is not None  # as long as it is connected
        asked = check_action(np.array([action[name] for name in self._values]), ROBOT.action_dim)
        aged = dataclasses.replace(self._seen, age_s=time.monotonic() - self._seen.stamp_s)
        sent = self._guard.check(aged, asked)
        if self._guard.report.latched:
            env.stream.stop()
            raise UserError(
                f"the motion guard stopped the arm: {self._guard.report.latched}; disconnect and begin anew"
            )
        env.stream.set_target(sent[: ROBOT.joints])
        env.driver.gripper.move(float(sent[-1]))
        return dict(zip(self._values, (float(value) for value in sent), strict=True))

    def disconnect(self) -> None:
        """The arm slows to rest and leaves servo mode."""
        self._connected()
        self._env = self._guard = self._seen = None
        self._opened.close()

    def _connected(self) -> RobotEnv:
        if self._env is None:
            raise UserError(f"{self} is not connected")
        return self._env
