"""What is said of a fault that the controller or the gripper reports."""

import dataclasses
import re

import numpy as np
import pytest
from waiting import wait_for

from real.control.servo_stream import ServoStream
from real.fairino.controller_state import ControllerState
from real.fairino.fault_codes import fault_in

WELL = ControllerState(np.zeros(6), np.zeros(6), 0, True, 0, 0, False, False, False, 50, 0, True)


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        ({"main_code": 1, "sub_code": 22}, r"main 1 sub 22: a joint at its soft limit"),
        # 29 and 14 mean something as what a call returns; as main codes they are other numbers.
        ({"main_code": 29}, r"main 29 sub 0: the web page explains it"),
        ({"main_code": 14, "sub_code": 3, "collision": True}, r"a collision \(main 14 sub 3: the web page"),
        ({"main_code": 9, "sub_code": 1, "emergency_stop": True}, r"emergency stop is pressed \(main 9 sub 1"),
        ({"sub_code": 5, "safety_stop": True}, r"safety stop \(main 0 sub 5: .* code 99"),
        ({"collision": True}, r"a collision; look at the arm"),
    ],
)
def test_a_fault_is_told_with_main_and_sub_code_and_no_return_codes_meaning(seen, says):
    said = str(fault_in(dataclasses.replace(WELL, **seen)))
    assert re.search(says, said)
    assert "overrun" not in said and "execution failed" not in said


def test_a_controller_that_is_well_has_no_fault():
    assert fault_in(WELL) is None


def test_a_target_beyond_the_soft_limits_is_told_as_the_hardware_does(driver, running):
    driver.power_on()
    driver.start_servo()
    assert running.controller.servo_j([0.0, -60.0, 151.0, -120.0, -90.0, 0.0], 0.008) == 32  # past the driver's limits
    wait_for(lambda: driver.controller_state().faulted)
    assert "main 1 sub 22: a joint at its soft limit" in str(fault_in(driver.controller_state()))


def test_a_fault_that_the_gripper_reports_ends_the_stream_with_its_number_and_meaning(driver, running):
    driver.power_on()
    stream = ServoStream(driver)
    stream.start()
    running.controller.gripper.fault = 7
    wait_for(lambda: not stream.running)
    assert re.search(
        "the gripper reports fault 7: it does not answer .* activate it on the web page", str(stream.error)
    )
    stream.stop()
    assert not running.controller.in_servo
