"""An arm with secrets is calibrated; what is found must be they: from a log, and through the emulator's sockets."""

import json

import numpy as np
import pytest
import yaml
from hidden_arm import hidden_log, hidden_world

from real.bench import EmulatedBench
from real.calibrate import CalibrateConfig, calibrate
from real.calibration.board import BOARD_POS_W, WithBoard, base_from_board
from real.calibration.camera import calibrate_hand_eye, calibrate_lens, find_board
from real.calibration.log import on_cycles
from real.calibration.views import WristCamera
from real.emulation.launch import EmulatorProcess
from real.session import RobotConfig
from sim.config import typed
from sim.randomize.ranges import RandomizeConfig
from sim.robot import FR3
from sim.scene.build import RenderConfig
from sim.tasks import TASKS
from sim.world import World, WorldConfig

SHARE = 0.1  # the bar: a tenth


def test_dynamics_of_a_hidden_arm_from_eight_seconds():
    pytest.importorskip("plotly", reason="needs mujoco[sysid]")
    from real.calibration.dynamics import fit_dynamics

    world = hidden_world(
        0, joint_damping=(0.6, 1.6), joint_friction_nm=(0.3, 1.5), joint_armature=(0.7, 1.6), servo_gain=(0.6, 1.3),
        payload_kg=(0.1, 0.5), action_delay_s=(0.01, 0.03),
    )  # fmt: skip
    log = hidden_log(world, 3, 8.0)
    found = fit_dynamics([on_cycles(log)], FR3)
    for name in ("joint_damping", "joint_friction_nm", "joint_armature", "servo_gain", "payload_kg"):
        np.testing.assert_allclose(found[name].mean, world.draws[name], rtol=SHARE, err_msg=name)
    # Sent 4 ms before the cycle that takes it up; takes effect at the nearest physics step, 2 ms apart.
    assert found["action_delay_s"].mean == pytest.approx(world.draws["action_delay_s"] + 0.004, abs=0.002)


def test_wrist_camera_and_board_from_pictures():
    pytest.importorskip("cv2")
    config = WorldConfig(task="reach", render=RenderConfig(height=480, width=640))
    world = World(config, task=WithBoard(TASKS["reach"]))
    world.reset(3)
    wrist, home = WristCamera(FR3), np.array(FR3.home_rad)
    views, tools = [], []
    for joints_rad in wrist.looks(BOARD_POS_W, home):
        qpos = world.snapshot()
        qpos[world.scene.arm_qpos] = joints_rad
        view = find_board(world.render("wrist", qpos))
        if view is not None:
            views.append(view)
            tools.append(wrist.tool_pose(joints_rad))
    world.close()
    lens = calibrate_lens(views, 480, 640)
    mount, lens, base_from_board_found = calibrate_hand_eye(views, tools, lens, wrist.tool_from_camera)
    terms = wrist.terms(mount, lens)
    np.testing.assert_allclose(terms["wrist_pos_m"].mean, world.draws["wrist_pos_m"], atol=7e-4)
    np.testing.assert_allclose(terms["wrist_tilt_rad"].mean, world.draws["wrist_tilt_rad"], atol=4e-3)
    assert terms["wrist_fovy_deg"].mean == pytest.approx(world.draws["wrist_fovy_deg"], abs=0.25)
    np.testing.assert_allclose(base_from_board_found, base_from_board(), atol=2e-3)
    assert find_board(np.zeros((480, 640, 3), np.uint8)) is None


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_whole_program_finds_what_the_emulator_hides(tmp_path):
    pytest.importorskip("plotly", reason="needs mujoco[sysid]")
    pytest.importorskip("cv2")
    with EmulatorProcess(seed=41, randomize="full", task="reach", board=True, height=480, width=640) as emulator:
        robot = RobotConfig(ip=emulator.host, start="never", **emulator.ports)
        content = calibrate(CalibrateConfig(robot, out=str(tmp_path), motion_s=40.0))
        hidden = EmulatedBench((emulator.host, emulator.ports["bench_port"])).facts()
    found = {name: np.array(estimate["mean"]) for name, estimate in content["estimates"].items()}
    for name in ("joint_damping", "joint_friction_nm", "joint_armature", "servo_gain", "gripper_speed"):
        np.testing.assert_allclose(found[name], hidden[f"draw/{name}"], rtol=SHARE, err_msg=name)
    np.testing.assert_allclose(found["payload_kg"], hidden["draw/payload_kg"], rtol=SHARE)
    # From the cycle that takes a command up to motion. Sending it to that cycle comes on top, and the emulator computes
    # a cycle of 8 ms ahead: seen from here it is that much faster.
    assert found["controller_delay_s"] == pytest.approx(hidden["draw/action_delay_s"], rel=SHARE)
    assert abs(found["action_delay_s"] - hidden["draw/action_delay_s"]) < 0.009
    # Not to a tenth: two programs that share a machine stamp pictures and states; when it is busy, that costs ms.
    for camera in FR3.cameras:
        assert found[f"{camera}_delay_s"] == pytest.approx(hidden["draw/observation_delay_s"], abs=0.004)
    # Hidden joint offsets (encoder_bias_rad, up to 3 mrad) turn the mount that is found, not the lens or its place.
    np.testing.assert_allclose(found["wrist_pos_m"], hidden["draw/wrist_pos_m"], atol=1e-3)
    assert found["wrist_fovy_deg"] == pytest.approx(hidden["draw/wrist_fovy_deg"], abs=0.3)
    assert found["front_fovy_deg"] == pytest.approx(hidden["draw/front_fovy_deg"], abs=1.5)
    assert json.loads((tmp_path / "calibration.json").read_text())["cameras"]["wrist"]["rms_px"] < 0.5
    values = yaml.safe_load((tmp_path / "randomize.yaml").read_text())
    assert values.pop("defaults") == ["light", "_self_"]
    ranges = typed(RandomizeConfig, values)
    low, high = ranges.joint_friction_nm
    assert low < min(found["joint_friction_nm"]) and max(found["joint_friction_nm"]) < high
