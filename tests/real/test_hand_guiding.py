"""The arm gives way to a hand: it holds again, whatever answer is lost on the way."""

import numpy as np
import pytest
from fr3 import FR3
from waiting import wait_for

from real.control.drag_teach import DragCorrector, HandGuiding
from real.control.servo_stream import ServoStream
from real.core.faults import RobotFault, RobotUnreachable
from real.core.json_lines import JsonLineClient
from sim.guard.motion_guard import MotionGuard
from sim.teleop.device import Command
from sim.teleop.intervention import OperatorInterventionAgent
from sim.teleop.operator import Operator


@pytest.fixture
def guiding(driver):
    driver.power_on()
    return HandGuiding(driver, ServoStream(driver), lambda: None)


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


def test_an_episode_that_ends_while_the_arm_is_led_leaves_one_that_can_begin(running):
    with running.env() as env:
        env.reset(0)
        env.guiding.begin()
        env.rest()
        assert running.controller.robot_mode == 1 and not running.controller.drag_teach_active
        env.reset(1)
        assert running.controller.robot_mode == 0 and env.stream.running


def halted_once(env, monkeypatch, *, manual: bool) -> None:
    """The stop key is pressed as soon as the controller is in manual mode (`manual`), or has left it."""
    set_manual = env.driver.set_manual

    def pressed(*, on: bool) -> None:
        set_manual(on=on)
        if on == manual:
            env.halt("stop key")

    monkeypatch.setattr(env.driver, "set_manual", pressed)


def test_a_stop_while_the_arm_is_about_to_be_led_leaves_it_held(running, monkeypatch):
    with running.env() as env:
        env.reset(0)
        told = lose_answers(env.driver, monkeypatch)
        halted_once(env, monkeypatch, manual=True)
        with pytest.raises(RobotFault, match="stop key"):
            env.guiding.begin()
        assert not told and not env.guiding.active


def test_an_arm_that_the_watchdog_has_stopped_is_not_released(running, monkeypatch):
    with running.env() as env:
        env.reset(0)
        told = lose_answers(env.driver, monkeypatch)
        env.stream.watchdog.trip(RobotUnreachable("the state is too old"))
        with pytest.raises(RobotUnreachable, match="the state is too old"):
            env.guiding.begin()
        assert not told and not env.guiding.active and running.controller.robot_mode == 0


def test_an_arm_whose_stream_has_not_ended_in_time_is_not_released(running, monkeypatch):
    with running.env() as env:
        env.reset(0)
        monkeypatch.setattr("real.control.servo_stream.END_S", -1.0)  # the thread is not waited for
        running.emulator.injector.inject("slow_rpc", 0.3)
        with pytest.raises(RobotFault, match="has not ended"):
            env.guiding.begin()
        assert not env.guiding.active and running.controller.robot_mode == 0
        running.emulator.injector.inject("end")
        wait_for(lambda: not env.stream.running)


def test_a_stop_while_the_arm_is_handed_back_leaves_it_without_a_stream(running, monkeypatch):
    with running.env() as env:
        env.reset(0)
        env.guiding.begin()
        halted_once(env, monkeypatch, manual=False)
        with pytest.raises(RobotFault, match="stop key"):
            env.guiding.end()
        assert not env.stream.running and not running.controller.in_servo


class Staying:
    """A policy that asks for the arm to stay where it is measured, and notes what it began from."""

    def reset(self, observation, seed):
        self.begun_at_deg = float(np.rad2deg(observation.state[0]))

    def act(self, observation):
        return observation.state.copy()

    def flags(self):
        return {}


class Wall:
    """Nothing may be where joint 1 is more than 5 degrees from where the guard began; always clear from there."""

    def reset(self, joints_rad):
        self._begun_at = joints_rad[0]

    def blocked(self, ways):
        return "wall" if max(np.abs(way[:, 0] - self._begun_at).max() for way in ways) > np.deg2rad(5) else ""


def play(env, agent, guard, periods: int) -> None:
    for _ in range(periods):
        observation = env.observe()
        env.apply(guard.check(observation, agent.act(observation)))
        assert env.fault is None and not guard.report.latched


def lead(running, degrees: float) -> None:
    """Turn joint 1 of the arm, and wait until it rests there."""
    joints = running.controller.measured_deg() + [degrees, 0, 0, 0, 0, 0]
    hand = JsonLineClient("hand", running.address("bench_port"), 5.0)
    hand.request({"do": "guide", "joint_deg": joints.tolist()})
    wait_for(lambda: abs(running.controller.measured_deg()[0] - joints[0]) < 0.01)
    wait_for(lambda: not running.controller.twin.speed_rad_s().any())


def test_handed_back_the_arm_stays_where_the_person_left_it(running):
    with running.env() as env:
        env.reset(0)
        guard, operator, policy = MotionGuard(FR3, Wall(), max_age_s=5.0), Operator([]), Staying()
        agent = OperatorInterventionAgent(policy, DragCorrector(env.guiding, operator, guard, env.look), operator)
        agent.reset(env.observe(), 0)
        guard.reset(env.observe().state)
        operator.press(Command.INTERVENE)
        play(env, agent, guard, 2)
        for _ in range(6):  # beyond the wall: the guard follows to 5 degrees only
            lead(running, -2.0)
            play(env, agent, guard, 1)
        lead(running, -1.0)  # after the last look
        left_deg = running.controller.measured_deg()[0]
        assert np.rad2deg(guard.sent[0]) - left_deg > 7
        operator.press(Command.RESUME_POLICY)
        play(env, agent, guard, 15)
        assert policy.begun_at_deg == pytest.approx(left_deg, abs=0.05)
        assert running.controller.measured_deg()[0] == pytest.approx(left_deg, abs=0.05)
        assert guard.report.counts  # those of the whole episode
