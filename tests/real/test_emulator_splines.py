"""Splines of the emulated controller, and its programs, recorded paths and tables of points: it keeps no files."""

import numpy as np
import pytest
from fr3 import FR3
from running import Running

from real.emulator.trajectories import JOINT_ACCEL_DEG_S2, spline_path
from real.fairino.fault_codes import Code
from sim.robots.fairino_fr3 import SERVO_PERIOD_S

HOME = np.rad2deg(FR3.home_rad)
ZEROS = [0.0] * 6
POINTS = [
    HOME + change for change in ([4, 0, 0, 3, 0, 0], [8, -3, 2, 0, 0, 5], [8, -3, 2, 0, 0, 5], [2, 0, 0, 0, 2, 0])
]


def recorded(running: Running) -> list[np.ndarray]:
    """Every commanded joint vector from now on, deg."""
    found: list[np.ndarray] = []
    record = running.controller.monitor.record_command

    def recording(joint_deg: np.ndarray) -> None:
        found.append(joint_deg.copy())
        record(joint_deg)

    running.controller.monitor.record_command = recording
    return found


def test_a_spline_goes_through_its_points_within_the_limits_of_a_joint_motion():
    """Oracle: differences of what was sent."""
    speed = np.full(6, 90.0)
    path = spline_path(HOME, np.array(POINTS), speed)
    for joints in POINTS:
        assert np.abs(path - joints).max(1).min() < 0.4  # half of what a cycle moves
    np.testing.assert_allclose(path[-1], POINTS[-1], atol=1e-9)
    whole = np.vstack([HOME, HOME, path, path[-1:]])
    rate = np.diff(whole, axis=0) / SERVO_PERIOD_S
    assert np.abs(rate).max() <= 90.0 * 1.001
    assert np.abs(np.diff(rate, axis=0)).max() / SERVO_PERIOD_S <= JOINT_ACCEL_DEG_S2 * 1.02
    assert not len(spline_path(HOME, np.array([HOME]), speed))


@pytest.mark.parametrize("new", [False, True])
def test_the_arm_follows_it_at_the_end(ready, running, new):
    sent = recorded(running)
    assert ready(*(("NewSplineStart", 1, 2000) if new else ("SplineStart",))) == 0
    for number, joints in enumerate(POINTS):
        last = int(number == len(POINTS) - 1)
        name, rest = ("NewSplinePoint", (0.0, 0.0, 100.0, 0.0, last)) if new else ("SplinePTP", (100.0, 100.0, 100.0))
        assert ready(name, joints.tolist(), ZEROS, 0, 0, *rest) == 0
    assert not np.ptp(np.array(sent or [HOME]), axis=0).any()  # not before the end
    assert ready("NewSplineEnd" if new else "SplineEnd") == 0
    for joints in POINTS:
        assert np.abs(np.array(sent) - joints).max(1).min() < 1.0
    np.testing.assert_allclose(running.controller.measured_deg(), POINTS[-1], atol=0.2)


def test_a_spline_that_cannot_be_is_refused(ready):
    far = [*HOME[:5].tolist(), 400.0]
    assert ready("SplineEnd") == Code.FAILED
    assert ready("SplinePTP", HOME.tolist(), ZEROS, 0, 0, 50.0, 100.0, 100.0) == Code.FAILED
    assert ready("NewSplineStart", 2, 2000) == Code.WRONG_VALUE
    assert ready("SplineStart") == 0
    assert ready("SplinePTP", HOME.tolist()[:5], ZEROS, 0, 0, 50.0, 100.0, 100.0) == Code.WRONG_COUNT
    assert ready("SplinePTP", far, ZEROS, 0, 0, 50.0, 100.0, 100.0) == 0
    assert ready("SplineEnd") == Code.BEYOND_LIMIT


def test_files_are_not_there(ready):
    for call in (("ProgramLoad", "/fruser/test.lua"), ("ProgramRun",), ("ProgramPause",), ("ProgramResume",)):
        assert ready(*call) == Code.FAILED
    for call in (("LoadTPD", "a"), ("LoadTrajectoryJ", "/fruser/traj/a.txt", 100.0, 1), ("PointTableSwitch", "a.db")):
        assert ready(*call) == Code.FAILED
    assert ready("GetTPDStartPose", "a")[0] == Code.FAILED
    assert ready("ProgramStop") == 0
    assert ready("GetLoadedProgram") == [0, ""]
    assert ready("GetCurrentLine") == [0, 0]
    assert ready("GetLuaList") == [0, 0, ""]
