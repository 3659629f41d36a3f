"""Gripper commands on releases that refuse MoveGripper in servo mode: the stream pauses for each.

The arm decelerates, servo mode ends, the gripper is commanded, and the stream starts again where the arm is. No fault
is cleared for it. A pause takes a few tenths of a second, so small changes of the opening are left out.
"""

import logging

from real.control.servo_stream import ServoStream
from real.core.faults import RobotFault
from real.core.robot_driver import RobotDriver

_log = logging.getLogger(__name__)


def try_gripper(driver: RobotDriver, stream: ServoStream, opening: float) -> None:
    """Command `opening` and wait for the answer, with the stream running; find out whether it has to pause.

    RobotFault, with the remedy, where the gripper is refused in and out of servo mode; as `ServoStream.pause`.
    """
    if driver.gripper.needs_pause:
        driver.gripper.move(opening)
        _send_in_pause(driver, stream)
        return
    try:
        driver.gripper.move_and_wait(opening)
    except RobotFault as error:
        if not driver.gripper.refuses_while_streaming(error):
            raise
        stream.pause()
        driver.gripper.move_and_wait(opening)
        driver.gripper.needs_pause = True
        _log.warning("%s moves the gripper only outside servo mode: the arm pauses for it", driver.firmware)
        _start(driver, stream)


def move_gripper(driver: RobotDriver, stream: ServoStream, opening: float) -> None:
    """Set the target opening; returns at once, or after a pause where this release needs one. RobotFault on refusal;
    as `ServoStream.pause`."""
    driver.gripper.move(opening)
    if driver.gripper.due_in_pause:
        _send_in_pause(driver, stream)


def _send_in_pause(driver: RobotDriver, stream: ServoStream) -> None:
    streaming = stream.running
    stream.pause()
    driver.gripper.send_in_pause()
    if streaming:
        _start(driver, stream)


def _start(driver: RobotDriver, stream: ServoStream) -> None:
    driver.settle()
    stream.start()
