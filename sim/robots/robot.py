"""The embodiment as data: every robot constant once, with unit and source.

Nothing in `policies/` or `rl/` knows how many joints there are; a second arm is another
`Robot`, an MJCF and a driver.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sim.core.paths import ASSETS

STATE_MARGIN = 0.1  # rad; for the gripper, of its opening


@dataclass(frozen=True)
class Robot:
    """One arm with a gripper. Arrays have one entry per joint."""

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
    gripper_stroke_m: float
    gripper_speed_per_s: float  # openings per second
    cameras: tuple[str, ...]

    @property
    def joints(self) -> int:
        return len(self.joint_names)

    @property
    def action_dim(self) -> int:
        return self.joints + 1

    @property
    def action_min(self) -> np.ndarray:
        """(D,) lowest action: joint limits in rad, then the closed gripper."""
        return np.array([*self.position_min_rad, 0.0], np.float32)

    @property
    def action_max(self) -> np.ndarray:
        """(D,) highest action: joint limits in rad, then the open gripper."""
        return np.array([*self.position_max_rad, 1.0], np.float32)

    def slowed(self, percent: int) -> "Robot":
        """The same arm moved at `percent` of its speeds: it takes as long to come to them and to rest as before."""
        share = percent / 100
        return replace(
            self,
            policy_speed_rad_s=self.policy_speed_rad_s * share,
            policy_accel_rad_s2=self.policy_accel_rad_s2 * share,
            policy_jerk_rad_s3=self.policy_jerk_rad_s3 * share,
            homing_speed_rad_s=self.homing_speed_rad_s * share,
        )

    @property
    def state_min(self) -> np.ndarray:
        """(D,) lowest state an observation space holds: a little beyond the limits, where an arm may be found."""
        return self.action_min - STATE_MARGIN

    @property
    def state_max(self) -> np.ndarray:
        """(D,) highest state an observation space holds."""
        return self.action_max + STATE_MARGIN


def _rad(*degrees: float) -> tuple[float, ...]:
    return tuple(np.deg2rad(degrees).tolist())


FR3 = Robot(
    name="fairino_fr3",
    mjcf=ASSETS / "fr3_mjcf" / "fr3_gripper.xml",
    joint_names=("j1", "j2", "j3", "j4", "j5", "j6"),
    # Soft limits of the data sheet; J3 is +-150 deg there, looser in the vendor's URDF.
    position_min_rad=_rad(-175, -265, -150, -265, -175, -175),
    position_max_rad=_rad(175, 85, 150, 85, 175, 175),
    max_speed_rad_s=_rad(180, 180, 180, 180, 180, 180),
    # At 180 deg/s J2 travels 37 deg after a stop; a policy moves at two fifths of that (manual 3.1).
    policy_speed_rad_s=float(np.deg2rad(70)),
    policy_accel_rad_s2=10.0,  # our choice: 0.12 s to full speed
    policy_jerk_rad_s3=600.0,  # our choice: full acceleration within 17 ms, two servo periods
    homing_speed_rad_s=0.35,  # 20 deg/s: slow enough to step aside
    stop_distance_rad=(0.52, 0.65, 0.61, 0.34, 0.15, 0.11),  # soft-limit stop, the longest; full load, arm extended
    max_step_rad=0.8,  # the speed limit may hold a chunk back by half of this; a jump to zeros is twice this
    home_rad=_rad(-20, -100, 85, -75, -90, -20),  # tool down, 0.22 m above the middle of the work space
    # Manual, table 2.4-1.
    dh_m=(
        (0, 0.140, np.pi / 2),
        (-0.280, 0, 0),
        (-0.240, 0, 0),
        (0, 0.102, np.pi / 2),
        (0, 0.102, -np.pi / 2),
        (0, 0.100, 0),
    ),  # fmt: skip
    tcp_from_flange_m=(0.0, 0.0, 0.160),  # between the pads of the gripper
    gripper_stroke_m=0.080,  # DH-Robotics PGI-140-80
    gripper_speed_per_s=2.0,  # 80 mm in 0.5 s
    cameras=("front", "wrist"),
)
