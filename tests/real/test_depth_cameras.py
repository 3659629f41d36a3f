"""Depth from the emulator's cameras into an observation and a recording, and the check before anything moves."""

import types

import numpy as np
import pytest
from fr3 import FR3
from running import Running

from real.cameras.camera import EmulatorCamera
from real.parity.preflight import depth_check
from real.workcell.recording import RobotRecorder, robot_features
from sim.core.contract import Feedback
from sim.core.errors import UserError
from sim.dataset.reader import Dataset, DatasetWriter
from sim.episode.loop import EpisodeResult, Step

SIZE = (32, 40)


@pytest.fixture(scope="module")
def emulator():
    running = Running()
    render = types.SimpleNamespace(depth=False)
    vars(running.world).update(
        config=types.SimpleNamespace(render=render),
        measure_depth=lambda camera, qpos, frame: far(camera),
        capture=lambda camera, qpos, frame: np.full((*SIZE, 3), 90, np.uint8),
    )
    yield running
    running.stop()


@pytest.fixture
def measuring(emulator, monkeypatch):
    monkeypatch.setattr(vars(emulator.world)["config"].render, "depth", True)
    return emulator


def far(camera: str) -> np.ndarray:
    """Millimetres that need both bytes, all different."""
    return np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE) + (700 if camera == "front" else 300)


def with_depth(running: Running, env) -> None:
    env.cameras = {name: EmulatorCamera(name, running.address("camera_port"), depth=True) for name in env.cameras}


def test_the_wire_holds_image_and_depth(measuring):
    camera = EmulatorCamera("wrist", measuring.address("camera_port"), depth=True)
    frame, plain = camera.latest(), EmulatorCamera("wrist", measuring.address("camera_port")).latest()
    np.testing.assert_array_equal(frame.depth, far("wrist"))
    np.testing.assert_array_equal(frame.image, plain.image)
    assert plain.depth is None
    camera.close()


def test_an_emulator_without_says_how_to_get_it(emulator):
    camera = EmulatorCamera("wrist", emulator.address("camera_port"), depth=True)
    with pytest.raises(
        UserError, match="wrist measures no depth; start the emulator with render.depth=true"
    ) as refused:
        camera.latest()
    assert "\n" not in str(refused.value)
    camera.close()


def test_an_observation_of_the_robot_holds_it_and_it_is_recorded(measuring, tmp_path):
    with measuring.env() as env:
        with_depth(measuring, env)
        env.reset(0)
        seen, recorder = env.observe(), RobotRecorder(env)
        for camera in FR3.camera_names:
            np.testing.assert_array_equal(seen.depth[camera], far(camera))
        recorder.add(Step(seen, seen.state, seen.state, Feedback(-1.0, False, False, False), {}, {}))
        episode = recorder.episode(EpisodeResult(0, success=False, steps=1, time_s=0.05), "policy", {})
    with DatasetWriter(tmp_path / "d", robot_features(FR3, SIZE, depth=True), 20, FR3.name) as writer:
        writer.commit(episode)
    np.testing.assert_array_equal(Dataset(tmp_path / "d").depth(0, "wrist"), [far("wrist")])


def test_a_policy_that_needs_it_is_refused_before_the_arm_moves(emulator, monkeypatch):
    with emulator.env() as env:
        assert depth_check(env, needed=False) == []
        (check,) = depth_check(env, needed=True)  # a USB camera gives images alone
        assert not check.good and check.reading == "camera front measures none" and "realsense" in check.remedy
        with_depth(emulator, env)
        (check,) = depth_check(env, needed=True)
        assert not check.good and "render.depth=true" in check.reading
        monkeypatch.setattr(vars(emulator.world)["config"].render, "depth", True)
        (check,) = depth_check(env, needed=True)
        assert check.good
