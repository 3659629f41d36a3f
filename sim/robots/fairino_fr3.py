"""The FAIRINO FR3 with a DH-Robotics PGI-140-80 gripper."""

import numpy as np

from sim.core.paths import ASSETS
from sim.robots.robot import ROBOTS, FixedCamera, Robot, WristCamera, degrees

NAME = "fairino_fr3"
SERVO_PERIOD_S = 0.008  # of ServoJ


@ROBOTS.register(NAME)
def fairino_fr3() -> Robot:
    """Return the description; "manual" is FAIRINO's collaborative robot manual."""
    return Robot(
        name=NAME,
        mjcf=ASSETS / "fr3_mjcf" / "fr3_gripper.xml",
        joint_names=("j1", "j2", "j3", "j4", "j5", "j6"),
        # Soft limits of the data sheet; J3 is +-150 deg there, looser in the vendor's URDF.
        position_min_rad=degrees(-175, -265, -150, -265, -175, -175),
        position_max_rad=degrees(175, 85, 150, 85, 175, 175),
        max_speed_rad_s=degrees(180, 180, 180, 180, 180, 180),
        # At 180 deg/s J2 travels 37 deg after a stop; a policy moves at two fifths of that (manual 3.1).
        policy_speed_rad_s=float(np.deg2rad(70)),
        policy_accel_rad_s2=10.0,  # our choice: 0.12 s to full speed
        policy_jerk_rad_s3=600.0,  # our choice: full acceleration within 17 ms, two servo periods
        homing_speed_rad_s=0.35,  # 20 deg/s: slow enough to step aside
        stop_distance_rad=(0.52, 0.65, 0.61, 0.34, 0.15, 0.11),  # soft-limit stop, the longest; full load, arm extended
        max_step_rad=0.8,  # the speed limit may hold a chunk back by half of this; a jump to zeros is twice this
        home_rad=degrees(-20, -100, 85, -75, -90, -20),  # tool down, 0.22 m above the middle of the work space
        # Manual, table 2.4-1.
        dh_m=(
            (0, 0.140, np.pi / 2),
            (-0.280, 0, 0),
            (-0.240, 0, 0),
            (0, 0.102, np.pi / 2),
            (0, 0.102, -np.pi / 2),
            (0, 0.100, 0),
        ),
        tcp_from_flange_m=(0.0, 0.0, 0.160),  # between the pads of the gripper
        gripper_kg=1.0,
        gripper_stroke_m=0.080,
        gripper_force_n=60.0,
        gripper_speed_per_s=2.0,  # 80 mm in 0.5 s
        cameras=(FixedCamera("front", (-0.86, 0.0, 0.50), (-0.29, 0.0, 0.03), 42.0), WristCamera("wrist")),
        servo_period_s=SERVO_PERIOD_S,
    )
