"""A robot's MJCF as MuJoCo reads it, with what it lacks as one line. MuJoCo is imported when it is asked to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.core.errors import UserError
from sim.robots.robot import Robot

if TYPE_CHECKING:
    import mujoco

FINGERS = ("finger_left", "finger_right")


def arm_spec(robot: Robot) -> mujoco.MjSpec:
    """Return the robot's MJCF to be edited. UserError where it cannot be read or lacks a name that `Robot` lists."""
    import mujoco

    try:
        spec = mujoco.MjSpec.from_file(str(robot.mjcf))
    except (ValueError, OSError) as error:
        raise UserError(f"robot {robot.name}: cannot read {robot.mjcf}: {_in_one_line(error)}") from error
    found = {
        "body": {body.name for body in spec.bodies},
        "joint": {joint.name for joint in spec.joints},
        "actuator": {actuator.name for actuator in spec.actuators},
        "site": {site.name for site in spec.sites},
        "camera": {camera.name for camera in spec.cameras},
    }
    needed = {
        "body": ("base", "gripper"),
        "joint": (*robot.joint_names, *FINGERS),
        "actuator": (*robot.joint_names, "gripper"),
        "site": ("tcp",),
        "camera": tuple(camera.name for camera in robot.wrist_cameras),
    }
    lacking = [f"{kind} {name!r}" for kind, names in needed.items() for name in names if name not in found[kind]]
    if lacking:
        raise UserError(f"robot {robot.name}: {robot.mjcf} has no {', no '.join(lacking)}")
    return spec


def compiled(robot: Robot, spec: mujoco.MjSpec) -> mujoco.MjModel:
    """Return the compiled model. UserError where MuJoCo refuses it, e.g. for a mesh that is missing."""
    try:
        return spec.compile()
    except ValueError as error:
        raise UserError(f"robot {robot.name}: {robot.mjcf}: {_in_one_line(error)}") from error


def _in_one_line(error: Exception) -> str:
    return "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
