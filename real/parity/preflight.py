"""Preflight checks: what is checked before a robot moves, as a list for a person to read."""

from real.core.checks import Check
from real.parity.recording import Expected
from real.parity.static_checks import capture, run_checks
from real.workcell.env import RobotEnv
from sim.core.errors import UserError

DEPTH_REMEDY = (
    "policy.depth=true needs it of every camera: robot.cameras.NAME=realsense:SERIAL, render.depth=true for an emulator"
)


def robot_checks(env: RobotEnv) -> list[Check]:
    """Return all checks; none of them moves anything. RobotUnreachable when the controller does not answer."""
    return [*env.driver.checks(), *(_camera(env, name) for name in env.cameras)]


def parity_checks(env: RobotEnv, image_size: tuple[int, int]) -> list[Check]:
    """Return the part of the parity test that an arm at rest allows; nothing is moved.

    image_size: (height, width) that the policy was trained with.
    """
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


def task_check(env: RobotEnv, trained: str) -> list[Check]:
    """Return whether the bench holds the task that the policy was trained on; nothing where either is unknown."""
    try:
        laid_out = env.bench.task()
    except UserError as error:
        return [Check("task", str(error), good=False)]
    if not trained or not laid_out:
        return []
    remedy = f"the policy was trained on {trained}; start the emulator with task={trained}, or give its own checkpoint"
    return [Check("task", laid_out, trained == laid_out, remedy=remedy)]


def touch_check(env: RobotEnv, *, needed: bool) -> list[Check]:
    """Return whether the robot tells what its tool feels; nothing for a policy that does not act on it."""
    if not needed:
        return []
    tells = env.driver.touch() is not None
    remedy = "policy.touch=true needs one; activate it (FT_Activate), robot.force_sensor=true for an emulator"
    return [Check("touch", "a force sensor is active" if tells else "no force sensor is active", tells, remedy=remedy)]


def depth_check(env: RobotEnv, *, needed: bool) -> list[Check]:
    """Return whether every camera measures depth; nothing for a policy that does not act on it."""
    if not needed:
        return []
    try:
        without = [name for name, camera in env.cameras.items() if camera.latest().depth is None]
    except UserError as error:
        return [Check("depth", str(error), good=False, remedy=DEPTH_REMEDY)]
    reading = f"camera {without[0]} measures none" if without else "every camera measures it"
    return [Check("depth", reading, not without, remedy=DEPTH_REMEDY)]


def camera_order(env: RobotEnv) -> list[Check]:
    """Return whether every camera shows what it would from its place: exchanged ones are told by the arm's outline.

    Renders the arm as it stands, about a second.
    """
    from real.parity.alignment_at_rest import exchanged_cameras

    try:
        found = exchanged_cameras(capture(env), env.robot)
    except UserError:
        return []  # a check of the camera itself has told it
    if found is None:
        reading = "not known: no image shows the arm's outline clearly"
        remedy = "look at both: front shows the table, wrist the fingertips"
        return [Check("camera order", reading, good=False, needed_before_power=False, remedy=remedy)]
    cause, remedy = found
    return [Check("camera order", cause or "as it should be", good=not cause, remedy=remedy)]


def _camera(env: RobotEnv, name: str) -> Check:
    try:
        image = env.cameras[name].latest().image
    except UserError as error:
        return Check(f"camera {name}", str(error), good=False, remedy=f"check its cable and robot.cameras.{name}")
    height, width = image.shape[:2]
    reading = f"{width}x{height}, mean brightness {image.mean():.0f}"
    return Check(f"camera {name}", reading, bool(image.any()), remedy="remove the lens cap, switch on the light")
