"""The arm gives way to a hand: it holds again, whatever answer is lost on the way."""

import pytest
from waiting import wait_for

from real.control.drag_teach import HandGuiding
from real.control.servo_stream import ServoStream
from real.core.faults import RobotFault, RobotUnreachable


@pytest.fixture
def guiding(driver):
    driver.power_on()
    return HandGuiding(driver, ServoStream(driver))


def lose_answers(driver, monkeypatch, on: int = 0, off: int = 0) -> list[bool]:
    """The controller does what it is told, but so many answers get lost; returns what it was told, as it comes."""
    told, left, drag_teach = [], {True: on, False: off}, driver.drag_teach

    def lossy(*, on: bool) -> None:
        told.append(on)
        drag_teach(on=on)
        left[on] -= 1
        if left[on] >= 0:
            raise RobotUnreachable("no answer")

    monkeypatch.setattr(driver, "drag_teach", lossy)
    return told


def test_an_arm_whose_answer_was_lost_does_not_stay_giving_way(guiding, driver, running, monkeypatch):
    told = lose_answers(driver, monkeypatch, on=1)
    with pytest.raises(RobotUnreachable):
        guiding.begin()
    assert told == [True, False]
    assert not running.controller.drag_teach_active and not guiding.active


def test_the_arm_is_told_to_hold_until_it_answers(guiding, driver, running, monkeypatch):
    told = lose_answers(driver, monkeypatch, off=2)
    guiding.begin()
    assert running.controller.drag_teach_active and guiding.active
    guiding.hold()
    assert told == [True, False, False, False]
    assert not running.controller.drag_teach_active and not guiding.active


def test_a_release_that_failed_is_tried_again_at_the_next_occasion(guiding, driver, running, monkeypatch):
    guiding.begin()
    running.controller.main_code = 14  # a fault refuses it
    wait_for(lambda: driver.controller_state().faulted)
    with pytest.raises(RobotFault, match="DragTeachSwitch refused"):
        guiding.hold()
    guiding.hold_quietly()
    assert guiding.active and running.controller.drag_teach_active
    running.controller.main_code = 0
    guiding.hold_quietly()
    assert not guiding.active and not running.controller.drag_teach_active


def test_no_episode_begins_on_an_arm_that_gives_way(running, monkeypatch):
    with running.env() as env:
        env.guiding.begin()
        lose_answers(env.driver, monkeypatch, off=6)
        with pytest.raises(RobotUnreachable):
            env.reset(0)
        assert not env.stream.running
