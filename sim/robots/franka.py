"""The Franka Emika Panda, seven axes, with the jaw and the cameras of the other bench (`assets/franka_mjcf`)."""

import numpy as np

from sim.core.paths import ASSETS
from sim.robots.robot import ROBOTS, FixedCamera, Robot, WristCamera, degrees

NAME = "franka"
# Franka Control Interface documentation, "Robot and interface specifications" (Panda): limits in joint space.
ACCEL_RAD_S2 = (15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0)
SPEED_RAD_S = (2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61)


@ROBOTS.register(NAME)
def franka() -> Robot:
    """Return the description."""
    return Robot(
        name=NAME,
        mjcf=ASSETS / "franka_mjcf" / "franka_gripper.xml",
        joint_names=("j1", "j2", "j3", "j4", "j5", "j6", "j7"),
        position_min_rad=(-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
        position_max_rad=(2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
        max_speed_rad_s=SPEED_RAD_S,
        policy_speed_rad_s=float(np.deg2rad(70)),  # our choice, as the FAIRINO's: half of what the slow joints can do
        policy_accel_rad_s2=7.5,  # of joint 2, the slowest to come to speed
        policy_jerk_rad_s3=600.0,  # our choice; Franka allows 3750 and more
        homing_speed_rad_s=0.35,  # 20 deg/s: slow enough to step aside
        # v^2 / 2a from full speed at the limit of acceleration; Franka's own stopping distances depend on the load.
        stop_distance_rad=tuple((np.square(SPEED_RAD_S) / np.multiply(2, ACCEL_RAD_S2)).round(3).tolist()),
        max_step_rad=0.8,
        home_rad=degrees(0, -4, 0, -131.6, 0, 127.6, 0),  # tool down, 0.22 m above the middle of the work space
        posture_rad=0.9,  # within the work space they need 0.75 at most
        # Franka's table is Craig's (modified) DH: link i = Rx(alpha_i-1) Tx(a_i-1) Rz(q_i) Tz(d_i). Its first alpha and
        # a are 0, so each row's d with the next row's a and alpha is the classic table of the same arm.
        dh_m=(
            (0, 0.333, -np.pi / 2),
            (0, 0, np.pi / 2),
            (0.0825, 0.316, np.pi / 2),
            (-0.0825, 0, -np.pi / 2),
            (0, 0.384, np.pi / 2),
            (0.088, 0, np.pi / 2),
            (0, 0.107, 0),
        ),
        mount_m=(0.2, 0.0, 0.0),  # behind the work space's origin, and
        mount_yaw_rad=float(np.pi),  # turned, so that the work space lies over -x
        tcp_from_flange_m=(0.0, 0.0, 0.160),  # between the pads of the gripper
        gripper_kg=1.0,
        gripper_stroke_m=0.080,
        gripper_force_n=60.0,
        gripper_speed_per_s=2.0,  # 80 mm in 0.5 s
        cameras=(FixedCamera("front", (-0.86, 0.0, 0.50), (-0.29, 0.0, 0.03), 42.0), WristCamera("wrist")),
        servo_period_s=0.008,  # our choice; the controller takes targets every 1 ms
    )
