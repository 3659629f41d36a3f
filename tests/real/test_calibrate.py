"""Calibration on logs with known secrets: what is found is compared with the secrets themselves."""

import dataclasses
import json
import os
import time
import types

import numpy as np
import pytest
import yaml
from fr3 import CONTROL_PERIOD_S, FR3, SERVO_PERIOD_S
from running import HOST, Running
from waiting import wait_for

from real.calibrate.calibrate import CalibrateConfig, calibrate
from real.calibrate.delays import camera_delay, gripper_travel, tracking_delay_s
from real.calibrate.estimates import Estimate, randomization
from real.calibrate.excitation import multisine
from real.calibrate.measurements import MEASUREMENTS, ImageRecorder, Measurement, Results
from real.calibrate.motion_log import UNCOUNTED, MotionLog, on_cycles
from real.calibrate.residuals import without_outliers
from real.cameras.camera import Frame
from real.core.faults import RobotFault, with_notes
from real.workcell.connect import RobotConnection
from sim.core.config import load
from sim.core.errors import KEPT, UserError
from sim.core.structured import typed
from sim.randomize.ranges import RandomizeConfig

CYCLES = 600


def swinging_log(delay_s: float = 0.0, jitter_s: float = 0.0, seed: int = 0) -> MotionLog:
    """Joints that are, `delay_s` after every command, where the command said: cycle by cycle, received with jitter."""
    rng = np.random.default_rng(seed)
    cycle = np.arange(CYCLES)
    sent_s = 5.0 + cycle * SERVO_PERIOD_S - 0.006
    sent = np.sin(2 * np.pi * 0.5 * sent_s)[:, None] * np.full(6, 0.3)
    ends_s = 5.0 + (cycle + 1) * SERVO_PERIOD_S
    seen = np.sin(2 * np.pi * 0.5 * (ends_s - delay_s))[:, None] * np.full(6, 0.3)
    received_s = np.sort(ends_s + rng.uniform(0, jitter_s, CYCLES))
    return MotionLog(sent_s, sent, received_s, seen, np.zeros_like(seen), 100 + cycle, np.ones(CYCLES))


def test_jitter_is_taken_out_and_every_state_keeps_its_command():
    log = swinging_log(jitter_s=0.0015)
    cycles = on_cycles(log)
    # A command is sent 6 ms before the cycle in which it holds; states come 0.75 ms late on average. The next one is
    # under way when the state comes, and is taken for the one that holds: a cycle early, which the fit gives back.
    assert cycles.latency_s == pytest.approx(0.00675 - SERVO_PERIOD_S, abs=2e-4)
    np.testing.assert_array_equal(cycles.command_rad, log.sent_rad[1:])
    np.testing.assert_array_equal(cycles.joints_rad, log.joints_rad[:-1])
    assert cycles.trusted.all()


def test_a_lost_state_leaves_a_gap_of_one_cycle_in_place():
    log = swinging_log()
    keep = np.arange(CYCLES) != 300
    parts = {
        name: getattr(log, name)[keep] for name in ("received_s", "joints_rad", "joints_rad_s", "taken", "opening")
    }
    cycles = on_cycles(dataclasses.replace(log, **parts))
    missing = np.flatnonzero(np.isnan(cycles.joints_rad[:, 0]))
    assert len(missing) == 1
    np.testing.assert_array_equal(cycles.joints_rad[missing[0] - 1], log.joints_rad[299])
    np.testing.assert_array_equal(cycles.joints_rad[missing[0] + 1], log.joints_rad[301])
    doubts = np.flatnonzero(~cycles.trusted)
    assert doubts[0] == missing[0] - 1 and len(doubts) == 27  # the gap, the state before it, and 0.2 s afterwards


def test_a_command_that_comes_late_is_no_doubt_where_the_controller_counts():
    log = swinging_log()
    taken = log.taken.copy()
    taken[300] -= 1  # in this cycle nothing new had arrived; two are there for the next
    late, usual = on_cycles(dataclasses.replace(log, taken=taken)), on_cycles(log)
    assert late.trusted.all()
    np.testing.assert_array_equal(late.command_rad[300], late.command_rad[299])
    np.testing.assert_array_equal(late.command_rad[301], usual.command_rad[301])
    assert late.latency_s == pytest.approx(usual.latency_s, abs=1e-4)


def test_trust_is_withdrawn_where_one_joint_is_unusually_far_away():
    rng = np.random.default_rng(4)
    cycles = on_cycles(swinging_log())
    residual = rng.normal(0, 0.001, (100, 6, 2))
    residual[40, 2, 1] = 0.02
    residual[:10, :, 0] = 0.0  # not compared
    first, second = without_outliers([cycles, cycles], residual, 50)
    assert first.trusted.all()
    assert np.flatnonzero(~second.trusted).tolist() == [90]


def test_without_the_controllers_count_commands_are_found_by_time():
    log = swinging_log()
    uncounted = dataclasses.replace(log, taken=np.full(CYCLES, UNCOUNTED))
    np.testing.assert_array_equal(on_cycles(uncounted).command_rad[:-1], log.sent_rad[: CYCLES - 1])


@pytest.mark.parametrize("delay_s", [0.0, 0.013, 0.06])
def test_tracking_delay(delay_s):
    # Commands carry the time of sending, which is what the joints follow here.
    assert tracking_delay_s(swinging_log(delay_s), 2) == pytest.approx(delay_s, abs=3e-4)


@pytest.mark.parametrize("delay_s", [0.0, 0.02, 0.07])
def test_camera_delay_of_a_picture_that_depends_on_the_place_alone(delay_s):
    rng = np.random.default_rng(3)
    log = swinging_log()
    stamps_s = np.sort(rng.uniform(5.3, 9.5, 120))
    frames = []
    for stamp_s in stamps_s:
        place = 0.3 * np.sin(2 * np.pi * 0.5 * (stamp_s - delay_s))
        rows = np.arange(24)
        edge = 255 / (1 + np.exp(rows - 12 - 30 * place))  # an edge that the arm carries through the picture
        frames.append(Frame(np.repeat(edge, 3).reshape(24, 1, 3).astype(np.uint8), stamp_s))
    found = camera_delay(frames, log, 0, rng)
    assert found.mean == pytest.approx(delay_s, abs=1.5e-3)
    assert 0 < found.std < 2e-3


def test_a_covered_camera_is_named():
    frames = [Frame(np.zeros((8, 8, 3), np.uint8), 5.5 + 0.03 * i) for i in range(60)]
    with pytest.raises(UserError, match="do not change"):
        camera_delay(frames, swinging_log(), 0, np.random.default_rng(0))
    with pytest.raises(UserError, match="at least"):
        camera_delay(frames[:5], swinging_log(), 0, np.random.default_rng(0))


def test_gripper_speed_and_ends():
    log = swinging_log()
    at_s = log.received_s - log.received_s[0]
    opening = np.where(at_s < 2.0, np.clip(1.0 - 1.6 * (at_s - 0.5), 0.05, 1), np.clip(1.6 * (at_s - 2.0), 0.05, 1))
    found = gripper_travel(dataclasses.replace(log, opening=np.round(opening, 2)))
    assert found["gripper_speed_per_s"].mean == pytest.approx(1.6, rel=0.01)
    assert found["gripper_closed"].mean == pytest.approx(0.05)
    with pytest.raises(UserError, match="between its fingers"):
        gripper_travel(log)


def test_the_posterior_is_a_randomization_group():
    text = randomization({
        "joint_damping": Estimate(np.array([0.9, 1.1, 1, 1, 1, 1]), np.full(6, 0.05)),
        "joint_friction_nm": Estimate(np.full(6, 0.02), np.full(6, 0.05)),
        "payload_kg": Estimate(0.2, 0.01),
        "gripper_closed": Estimate(0.0, 0.003),  # no term of the simulator
    })  # fmt: skip
    values = yaml.safe_load(text)
    assert values.pop("defaults") == ["light", "_self_"]
    ranges = typed(RandomizeConfig, values)
    assert ranges.joint_damping == (0.8, 1.2)
    assert ranges.joint_friction_nm == (0.0, 0.12)  # friction below nothing there is not
    assert ranges.payload_kg == (0.18, 0.22)


def test_the_excitation_begins_and_ends_at_rest_and_keeps_to_the_policys_speed():
    home = np.array(FR3.home_rad)
    targets = multisine(FR3, home, 20.0, 1)
    assert targets.shape == (400, 6)
    np.testing.assert_allclose(targets[-1], home, atol=1e-12)
    speed = np.diff(targets, axis=0) / CONTROL_PERIOD_S
    assert np.abs(speed).max() < 0.65 < FR3.policy_speed_rad_s
    assert np.abs(speed[[0, -1]]).max() < 0.1
    together = np.corrcoef(targets.T) - np.eye(6)
    assert np.abs(together).max() < 0.95  # joints swing apart


@pytest.mark.parametrize(
    ("word", "expected"),
    [("parts=[delay]", "delays"), ("parts=[]", "at least one"), ("mode=atuo", "auto"), ("motion_s=3", "20 to 1800")],
)
def test_a_wrong_option_is_reported_with_the_choices(word, expected):
    with pytest.raises(UserError, match=expected):
        load("calibrate", CalibrateConfig, [word])


def test_the_old_name_of_parts_is_accepted():
    assert load("calibrate", CalibrateConfig, ["what=[gripper]"]).parts == ("gripper",)


def test_without_a_persons_word_nothing_moves(running, tmp_path):
    def nobody(question: str) -> str:
        raise EOFError

    before = running.controller.measured_deg()
    robot = RobotConnection(ip=HOST, start="never", deadline_s=5.0, **running.ports)
    config = CalibrateConfig(robot, ("delays",), str(tmp_path), mode="confirm", height=16, width=16)
    with pytest.raises(UserError, match="mode=confirm needs a terminal"):
        calibrate(config, nobody)
    np.testing.assert_allclose(running.controller.measured_deg(), before, atol=1e-3)
    assert not running.controller.in_servo and running.controller.servo_calls == 0


def test_each_parts_result_is_written_when_it_is_there(running, tmp_path, monkeypatch):
    written = []

    def first(env, arm, results):
        results.estimates["gripper_speed"] = Estimate(1.25, 0.01)

    def second(env, arm, results):
        written.append(json.loads((tmp_path / "calibration.json").read_text()))
        assert "gripper_speed" in yaml.safe_load((tmp_path / "randomize.yaml").read_text())
        os.link(tmp_path / "calibration.json", tmp_path / "before")
        raise UserError("the cable was pulled")

    monkeypatch.setitem(MEASUREMENTS, "gripper", Measurement("a stand-in", first))
    monkeypatch.setitem(MEASUREMENTS, "delays", Measurement("a stand-in", second))
    robot = RobotConnection(ip=HOST, start="never", deadline_s=5.0, **running.ports)
    config = CalibrateConfig(robot, ("gripper", "delays"), str(tmp_path), mode="auto", height=16, width=16)
    with pytest.raises(UserError, match="the cable was pulled"):
        calibrate(config)
    assert [content["estimates"]["gripper_speed"]["mean"] for content in written] == [1.25]
    kept = json.loads((tmp_path / "calibration.json").read_text())  # and stays when a later part fails
    assert kept["estimates"] == written[0]["estimates"]
    # Never rewritten in place: a kill meanwhile leaves the old one whole.
    assert not (tmp_path / "calibration.json").samefile(tmp_path / "before")


def test_an_interrupted_fit_says_what_is_kept_of_the_parts_before(running, tmp_path, monkeypatch):
    def interrupted(results) -> None:
        raise KeyboardInterrupt

    def measure(env, arm, results) -> None:
        results.estimates["gripper_speed"] = Estimate(1.0, 0.1)

    monkeypatch.setitem(MEASUREMENTS, "gripper", Measurement("instead", measure))
    monkeypatch.setattr(Results, "fit", interrupted)
    robot = RobotConnection(ip=HOST, start="never", deadline_s=5.0, **running.ports)
    with pytest.raises(KeyboardInterrupt) as ended:
        calibrate(CalibrateConfig(robot, ("gripper",), str(tmp_path), "auto"))
    assert "the estimates of gripper_speed are kept" in getattr(ended.value, KEPT)


def test_a_fault_is_told_before_the_fit_and_is_what_is_raised(running, tmp_path, monkeypatch, caplog):
    def measure(env, arm, results):
        raise RobotFault("the emergency stop is pressed")

    def fit(self):
        assert "the emergency stop is pressed" in caplog.text
        assert not running.controller.in_servo
        raise UserError("too few segments")

    monkeypatch.setitem(MEASUREMENTS, "dynamics", Measurement("a stand-in", measure, lambda: None))
    monkeypatch.setattr("real.calibrate.measurements.Results.fit", fit)
    robot = RobotConnection(ip=HOST, start="never", deadline_s=5.0, **running.ports)
    config = CalibrateConfig(robot, ("dynamics",), str(tmp_path), mode="auto", height=16, width=16)
    with pytest.raises(RobotFault, match="emergency stop") as ended:
        calibrate(config)
    assert "too few segments" in with_notes(ended.value)


def test_the_gripper_is_measured_on_a_release_that_pauses_for_it(tmp_path, monkeypatch):
    monkeypatch.setattr("real.calibrate.measurements.GRIPPER_CYCLES", 1)
    old = Running("3.8.5")
    try:
        with old.env() as env, env.guarded_arm() as arm:
            results = Results(tmp_path, env.robot, 0, 20.0)
            MEASUREMENTS["gripper"].measure(env, arm, results)
            assert env.driver.gripper.needs_pause
        assert results.estimates["gripper_speed"].mean > 0
    finally:
        old.stop()


def test_what_is_missing_is_one_clear_error(monkeypatch):
    from mujoco import sysid

    from real.calibrate.dynamics import fit_dynamics, load_sysid

    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    from real.cameras.calibration_board import load_opencv

    with pytest.raises(UserError, match="opencv-python-headless"):
        load_opencv()
    with monkeypatch.context() as without:
        without.delattr(sysid, "optimize", raising=False)
        with pytest.raises(UserError, match=r"mujoco\[sysid\]"):
            load_sysid()
    pytest.importorskip("plotly")
    with pytest.raises(UserError, match="segments"):
        fit_dynamics([on_cycles(swinging_log())], FR3)


def test_the_age_of_an_image_is_counted_whenever_a_policy_could_get_it():
    """A camera of 30 Hz hands out the same image for 33 ms."""
    camera, begun_s = types.SimpleNamespace(), time.monotonic()
    camera.latest = lambda: Frame(np.zeros((8, 8, 3), np.uint8), begun_s - 1.0)
    with ImageRecorder({"front": camera}) as images:
        wait_for(lambda: len(images.ages_s["front"]) > 10)
    assert len(images.frames["front"]) == 1
    assert images.ages_s["front"] == sorted(images.ages_s["front"]) and images.ages_s["front"][-1] > 1.09
