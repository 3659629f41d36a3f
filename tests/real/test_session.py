"""What a robot's configuration makes of the arm that is opened."""

import contextlib
import time

import numpy as np
import pytest
from fr3 import FR3
from running import HOST

from real.workcell.connect import RobotConnection, open_robot
from real.workcell.episode_setup import EmulatedBench
from sim.core.errors import UserError
from sim.core.structured import typed
from sim.guard.motion_guard import MotionGuard

TENTH_DEG_S = 7.0  # of the 70 deg/s that a policy may go, see HARDWARE.md
ROUNDING_DEG_S = 0.1


@contextlib.contextmanager
def opened(running, percent: int):
    """The arm at `percent`, powered on, as a program opens it."""
    config = RobotConnection(ip=HOST, start="never", deadline_s=5.0, speed_percent=percent, **running.ports)
    with open_robot(config, (8, 10)) as env:
        env.driver.power_on(percent)
        env.driver.gripper.activate()
        yield env


def test_at_ten_percent_nothing_is_streamed_faster_than_a_tenth(running):
    monitor = running.controller.monitor
    with opened(running, 10) as env:
        env.reset(0)
        guard, start = MotionGuard(env.robot, max_age_s=5.0), env.observe().state
        guard.reset(start)
        far = start.copy()
        far[0] += 0.5
        for _ in range(12):
            sent = guard.check(env.observe(), far)
            assert np.abs(guard.step_rad).max() <= 0.1 * FR3.policy_speed_rad_s * 0.05
            env.apply(sent)
        for _ in range(8):
            env.stream.set_target(far[:-1])  # as if no guard were there
            env.rate.sleep()
    assert TENTH_DEG_S / 2 < monitor.max_target_deg_s < TENTH_DEG_S + ROUNDING_DEG_S


def test_at_ten_percent_the_arm_goes_home_ten_times_slower(running, monkeypatch):
    monkeypatch.setattr(EmulatedBench, "sets_start_pose", False)
    with opened(running, 10) as env:
        begin_s = time.monotonic()
        env.reset(4)  # 0.04 rad away
        assert time.monotonic() - begin_s > 0.04 / (0.1 * np.deg2rad(20))
        np.testing.assert_allclose(env.driver.state()[0][:6], FR3.home_rad, atol=0.01)
    assert running.controller.monitor.max_target_deg_s < TENTH_DEG_S + ROUNDING_DEG_S


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.0.0.5", "localhost"])
def test_an_emulator_is_started_where_none_answers_whatever_this_machine_is_called(ip, monkeypatch):
    class Asked(Exception):
        pass

    def process(*_, **options):
        raise Asked(options["firmware"])

    monkeypatch.setattr("real.workcell.connect.EmulatorProcess", process)
    config = RobotConnection(ip=ip, start="if_absent", firmware="3.8.5", rpc_port=1)
    with pytest.raises(Asked, match=r"^3\.8\.5$"), open_robot(config, (8, 10)):
        pass


@pytest.mark.parametrize("firmware", ["9.9.9", "3.7.5", "newest"])
def test_a_release_that_is_not_emulated_is_refused_before_an_emulator_is_started(firmware):
    line = rf"robot\.firmware={firmware}, expected a release from 3\.7\.6 to 3\.9\.7"
    with pytest.raises(UserError, match=line):
        typed(RobotConnection, {"firmware": firmware}, "robot.")


@pytest.mark.parametrize("percent", [0, 101])
def test_a_speed_that_is_no_percentage_is_refused(percent):
    with pytest.raises(UserError, match=f"speed_percent={percent}, expected from 1 to 100"):
        RobotConnection(speed_percent=percent)
