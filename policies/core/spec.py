"""What a policy is made for, from a dataset or a robot description, and what it looks at."""

from dataclasses import dataclass
from typing import Self

from sim.core.contract import GROUNDING_COLUMNS
from sim.core.errors import UserError
from sim.robots.robot import Robot


@dataclass(frozen=True)
class PolicySpec:
    """The robot, names and dimensions that a policy is made for."""

    robot: str
    cameras: tuple[str, ...]
    image_size: tuple[int, int]  # height and width, px
    state_dim: int
    action_dim: int
    points: tuple[str, ...]  # columns of grounded points, ground truth in m
    control_hz: int = 20  # actions a second

    @classmethod
    def of(cls, robot: Robot, image_size: tuple[int, int]) -> Self:
        """Return what a policy for simulated episodes of a robot is made for; image_size: height and width, px."""
        dims = (robot.action_dim, robot.action_dim)
        return cls(robot.name, robot.camera_names, image_size, *dims, GROUNDING_COLUMNS, robot.control_hz)


@dataclass(frozen=True)
class Needs:
    """What a policy looks at besides the state."""

    images: bool = False
    instruction: bool = False
    ground_truth: bool = False  # the simulator's grounded points: there is none on hardware
    touch: bool = False  # what the tool feels: gripper force, and the world's force and torque
    depth: bool = False  # what every camera measures of it
    goal: bool = False  # a picture of what it is to look like in the end

    @property
    def cameras(self) -> bool:
        """Whether it looks through cameras, at what they show or at what they measure."""
        return self.images or self.depth


def check_depth_is_drawn(needs: Needs, *, drawn: bool) -> None:
    """UserError where a policy needs depth and the simulation that it is to play in measures none."""
    if needs.depth and not drawn:
        raise UserError("policy.depth=true render.depth=false: expected render.depth=true, as the policy acts on depth")
