"""LeRobot's plugin for the FAIRINO FR3: importing it registers the robot, the environment and the policy."""

from lerobot_robot_fairino_fr3.config_fairino_fr3 import FairinoFR3Config
from lerobot_robot_fairino_fr3.config_fairino_fr3_env import FairinoFR3Env
from lerobot_robot_fairino_fr3.configuration_fr3_vla import FR3VLAConfig
from lerobot_robot_fairino_fr3.fairino_fr3 import FairinoFR3

__all__ = ["FR3VLAConfig", "FairinoFR3", "FairinoFR3Config", "FairinoFR3Env"]
