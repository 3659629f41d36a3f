"""What a rollout is refused for before anything moves, each with the cause and the remedy."""

import os
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from other_agent import write_agent
from running import HOST, Running, Swing

from real.core.faults import RobotFault, RobotUnreachable
from real.fairino.checks import await_first_state
from real.fairino.driver import FairinoDriver
from real.rollout.rollout import RolloutConfig, rollout
from real.workcell.connect import RobotConnection
from sim.core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
OTHER_AGENT = """
import types
def load_agent(root, indicator, guidance, lead_s):
    return types.SimpleNamespace(image_size=(8, 8), task="", spec=types.SimpleNamespace(robot="so101", control_hz=20))
"""


def refusal(running: Running, tmp_path, size: tuple[int, int] = (8, 10), **changes) -> str:
    """Roll out; what it is refused with. Nothing has moved then, and no episode is written.

    size: (height, width) of the pictures the policy learned from; changes: of the ports.
    """
    before = running.controller.measured_deg()
    ports = {**running.ports, **changes}
    robot = RobotConnection(ip=HOST, start="never", deadline_s=5.0, **ports)
    config = RolloutConfig(robot, str(tmp_path), 1, 0, str(tmp_path / "out"))
    with pytest.raises(UserError) as refused:
        rollout(config, lambda root: Swing(size))
    np.testing.assert_allclose(running.controller.measured_deg(), before, atol=1e-3)
    assert not running.controller.in_servo
    assert running.controller.servo_calls == 0
    assert not list((tmp_path / "out").rglob("*.parquet"))
    return str(refused.value)


def test_a_wrong_address_names_it(tmp_path):
    config = RolloutConfig(RobotConnection(ip=HOST, rpc_port=1, start="never"), str(tmp_path))
    with pytest.raises(RobotUnreachable, match=r"127\.0\.0\.1:1"):
        rollout(config, lambda root: Swing((8, 10)))


@pytest.mark.parametrize(
    ("model", "release", "says"),
    [
        ("FR5-V1-002(V6.0)", "V3.9.6", r"controller: FR5-V1-002\(V6.0\) V3.9.6 \(this program drives a FAIRINO FR3"),
        ("FR30-V1-001(V6.0)", "V3.9.6", r"controller: FR30-V1-001\(V6.0\) V3.9.6 \(this program drives a FAIRINO FR3"),
        ("FR3WML-V1-001(V6.0)", "V3.9.6", r"controller: FR3WML-V1-001\(V6.0\) V3.9.6 \(this program drives"),
        ("FR3-V1-002(V6.0)", "V3.6.9", r"release: V3.6.9 \(update the controller to V3.7.6 or later"),
        ("FR3-V1-002(V6.0)", "newest", "'newest' is not understood, expected the like of 'V3.8.7'"),
    ],
)
def test_another_arm_or_a_release_too_old_is_refused(running, tmp_path, model, release, says):
    running.answer("GetSoftwareVersion", 0, [0, model, release, "V3.9.33-QX"])
    assert re.search(says, refusal(running, tmp_path))


@pytest.mark.parametrize(
    ("ignored", "says"), [("Mode", "manual mode; switch it to automatic"), ("RobotEnable", "the drives are off")]
)
def test_a_controller_that_ignores_mode_or_enable_is_refused(running, tmp_path, ignored, says):
    """As seen on hardware: it answers that all is well, and stays as it was."""
    running.answer(ignored, 1, 0)
    assert says in refusal(running, tmp_path)


def test_an_arm_in_fault_is_refused_with_its_code_and_is_not_reset(running, tmp_path):
    running.controller.collide()
    said = refusal(running, tmp_path)
    assert "fault:" in said and "reset the errors" in said
    assert running.controller.collided


def test_an_arm_outside_its_soft_limits_is_refused_with_the_joint(running, tmp_path):
    running.world._joints = running.world._target = np.deg2rad([0, -90, 152, -90, -90, 0])
    running.controller._hold_present()
    said = refusal(running, tmp_path)
    assert "j3 outside the soft limits" in said and "jog the arm inside" in said


def test_a_missing_camera_is_refused_with_its_name(running, tmp_path):
    said = refusal(running, tmp_path, camera_port=1)
    assert "camera front" in said and "does not answer" in said


def test_pictures_of_another_size_than_the_policy_learned_are_refused(running, tmp_path):
    said = refusal(running, tmp_path, size=(10, 8))
    assert "not fit to move: images: images of camera front are 10x8, the policy was trained with 8x10" in said
    assert "crop and resize them to 8x10" in said


def test_a_camera_that_shows_nothing_is_refused_by_name(running, tmp_path):
    capture = running.world.capture
    fogged = np.full((8, 10, 3), 120, np.uint8)
    running.world.capture = lambda camera, *frame: fogged if camera == "wrist" else capture(camera, *frame)
    said = refusal(running, tmp_path)
    assert "images of camera wrist are without contrast" in said and "front" not in said


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda state: [*np.rad2deg(state[:-1]), state[-1]], "joints are in degrees, not radians"),
        (lambda state: [*state[:-1], 100 * state[-1]], "gripper is in percent, not 0..1"),
        (np.zeros_like, "state is all zeros: none was received"),
    ],
)
def test_joints_the_policy_would_not_understand_are_refused(running, tmp_path, monkeypatch, wrong, says):
    def state(driver: FairinoDriver, at_s: float | None = None) -> tuple[np.ndarray, float]:
        seen, stamp_s = right(driver, at_s)
        return np.array(wrong(seen), np.float32), stamp_s

    right = FairinoDriver.state
    monkeypatch.setattr(FairinoDriver, "state", state)
    assert f"start: the measured {says}" in refusal(running, tmp_path)


def test_a_checkpoint_of_another_embodiment_is_refused(tmp_path):
    write_agent(tmp_path, OTHER_AGENT)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "real.rollout", f"checkpoint={tmp_path}", "robot=emulator", "robot.start=never"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "was made with so101 at 20 Hz, this is fairino_fr3" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_release_whose_state_is_unknown_is_named_and_no_cable(monkeypatch):
    class Mute:
        def wait_newer(self, than_s: float, timeout_s: float) -> None:
            raise RobotUnreachable("no state; check power and address")

    def answering(release: str) -> types.SimpleNamespace:
        return types.SimpleNamespace(query=lambda method, least: ["FR3", release, "V3.2.1"])

    with pytest.raises(RobotFault, match="release is V3.6.9: .* unknown; update the controller to V3.7.6"):
        await_first_state(Mute(), answering("V3.6.9"), 0.1)  # type: ignore[arg-type]
    with pytest.raises(RobotUnreachable, match="check power"):
        await_first_state(Mute(), answering("V3.9.6"), 0.1)  # type: ignore[arg-type]


def test_a_policy_of_another_task_is_refused(running, tmp_path):
    class Stacker(Swing):
        task = "stack"

    config = RolloutConfig(
        RobotConnection(ip=HOST, start="never", **running.ports), str(tmp_path), 1, 0, str(tmp_path / "out")
    )
    with pytest.raises(
        UserError, match=r"task: pick_place \(the policy was trained on stack; start the emulator with task="
    ):
        rollout(config, lambda root: Stacker((8, 10)))
    assert running.controller.servo_calls == 0


def test_a_dry_run_with_a_camera_missing_shows_payload_tool_and_everything_else(running, tmp_path, caplog):
    running.controller.frames.load_kg = 0.5
    robot = RobotConnection(kind="hardware", instruction="go", ip=HOST, cameras={"front": "/dev/none"}, **running.ports)
    rollout(RolloutConfig(robot, str(tmp_path), mode="dry"), lambda root: Swing((8, 10)))
    for reading in (
        "0.50 kg, the gripper weighs 1.00 kg", "in the description [0.0, 0.0, 160.0]",
        "no device for camera wrist", "nothing was moved",
    ):  # fmt: skip
        assert reading in caplog.text
    assert caplog.text.count("NOT OK") >= 2
