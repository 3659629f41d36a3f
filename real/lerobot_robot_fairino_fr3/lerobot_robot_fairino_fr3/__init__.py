"""LeRobot's plugin for the FAIRINO FR3: importing it registers the robot and the environment."""

from lerobot_robot_fairino_fr3.config_fairino_fr3 import FairinoFR3Config
from lerobot_robot_fairino_fr3.config_fairino_fr3_env import FairinoFR3Env
from lerobot_robot_fairino_fr3.fairino_fr3 import FairinoFR3

__all__ = ["FairinoFR3", "FairinoFR3Config", "FairinoFR3Env"]
