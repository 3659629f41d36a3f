"""The constants of a robot's arm and cameras, taken from its model, for `policies.eye.bench`."""

from collections.abc import Mapping

import mujoco
import numpy as np

from policies.eye.bench import Arm, Camera, set_buffers
from sim.control.dh import frames
from sim.robots.mjcf import arm_spec, compiled
from sim.robots.robot import Robot

AHEAD_M = 0.2  # of the wrist camera's aim: how a tilt becomes metres


def described_arm(robot: Robot) -> Arm:
    """Return the kinematics of a robot."""
    arm = Arm(robot.joints)
    describe(arm, {camera.name: Camera(on_tool=False) for camera in robot.cameras}, robot)
    return arm


def describe(arm: Arm, cameras: Mapping[str, Camera], robot: Robot) -> None:
    """Set the constants of an arm and its cameras, by name."""
    model = compiled(robot, arm_spec(robot))
    data = mujoco.MjData(model)
    data.qpos[[model.joint(name).qposadr[0] for name in robot.joint_names]] = robot.home_rad
    mujoco.mj_kinematics(model, data)
    mujoco.mj_camlight(model, data)
    flange = frames(robot.dh_m, np.array(robot.home_rad), robot.mount)[-1]
    site = model.site("tcp").id
    pos_b, turn_b = data.site_xpos[site], data.site_xmat[site].reshape(3, 3)
    tool = np.eye(4)
    tool[:3, :3], tool[:3, 3] = flange[:3, :3].T @ turn_b, flange[:3, :3].T @ (pos_b - flange[:3, 3])
    set_buffers(arm, dh=robot.dh_m, mount=robot.mount, tool=tool)
    for fixed in robot.fixed_cameras:
        up, fovy = (0.0, 0.0, 1.0), np.deg2rad(fixed.fovy_deg)
        set_buffers(cameras[fixed.name], place=fixed.pos_m, aim=fixed.lookat_m, up=up, fovy=fovy)
    for wrist in robot.wrist_cameras:
        i = model.camera(wrist.name).id
        axes = turn_b.T @ data.cam_xmat[i].reshape(3, 3)
        place, fovy = turn_b.T @ (data.cam_xpos[i] - pos_b), np.deg2rad(model.cam_fovy[i])
        set_buffers(cameras[wrist.name], place=place, aim=place - AHEAD_M * axes[:, 2], up=axes[:, 1], fovy=fovy)
