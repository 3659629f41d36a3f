"""Preflight checks: what is checked before a robot moves, as a list for a person to read."""

from dataclasses import dataclass
from typing import cast

import numpy as np

from real.fairino.driver import FairinoDriver
from real.fairino.protocol import OLDEST_RELEASE
from real.parity.recording import Expected
from real.parity.static_checks import capture, run_checks
from real.workcell.env import RobotEnv
from sim.core.errors import UserError


@dataclass(frozen=True)
class Check:
    """One reading. `good` False forbids motion when `needed_before_power`; power_on sets the other checks right.

    remedy: what to do where it is not good.
    """

    name: str
    reading: str
    good: bool
    needed_before_power: bool = True
    remedy: str = ""


def robot_checks(env: RobotEnv) -> list[Check]:
    """All checks; none of them moves anything. RobotUnreachable when the controller does not answer."""
    driver = cast(FairinoDriver, env.driver)  # these checks are of this controller
    state = driver.controller_state()
    return [
        Check(
            "controller", f"{driver.model} {driver.firmware}", driver.model.upper().startswith("FR3"),
            remedy="this program drives a FAIRINO FR3; see robot.ip",
        ),
        Check(
            "release", driver.firmware, driver.version >= OLDEST_RELEASE,
            remedy=f"update the controller to V{'.'.join(map(str, OLDEST_RELEASE))} or later",
        ),
        _fault(env),
        Check(
            "mode", "automatic" if state.robot_mode == 0 else "manual", state.robot_mode == 0, needed_before_power=False
        ),
        Check("drives", "on" if state.enabled else "off", state.enabled, needed_before_power=False),
        _inside(env, state.joint_deg),
        Check(
            "gripper", f"{state.gripper_percent} % open", state.gripper_fault == 0,
            remedy="check its cable and power, then activate it on the controller's web page",
        ),
        *(_camera(env, name) for name in env.cameras),
    ]  # fmt: skip


def parity_checks(env: RobotEnv, image_size: tuple[int, int]) -> list[Check]:
    """The part of the parity test that an arm at rest allows; nothing is moved. image_size: (height, width) that the
    policy was trained with."""
    try:
        seen = capture(env)
    except UserError as error:
        return [Check("observation", str(error), good=False)]
    # The arm has not been brought home yet: the start poses of training do not apply.
    findings = run_checks(seen, Expected.from_contract(env.robot, image_size))
    return [
        Check(finding.name, finding.cause or finding.reading, good=not finding.cause, remedy=finding.remedy)
        for finding in findings
    ]


def refuse_unfit(checks: list[Check]) -> None:
    """UserError with everything that forbids motion, and the remedies."""
    bad = [check for check in checks if check.needed_before_power and not check.good]
    if bad:
        causes = "; ".join(f"{check.name}: {check.reading}{check.remedy and f' ({check.remedy})'}" for check in bad)
        raise UserError(f"the robot is not fit to move: {causes}")


def _fault(env: RobotEnv) -> Check:
    try:
        env.driver.raise_fault()
    except UserError as error:
        remedy = "find the cause, then reset the errors on the controller's web page"
        return Check("fault", str(error), good=False, remedy=remedy)
    return Check("fault", "none", good=True)


def _inside(env: RobotEnv, joint_deg: np.ndarray) -> Check:
    low, high = np.rad2deg(env.robot.position_min_rad), np.rad2deg(env.robot.position_max_rad)
    outside = (joint_deg < low) | (joint_deg > high)
    names = ", ".join(np.array(env.robot.joint_names)[outside])
    reading = f"{np.round(joint_deg, 1).tolist()} deg{f', {names} outside the soft limits' if names else ''}"
    return Check("joints", reading, not outside.any(), remedy="jog the arm inside in manual mode")


def _camera(env: RobotEnv, name: str) -> Check:
    try:
        image = env.cameras[name].latest().image
    except UserError as error:
        return Check(f"camera {name}", str(error), good=False, remedy=f"check its cable and robot.cameras.{name}")
    height, width = image.shape[:2]
    reading = f"{width}x{height}, mean brightness {image.mean():.0f}"
    return Check(f"camera {name}", reading, bool(image.any()), remedy="remove the lens cap, switch on the light")


def report(checks: list[Check]) -> str:
    """One line per check."""
    return "\n".join(f"  {check.name:14s} {_mark(check):7s} {check.reading}" for check in checks)


def _mark(check: Check) -> str:
    if check.good:
        return "ok"
    return "NOT OK" if check.needed_before_power else "to set"
