"""The embodiment as data: every constant of an arm once, with unit and source.

    @ROBOTS.register("my_arm")
    def my_arm() -> Robot: ...

Nothing else knows how many joints there are, how the cameras are named or how fast the arm is controlled. A new robot
is one description, its MJCF and, for hardware, a driver (`real.core.robot_driver`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sim.core.errors import UserError
from sim.core.options import Options, Registered, between, option
from sim.core.registry import Registry

STATE_MARGIN = 0.1  # rad; for the gripper, of its opening
MAX_CONTROL_HZ = 250


@dataclass(frozen=True)
class FixedCamera:
    """A camera that stands on the bench; positions in the base frame, m."""

    name: str
    pos_m: tuple[float, float, float]
    lookat_m: tuple[float, float, float]
    fovy_deg: float


@dataclass(frozen=True)
class WristCamera:
    """A camera on the gripper; the MJCF has it, by this name, with its mount and field of view."""

    name: str


Camera = FixedCamera | WristCamera


@dataclass(frozen=True)
class Robot:
    """One arm with a parallel jaw. Arrays have one entry per joint.

    The MJCF holds the arm at the origin of the base frame (on the table, z up, the work space over -x) and names: the
    body `base` that is the arm's foot; joints and position actuators as in `joint_names`; the body `gripper`, its
    slide joints `finger_left` and `finger_right`, the actuator `gripper`, the geoms `pad_*`; the site `tcp` between the
    pads (z out of the hand, y the direction in which the fingers open); the wrist cameras.
    """

    name: str
    mjcf: Path
    joint_names: tuple[str, ...]
    position_min_rad: tuple[float, ...]
    position_max_rad: tuple[float, ...]
    max_speed_rad_s: tuple[float, ...]  # what the hardware can do
    policy_speed_rad_s: float  # what a policy is allowed
    policy_accel_rad_s2: float
    policy_jerk_rad_s3: float
    homing_speed_rad_s: float  # of the fastest joint on the way to a start pose
    stop_distance_rad: tuple[float, ...]  # travelled after a stop at full speed
    max_step_rad: float  # a target further than this from the arm is a jump, not a motion
    home_rad: tuple[float, ...]
    dh_m: tuple[tuple[float, float, float], ...]  # a and d in m, alpha in rad, a row a joint (`sim.control.dh`)
    tcp_from_flange_m: tuple[float, float, float]
    gripper_kg: float  # with its fingers: what the controller is to be told of its load
    gripper_stroke_m: float
    gripper_force_n: float  # of a finger at its highest current
    gripper_speed_per_s: float  # openings per second
    cameras: tuple[Camera, ...]
    servo_period_s: float  # between two commands to the controller
    control_hz: int = 20  # actions of a policy per second
    mount_m: tuple[float, float, float] = (0.0, 0.0, 0.0)  # of the DH table's first frame, in the base frame
    mount_yaw_rad: float = 0.0
    posture_rad: float = float(np.pi / 2)  # of any joint but the last from home: beyond, another elbow or shoulder

    def __post_init__(self) -> None:
        if not 1 <= self.control_hz <= MAX_CONTROL_HZ or self.control_period_s < self.servo_period_s:
            most = min(MAX_CONTROL_HZ, int(1 / self.servo_period_s))
            raise UserError(f"robot.control_hz={self.control_hz}: expected 1 to {most} of {self.name}")

    @property
    def joints(self) -> int:
        return len(self.joint_names)

    @property
    def action_dim(self) -> int:
        return self.joints + 1

    @property
    def value_names(self) -> tuple[str, ...]:
        """Return the names of the values of state and action (D,), as LeRobot's robots name theirs."""
        return tuple(f"{name}.pos" for name in (*self.joint_names, "gripper"))

    @property
    def camera_names(self) -> tuple[str, ...]:
        return tuple(camera.name for camera in self.cameras)

    @property
    def fixed_cameras(self) -> tuple[FixedCamera, ...]:
        return tuple(camera for camera in self.cameras if isinstance(camera, FixedCamera))

    @property
    def wrist_cameras(self) -> tuple[WristCamera, ...]:
        return tuple(camera for camera in self.cameras if isinstance(camera, WristCamera))

    @property
    def control_period_s(self) -> float:
        """Return the time between two actions of a policy."""
        return 1 / self.control_hz

    @property
    def stream_accel_rad_s2(self) -> float:
        """Return the acceleration that a stream of policy targets may have, differences of differences.

        From one period to the next it may turn into its opposite, which must not break the jerk limit.
        """
        return min(self.policy_accel_rad_s2, self.policy_jerk_rad_s3 * self.control_period_s / 2)

    @property
    def mount(self) -> np.ndarray:
        """Return the pose (4, 4) of the DH table's first frame in the base frame."""
        pose, (c, s) = np.eye(4), (np.cos(self.mount_yaw_rad), np.sin(self.mount_yaw_rad))
        pose[:2, :2], pose[:3, 3] = [[c, -s], [s, c]], self.mount_m
        return pose

    @property
    def action_min(self) -> np.ndarray:
        """(D,) lowest action: joint limits in rad, then the closed gripper."""
        return np.array([*self.position_min_rad, 0.0], np.float32)

    @property
    def action_max(self) -> np.ndarray:
        """(D,) highest action: joint limits in rad, then the open gripper."""
        return np.array([*self.position_max_rad, 1.0], np.float32)

    @property
    def state_min(self) -> np.ndarray:
        """(D,) lowest state an observation space holds: a little beyond the limits, where an arm may be found."""
        return self.action_min - STATE_MARGIN

    @property
    def state_max(self) -> np.ndarray:
        """(D,) highest state an observation space holds."""
        return self.action_max + STATE_MARGIN

    def slowed(self, percent: int) -> "Robot":
        """Return the same arm moved at `percent` of its speeds; it accelerates and stops in the same time."""
        share = percent / 100
        return replace(
            self,
            policy_speed_rad_s=self.policy_speed_rad_s * share,
            policy_accel_rad_s2=self.policy_accel_rad_s2 * share,
            policy_jerk_rad_s3=self.policy_jerk_rad_s3 * share,
            homing_speed_rad_s=self.homing_speed_rad_s * share,
        )

    def check_same(self, name: str, control_hz: float, whose: str) -> None:
        """Raise UserError unless `whose` data or policy, made with robot `name` at `control_hz`, fits this robot."""
        if (name, control_hz) != (self.name, self.control_hz):
            raise UserError(
                f"{whose} was made with {name} at {control_hz:g} Hz, this is {self.name} at {self.control_hz} Hz; "
                f"robot={name} robot.control_hz={control_hz:g} takes it"
            )


ROBOTS: Registry[Callable[[], Robot]] = Registry("robot", "sim.robots")


@dataclass(frozen=True)
class RobotConfig(Options):
    """Which robot; `robot=NAME` takes any that is registered."""

    name: str = option("fairino_fr3", "any that is registered", Registered(ROBOTS))
    control_hz: int | None = option(
        None, "actions of a policy per second; null: as the robot is described, 20", between(1, MAX_CONTROL_HZ)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.load()  # its errors are errors here

    @classmethod
    def choices(cls) -> dict[str, dict[str, str]]:
        """Return what hydra's group `robot` offers besides its files."""
        return {name: {"name": name} for name in ROBOTS.names()}

    def load(self) -> Robot:
        """Return the description. UserError for an unknown name or a rate that the robot cannot take."""
        robot = ROBOTS.get(self.name)()
        return robot if self.control_hz is None else replace(robot, control_hz=self.control_hz)


def degrees(*angles: float) -> tuple[float, ...]:
    """Return angles in degrees as rad."""
    return tuple(np.deg2rad(angles).tolist())
