"""An arm with secrets is calibrated; what is found must be they: from a log, and through the emulator's sockets."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import yaml
from fr3 import FR3
from hidden_arm import hidden_log, hidden_world

from real.calibrate.calibrate import CalibrateConfig, calibrate
from real.calibrate.camera_poses import WristView
from real.calibrate.hand_eye import (
    OPENCV_FROM_MUJOCO,
    HandEye,
    Intrinsics,
    View,
    calibrate_hand_eye,
    calibrate_intrinsics,
    find_board,
)
from real.calibrate.measurements import MEASUREMENTS
from real.calibrate.motion_log import on_cycles
from real.emulator.board_scene import BOARD_POS_W, WithBoard, base_from_board
from real.workcell.connect import RobotConnection
from real.workcell.emulator_process import EmulatorProcess
from real.workcell.episode_setup import EmulatedBench
from sim.core.config import load_group
from sim.core.errors import UserError
from sim.core.paths import CHECKOUT
from sim.core.structured import typed
from sim.envs.simulation import Simulation, SimulationConfig
from sim.randomize.ranges import RandomizeConfig, nominal
from sim.scene.build import RenderConfig
from sim.tasks.base import TASKS

SHARE = 0.1  # the bar: a tenth
PART_ESTIMATES = {
    "delays": {"front_delay_s", "wrist_delay_s", "observation_delay_s"},
    "gripper": {"gripper_speed"},
    "dynamics": {"joint_friction_nm", "joint_damping", "joint_armature", "servo_gain", "payload_kg"},
    "camera": {"wrist_pos_m", "wrist_tilt_rad", "wrist_fovy_deg", "front_fovy_deg"},
}


def test_dynamics_of_a_hidden_arm_from_eight_seconds():
    pytest.importorskip("plotly", reason="needs mujoco[sysid]")
    from real.calibrate.dynamics import fit_dynamics

    world = hidden_world(
        0, joint_damping=(0.6, 1.6), joint_friction_nm=(0.3, 1.5), joint_armature=(0.7, 1.6), servo_gain=(0.6, 1.3),
        payload_kg=(0.1, 0.5), action_delay_s=(0.01, 0.03),
    )  # fmt: skip
    log = hidden_log(world, 3, 8.0)
    found = fit_dynamics([on_cycles(log)], FR3)
    for name in ("joint_damping", "joint_friction_nm", "joint_armature", "servo_gain", "payload_kg"):
        np.testing.assert_allclose(
            found[name].mean, getattr(world.params.randomization, name), rtol=SHARE, err_msg=name
        )
    # Sent 4 ms before the cycle that takes it up; takes effect at the nearest physics step, 2 ms apart.
    assert found["action_delay_s"].mean == pytest.approx(world.params.randomization.action_delay_s + 0.004, abs=0.002)


def board_views(world: Simulation, wrist: WristView) -> tuple[list[View], np.ndarray]:
    """What the wrist camera sees of the board, and the joint angles that the encoders show meanwhile."""
    views, shown = [], []
    for joints_rad in wrist.viewpoints(BOARD_POS_W, np.array(FR3.home_rad)):
        qpos = world.snapshot()
        qpos[world.scene.arm_qpos] = joints_rad - world.encoder_bias_rad
        view = find_board(world.render("wrist", qpos))
        if view is not None:
            views.append(view)
            shown.append(joints_rad)
    return views, np.array(shown)


def from_pictures(seed: int, **ranges) -> tuple[dict, WristView, HandEye]:
    """(what was hidden, the camera as designed, what was found) of a bench on which nothing but `ranges` varies."""
    pytest.importorskip("cv2")
    randomize = RandomizeConfig(**{**vars(nominal()), **ranges})
    config = SimulationConfig(task="reach", render=RenderConfig(height=480, width=640), randomize=randomize)
    world, wrist = Simulation(config, task=WithBoard(TASKS.get("reach"))), WristView(FR3)
    world.reset(seed)
    views, shown_rad = board_views(world, wrist)
    world.close()
    lens = calibrate_intrinsics(views, 480, 640)
    return (
        world.params.to_record(),
        wrist,
        calibrate_hand_eye(views, shown_rad, wrist.tool_pose, lens, wrist.tool_from_camera),
    )


def test_wrist_camera_and_board_from_pictures():
    draws, wrist, found = from_pictures(3, wrist_pos_m=(-0.002, 0.002), wrist_fovy_deg=(-1, 1))
    terms = wrist.terms(found)
    np.testing.assert_allclose(terms["wrist_pos_m"].mean, draws["wrist_pos_m"], atol=4e-4)
    np.testing.assert_allclose(terms["wrist_tilt_rad"].mean, draws["wrist_tilt_rad"], atol=1.5e-3)
    assert terms["wrist_fovy_deg"].mean == pytest.approx(draws["wrist_fovy_deg"], abs=0.1)
    np.testing.assert_allclose(found.base_from_board, base_from_board(), atol=1e-3)
    assert find_board(np.zeros((480, 640, 3), np.uint8)) is None


@pytest.mark.parametrize("seed", range(3))
def test_wrist_camera_from_pictures_with_hidden_joint_offsets(seed):
    full = load_group("randomize", "full", RandomizeConfig)
    names = ("wrist_pos_m", "wrist_tilt_rad", "wrist_fovy_deg", "encoder_bias_rad")
    draws, wrist, found = from_pictures(seed, **{name: getattr(full, name) for name in names})
    terms = wrist.terms(found)
    error = {name: terms[name].mean - np.array(draws[name]) for name in names}
    for name in names:
        assert np.all(np.abs(error[name]) < 3 * np.array(terms[name].std)), name
    assert np.abs(error["wrist_pos_m"]).max() < 1e-3
    assert np.abs(error["wrist_tilt_rad"][:2]).max() < 2e-3  # across the line of sight
    # An offset of J6 and a mount turned about the tool are the same to every picture; together they are known.
    about_j6 = OPENCV_FROM_MUJOCO @ wrist.tool_from_camera[2, :3]  # its axis, the tool's z, in the camera's frame
    together = error["wrist_tilt_rad"] - error["encoder_bias_rad"][5] * about_j6
    assert np.abs(together).max() < 1.5e-3
    # J2 to J5 are seen by themselves; J1 is the same as another place of the board and stays where the prior has it.
    assert np.abs(error["encoder_bias_rad"][1:5]).max() < 1.2e-3
    np.testing.assert_allclose(np.array(found.offset_rad.std)[[0, 5]], 0.003 / np.sqrt(3), rtol=0.02)
    away_m = found.base_from_board[:3, 3] - base_from_board()[:3, 3]
    assert np.all(np.abs(away_m) < 3 * np.sqrt(np.diag(found.board_covariance)[:3]))


def test_looks_that_do_not_tell_the_mount_are_refused():
    pytest.importorskip("cv2")
    wrist, home = WristView(FR3), np.array(FR3.home_rad)
    board_b, lens = base_from_board(), Intrinsics(np.diag([400.0, 400.0, 1.0]), np.zeros(5), 480, 640, 0.1, 1.0)
    squares = np.array([[x, y, 0.0] for x in range(6) for y in range(4)]) * 0.03
    shown = home + np.linspace(-0.3, 0.3, 8)[:, None] * [1, 0, 0, 0, 0, 0]  # J1 alone: upright turns
    views = []
    for joints_rad in shown:
        camera_b = wrist.tool_pose(joints_rad) @ wrist.tool_from_camera
        points = (np.linalg.inv(camera_b) @ board_b @ np.column_stack([squares, np.ones(len(squares))]).T)[:3]
        views.append(View(squares, (400 * points[:2] / points[2]).T))
    with pytest.raises(UserError, match="more than one axis"):
        calibrate_hand_eye(views, shown, wrist.tool_pose, lens, wrist.tool_from_camera)
    with pytest.raises(UserError, match="at least"):
        calibrate_hand_eye(views[:3], shown[:3], wrist.tool_pose, lens, wrist.tool_from_camera)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_bare_program_runs_whole_on_its_own_emulator(tmp_path):
    """As typed in an empty folder; every part's estimates are there, and the part's lines come before the next."""
    pytest.importorskip("plotly", reason="needs mujoco[sysid]")
    pytest.importorskip("cv2")
    done = subprocess.run(
        [sys.executable, "-m", "real.calibrate"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=2900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    out = tmp_path / "runs" / "calibration"
    content = json.loads((out / "calibration.json").read_text())
    assert set(PART_ESTIMATES) == set(MEASUREMENTS)
    for part, names in PART_ESTIMATES.items():
        assert names <= set(content["estimates"]), part
    assert {"board.png", "randomize.yaml", "swing.npz"} <= {path.name for path in out.iterdir()}
    values = yaml.safe_load((out / "randomize.yaml").read_text())
    values.pop("defaults")
    typed(RandomizeConfig, values)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_whole_program_finds_what_the_emulator_hides(tmp_path):
    pytest.importorskip("plotly", reason="needs mujoco[sysid]")
    pytest.importorskip("cv2")
    # Encoders that are off by 0.03 degrees in every reading want more than 40 s of motion.
    still = {"randomize.encoder_noise_rad": "[0,0]"}
    with EmulatorProcess((480, 640), seed=41, randomize="full", task="reach", board=True, **still) as emulator:
        robot = RobotConnection(ip=emulator.host, start="never", **emulator.ports)
        content = calibrate(CalibrateConfig(robot, out=str(tmp_path), motion_s=40.0))
        hidden = EmulatedBench((emulator.host, emulator.ports["bench_port"])).metadata()
    found = {name: np.array(estimate["mean"]) for name, estimate in content["estimates"].items()}
    for name in ("joint_damping", "joint_friction_nm", "joint_armature", "servo_gain", "gripper_speed"):
        np.testing.assert_allclose(found[name], hidden[f"draw/{name}"], rtol=SHARE, err_msg=name)
    np.testing.assert_allclose(found["payload_kg"], hidden["draw/payload_kg"], rtol=SHARE)
    # From the cycle that takes a command up to motion. Sending it to that cycle comes on top, and the emulator computes
    # a cycle of 8 ms ahead: seen from here it is that much faster.
    assert found["controller_delay_s"] == pytest.approx(hidden["draw/action_delay_s"], rel=SHARE)
    assert abs(found["action_delay_s"] - hidden["draw/action_delay_s"]) < 0.009
    # Not to a tenth: two programs that share a machine stamp pictures and states; when it is busy, that costs ms.
    for camera, skew_s in zip(FR3.camera_names, hidden["draw/camera_skew_s"], strict=True):
        delay_s = hidden["draw/observation_delay_s"] + skew_s + hidden["draw/observation_jitter_s"] / 2
        assert found[f"{camera}_delay_s"] == pytest.approx(delay_s, abs=0.004)
    np.testing.assert_allclose(found["wrist_pos_m"], hidden["draw/wrist_pos_m"], atol=1e-3)
    for name in ("wrist_pos_m", "wrist_tilt_rad", "encoder_bias_rad"):
        off = np.abs(found[name] - hidden[f"draw/{name}"])
        assert np.all(off < 4 * np.array(content["estimates"][name]["std"])), name
    assert found["wrist_fovy_deg"] == pytest.approx(hidden["draw/wrist_fovy_deg"], abs=0.3)
    assert found["front_fovy_deg"] == pytest.approx(hidden["draw/front_fovy_deg"], abs=1.5)
    assert json.loads((tmp_path / "calibration.json").read_text())["cameras"]["wrist"]["rms_px"] < 0.5
    values = yaml.safe_load((tmp_path / "randomize.yaml").read_text())
    assert values.pop("defaults") == ["light", "_self_"]
    ranges = typed(RandomizeConfig, values)
    low, high = ranges.joint_friction_nm
    assert low < min(found["joint_friction_nm"]) and max(found["joint_friction_nm"]) < high
