"""What the tool feels, from the controller's state frames: by either protocol, and where no sensor is."""

import numpy as np
import pytest
from running import Running

from real.fairino import cnde, state_frame
from real.fairino.xmlrpc import RpcLink
from real.parity.preflight import touch_check
from real.workcell.recording import RobotRecorder
from sim.core.contract import TOUCH_COLUMN, Feedback
from sim.episode.loop import EpisodeResult, Step

FELT = [30.0, 1.0, -2.0, 3.5, 0.25, -0.5, 0.125]  # of `running.FakeWorld`; 30 N are 50 % of the highest current


@pytest.fixture(params=["3.8.5", "3.9.6"])
def feeling(request):
    """An emulator with a force sensor: its state comes from port 20004, since V3.9.5 by CNDE."""
    emulator = Running(request.param, force_sensor=True)
    yield emulator
    emulator.stop()


def test_the_driver_reads_newtons_from_either_frame(feeling):
    driver = feeling.driver()
    expected = "20005" if feeling.controller.version >= (3, 9, 5) else "20004"
    assert expected in driver.links
    np.testing.assert_allclose(driver.touch(), FELT)
    np.testing.assert_allclose(driver.touch(at_s=0.0), FELT)
    driver.close()


def test_the_bytes_lie_where_the_vendors_struct_has_them(feeling):
    values = {"gripper_current": 50, "ft": FELT[1:], "ft_active": True}
    frame = np.zeros((), state_frame.COMMON)
    for name, value in values.items():
        frame[name] = value
    data = frame.tobytes()
    assert data[573] == 50 and data[548] == 1  # offsets of the Python SDK's struct
    np.testing.assert_array_equal(np.frombuffer(data[500:548], "<f8"), FELT[1:])
    assert state_frame.parse(data).gripper_current == 50
    fields = cnde.layout(cnde.DEFAULT_RECIPE + ("servoJ_cmd_num",))
    data = cnde.encode(values, fields)
    np.testing.assert_array_equal(np.frombuffer(data[513:561], "<f8"), FELT[1:])  # offsets of its default recipe
    assert data[561] == 1 and data[593:597] == (50).to_bytes(4, "little")


def test_without_a_sensor_nothing_is_told_and_nan_is_recorded(running):
    with running.env() as env:
        env.reset(0)
        seen = env.observe()
        assert seen.touch is None and env.driver.touch() is None
        assert env.driver.controller_state().gripper_current == 50  # the gripper alone is no touch
        recorder, action = RobotRecorder(env), np.array(seen.state)
        recorder.add(Step(seen, action, action, Feedback(-1.0, False, False, False), {}, {}))
        episode = recorder.episode(EpisodeResult(0, success=False, steps=1, time_s=0.05), "policy", {})
        assert np.isnan(episode.columns[TOUCH_COLUMN]).all()


def test_an_observation_of_the_robot_holds_it(feeling):
    with feeling.env() as env:
        env.reset(0)
        np.testing.assert_allclose(env.observe().touch, FELT)
        recorder, seen = RobotRecorder(env), env.observe()
        recorder.add(Step(seen, seen.state, seen.state, Feedback(-1.0, False, False, False), {}, {}))
        episode = recorder.episode(EpisodeResult(0, success=False, steps=1, time_s=0.05), "policy", {})
        np.testing.assert_allclose(episode.columns[TOUCH_COLUMN], [FELT])


def test_a_policy_that_needs_it_is_refused_before_the_arm_moves(running, feeling):
    for emulator, passes in ((running, False), (feeling, True)):
        with emulator.env() as env:
            (check,) = touch_check(env, needed=True)
            assert check.good == passes
            assert list(touch_check(env, needed=False)) == []


def test_an_emulator_with_a_sensor_takes_its_settings(feeling):
    link = RpcLink(feeling.address("rpc_port"), 10.0)
    assert link("FT_Activate", 1) == link("FT_SetZero", 1) == link("FT_SetRCS", 0, [0.0] * 6) == 0
    assert link("FT_Guard", 1, 1, [1] * 6, [0.0] * 6, [1.0] * 6, [1.0] * 6) == 59  # it guards nothing
    link.close()
