"""What is said of a fault that the controller or the gripper reports."""

import re

from waiting import wait_for

from real.stream import ServoStream


def test_a_fault_that_the_gripper_reports_ends_the_stream_with_its_number_and_meaning(driver, running):
    driver.power_on()
    stream = ServoStream(driver)
    stream.start()
    running.controller.gripper_fault = 7
    wait_for(lambda: not stream.running)
    assert re.search(
        "the gripper reports fault 7: it does not answer .* activate it on the web page", str(stream.error)
    )
    stream.stop()
    assert not running.controller.in_servo
