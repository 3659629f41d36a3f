"""What is looked at before a robot moves, as a list that a person can read."""

from dataclasses import dataclass

import numpy as np

from real.env import RobotEnv
from sim.errors import UserError


@dataclass(frozen=True)
class Check:
    """One reading. `good` False forbids motion when `needed_before_power`; the others power_on mends."""

    name: str
    reading: str
    good: bool
    needed_before_power: bool = True


def robot_checks(env: RobotEnv) -> list[Check]:
    """All checks; none of them moves anything. RobotSilent when the controller does not answer."""
    driver = env.driver
    state = driver.controller_state()
    joints = np.round(state.joint_deg, 1).tolist()
    return [
        Check("controller", f"{driver.model} {driver.firmware}", driver.model.upper().startswith("FR3")),
        _fault(env),
        Check(
            "mode", "automatic" if state.robot_mode == 0 else "manual", state.robot_mode == 0, needed_before_power=False
        ),
        Check("drives", "on" if state.enabled else "off", state.enabled, needed_before_power=False),
        Check("joints", f"{joints} deg", _inside(env, state.joint_deg)),
        Check("gripper", f"{state.gripper_percent} % open", state.gripper_fault == 0),
        *(_camera(env, name) for name in env.cameras),
    ]


def _fault(env: RobotEnv) -> Check:
    try:
        env.driver.raise_fault()
    except UserError as error:
        return Check("fault", str(error), good=False)
    return Check("fault", "none", good=True)


def _inside(env: RobotEnv, joint_deg: np.ndarray) -> bool:
    low, high = np.rad2deg(env.robot.position_min_rad), np.rad2deg(env.robot.position_max_rad)
    return bool(((joint_deg >= low) & (joint_deg <= high)).all())


def _camera(env: RobotEnv, name: str) -> Check:
    try:
        image = env.cameras[name].latest().image
    except UserError as error:
        return Check(f"camera {name}", str(error), good=False)
    height, width = image.shape[:2]
    return Check(f"camera {name}", f"{width}x{height}, mean brightness {image.mean():.0f}", bool(image.any()))


def report(checks: list[Check]) -> str:
    """One line a check."""
    return "\n".join(f"  {check.name:14s} {_mark(check):7s} {check.reading}" for check in checks)


def _mark(check: Check) -> str:
    if check.good:
        return "ok"
    return "NOT OK" if check.needed_before_power else "to set"
