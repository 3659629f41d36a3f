"""The parity test passes a correct recording and reports the cause of every error made in it."""

import ast
import dataclasses
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from fr3 import CONTROL_PERIOD_S, FPS, FR3
from parity_errors import ERRORS

import real.parity
from real.calibrate.calibrate import CalibrateConfig
from real.parity import tracking
from real.parity.alignment_at_rest import exchanged_cameras
from real.parity.arm_renderer import ArmRenderer
from real.parity.image_alignment import correlation
from real.parity.lags import shifted
from real.parity.parity import (
    Expected,
    ParityConfig,
    check_with_renderer,
    compare,
    expected_from_trajectories,
    parity,
    report,
)
from real.parity.recording import ACTION, STATE, Recording, Trajectory, read_recording
from real.parity.static_checks import capture
from sim.core.config import load
from sim.core.errors import UserError
from sim.dataset.reader import DatasetWriter
from sim.dataset.recorder import EpisodeRecorder, features
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.episode.loop import run_episode
from sim.expert.scripted import Expert
from sim.guard.clearance import guarded

NAMES = FR3.value_names
SIZE = (96, 96)
RENDERED = [error for error in ERRORS if error.needs_rendering]
NOT_RENDERED = [error for error in ERRORS if not error.needs_rendering]


class MemoryRecorder:
    """A recorder that keeps the images uncompressed."""

    def __init__(self):
        self.rows = []

    def add(self, step) -> None:
        images = {camera: step.observation.images[camera] for camera in FR3.camera_names}
        self.rows.append(
            (step.observation.state, np.asarray(step.executed, np.float32), images, step.observation.instruction)
        )

    def trajectory(self) -> Trajectory:
        states, actions, images, instructions = zip(*self.rows, strict=True)
        pictures = {camera: np.stack([image[camera] for image in images]) for camera in FR3.camera_names}
        return Trajectory(np.stack(states), np.stack(actions), pictures, instructions[0])


def demonstrations(number: int) -> tuple[Trajectory, ...]:
    env = SimEnv(SimulationConfig())  # light, cameras, delays and start poses vary as in training
    expert, guard, trajectories = Expert(env), guarded(env.robot), []
    for seed in range(31, 200):
        if len(trajectories) == number:
            break
        if env.world.draw(seed).layout.instruction.split()[2] not in ("red", "blue", "yellow"):
            continue  # green looks the same with red and blue exchanged
        recorder = MemoryRecorder()
        run_episode(env, expert, guard, seed, recorder)
        trajectories.append(recorder.trajectory())
    env.close()
    return tuple(trajectories)


@pytest.fixture(scope="module")
def trajectories() -> tuple[Trajectory, ...]:
    return demonstrations(4)


@pytest.fixture(scope="module")
def expected(trajectories) -> Expected:
    return expected_from_trajectories(trajectories[:2], FR3, 20.0)


@pytest.fixture(scope="module")
def recording(trajectories) -> Recording:
    return Recording(FR3.name, 20.0, {STATE: NAMES, ACTION: NAMES}, FR3.camera_names, trajectories[2:])


@pytest.fixture(scope="module")
def renderer():
    arm_renderer = ArmRenderer(FR3, SIZE)
    yield arm_renderer
    arm_renderer.close()


def test_a_correct_recording_passes(recording, expected, renderer):
    findings = compare(recording, expected, images=False) + check_with_renderer(renderer, recording, expected)
    assert not [finding.cause for finding in findings if finding.cause], report(findings)
    text = report(findings)
    for name in ("schema", "start", "actions", "joint tracking", "gripper", "rate", "delays", "images", "colours"):
        assert name in text
    assert "not determined" not in "".join(f.reading for f in findings if f.name != "zeros"), text


@pytest.mark.parametrize("error", NOT_RENDERED, ids=lambda error: error.name)
def test_an_error_of_the_numbers_is_reported(error, recording, expected):
    found = [finding for finding in compare(error.change(recording), expected, images=False) if finding.cause]
    assert any(error.reported in finding.cause for finding in found), report(found)
    assert all(finding.remedy for finding in found)


@pytest.mark.slow
@pytest.mark.parametrize("error", RENDERED, ids=lambda error: error.name)
def test_an_error_of_the_images_is_reported(error, recording, expected, renderer):
    found = [finding for finding in check_with_renderer(renderer, error.change(recording), expected) if finding.cause]
    assert any(error.reported in finding.cause for finding in found), report(found)
    assert all(finding.remedy for finding in found)


def test_mirrored_images_are_reported(recording, expected, renderer):
    (error,) = (error for error in ERRORS if error.name == "wrist mirrored")
    found = [finding for finding in check_with_renderer(renderer, error.change(recording), expected) if finding.cause]
    assert [error.reported in finding.cause for finding in found] == [True], report(found)


def test_errors_are_reported_without_a_reference(recording):
    contract = Expected.from_contract(FR3)
    assert not [f.cause for f in compare(recording, contract, images=False) if f.cause]
    (error,) = (error for error in ERRORS if error.name == "degrees everywhere")
    causes = [f.cause for f in compare(error.change(recording), contract, images=False) if f.cause]
    assert causes == [error.reported.join(["the ", ", not radians"])]


class BeginsWhereMeasured:
    """Swings every joint; as with a policy, each chunk of eight steps begins where the arm was measured."""

    def reset(self, observation, seed):
        self._step = 0

    def act(self, observation):
        if self._step % 8 == 0:
            self._at = observation.state.copy()
        self._step += 1
        self._at[:6] += 0.04 * np.sin(self._step / 9 + np.arange(6))
        return self._at.copy()

    def flags(self):
        return {}


def test_chunks_that_begin_where_the_arm_was_measured_make_no_delay(expected):
    env, recorder = SimEnv(SimulationConfig()), MemoryRecorder()
    run_episode(env, BeginsWhereMeasured(), guarded(env.robot), 31, recorder)
    env.close()
    right = Recording(FR3.name, 20.0, {STATE: NAMES, ACTION: NAMES}, FR3.camera_names, (recorder.trajectory(),))
    (error,) = (error for error in ERRORS if error.name == "motion 150 ms late")
    for told in (expected, Expected.from_contract(FR3)):
        (found, *_) = tracking.delays(right, told)
        assert found.reading.startswith("action to motion") and not found.cause, found
        (found, *_) = tracking.delays(error.change(right), told)
        assert error.reported in found.cause


def test_quantities_without_motion_are_not_determined(recording, expected):
    still = dataclasses.replace(
        recording, trajectories=tuple(_still(trajectory) for trajectory in recording.trajectories)
    )
    readings = {finding.name: finding.reading for finding in compare(still, expected, images=False)}
    for name in ("joint tracking", "gripper", "delays"):
        assert "not determined" in readings[name]


def _still(trajectory: Trajectory) -> Trajectory:
    def first(rows: np.ndarray) -> np.ndarray:
        return np.repeat(rows[:1], len(rows), axis=0)

    return Trajectory(
        first(trajectory.state),
        first(trajectory.state),
        {c: first(i) for c, i in trajectory.images.items()},
        trajectory.instruction,
    )


def test_an_episode_of_a_single_frame_tells_nothing_of_the_rate(recording, expected):
    first = recording.trajectories[0]
    images = {camera: pictures[:1] for camera, pictures in first.images.items()}
    single = dataclasses.replace(first, state=first.state[:1], action=first.action[:1], images=images)
    longer = dataclasses.replace(recording, trajectories=(*recording.trajectories, single))
    assert not [finding.cause for finding in compare(longer, expected, images=False) if finding.cause]


@pytest.mark.parametrize("lag", range(-2, 9))
def test_an_episode_shorter_than_the_lag_has_no_rows_that_belong_together(lag):
    rows = np.arange(5)
    for length in range(1, 5):
        late, early = shifted(rows[:length], rows[:length], lag)
        assert len(late) == len(early) == max(length - abs(lag), 0)
        assert (late - early == lag).all()


def test_exchanged_cameras_are_told_by_an_arm_at_rest(recording):
    still = dataclasses.replace(recording, trajectories=(_still(recording.trajectories[0]),))
    assert exchanged_cameras(still, FR3) == ("", "")
    (one,) = still.trajectories
    front, wrist = still.cameras
    exchanged = dataclasses.replace(one, images={front: one.images[wrist], wrist: one.images[front]})
    cause, remedy = exchanged_cameras(dataclasses.replace(still, trajectories=(exchanged,)), FR3)
    assert cause == "cameras front and wrist are exchanged" and "exchange the devices" in remedy


def test_cameras_that_do_not_show_the_arm_are_in_no_known_order(recording):
    one = _still(recording.trajectories[0])
    rng = np.random.default_rng(0)
    noise = {camera: rng.integers(0, 256, images.shape).astype(np.uint8) for camera, images in one.images.items()}
    unknown = dataclasses.replace(recording, trajectories=(dataclasses.replace(one, images=noise),))
    assert exchanged_cameras(unknown, FR3) is None


def test_the_warped_table_moves_as_geometry_implies(renderer):
    """Straight down, 0.1 m along x: the table moves by focal length times 0.1 over the height."""
    here = (*FR3.home_rad, 1.0)
    pos_w, _ = renderer.camera_pose("wrist", here)
    ramp = np.tile(np.arange(96.0), (96, 1))
    (same,) = renderer.warp_table(ramp[None], "wrist", here, here)
    inside = np.isfinite(same)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(same[inside], ramp[inside], atol=1e-6)
    # J1 turns the arm about the base's axis: the table shifts by the camera's path.
    (turned,) = renderer.warp_table(ramp[None], "wrist", here, (here[0] + 0.02, *here[1:]))
    shift = np.nanmedian(np.hypot(turned - ramp, 0))
    reach_m = np.hypot(pos_w[0], pos_w[1])
    focal_px = 48 / np.tan(np.deg2rad(65) / 2)
    assert 0.3 < shift / (0.02 * reach_m / pos_w[2] * focal_px) < 3


def test_the_silhouette_moves_with_the_arm(renderer):
    here = (*FR3.home_rad, 1.0)
    seen = renderer.silhouette("front", here)
    assert 0.02 < seen.mean() < 0.6
    assert (seen != renderer.silhouette("front", (here[0] + 0.3, *here[1:]))).mean() > 0.01


def test_correlation_of_known_images():
    a = np.random.default_rng(0).normal(size=(20, 20))
    assert correlation(a, 3 * a + 1) == pytest.approx(1)
    assert correlation(a, -a) == pytest.approx(-1)
    hidden = np.full((20, 20), np.nan)
    hidden[0] = 1
    assert np.isnan(correlation(hidden, a))
    assert np.isnan(correlation(np.ones((20, 20)), a))


def test_a_reference_without_images_tells_everything_but_their_size(recording, trajectories):
    blind = [dataclasses.replace(trajectory, images={}) for trajectory in trajectories]
    told = expected_from_trajectories(blind, FR3, FPS)
    assert (told.image_size, told.image_lags) == (None, {})
    assert not [finding.cause for finding in compare(recording, told, images=False) if finding.cause]


def test_a_recorded_dataset_is_compared(trajectories, tmp_path, caplog):
    recorder = EpisodeRecorder(FR3)
    with DatasetWriter(tmp_path / "data", features(FR3, SIZE), FPS, "so101", {}) as writer:
        writer.commit(_episode(recorder, trajectories[2]))
    recording = read_recording(str(tmp_path / "data"), 4)
    np.testing.assert_array_equal(recording.trajectories[0].state, trajectories[2].state)
    findings = parity(ParityConfig(data=str(tmp_path / "data"), reference=None))
    assert [finding.cause for finding in findings] == ["the recording is of a 'so101', not of a 'fairino_fr3'"]
    assert "WRONG" in caplog.text
    with pytest.raises(UserError, match="episodes=0"):
        load("parity", ParityConfig, ["episodes=0"])
    assert load("parity", ParityConfig, ["takes=2", "pictures=false"]) == ParityConfig(episodes=2, images=False)
    with pytest.raises(UserError):
        read_recording(str(tmp_path / "nowhere"), 1)


def _episode(recorder: EpisodeRecorder, trajectory: Trajectory):
    from sim.core.contract import Feedback, Observation
    from sim.episode.loop import EpisodeResult, Step

    for k in range(len(trajectory.state)):
        images = {camera: frames[k] for camera, frames in trajectory.images.items()}
        seen = Observation(images, trajectory.state[k], trajectory.instruction, k * CONTROL_PERIOD_S)
        feedback = Feedback(-1.0, False, False, False)
        recorder.add(Step(seen, trajectory.action[k], trajectory.action[k], feedback, {}, {}))
    return recorder.episode(EpisodeResult(0, True, len(trajectory.state), 1.0), "policy", {})


def test_a_robot_at_rest_is_compared_by_one_observation(running):
    with running.env() as env:
        seen = capture(env)
    assert seen.trajectories[0].state.shape == (1, 7)
    assert seen.trajectories[0].images["front"].shape == (1, 8, 10, 3)
    assert not running.controller.in_servo
    contract = Expected.from_contract(FR3, SIZE)
    (finding,) = [f for f in compare(seen, contract, images=False) if f.cause][:1]
    assert "10x8, the policy was trained with 96x96" in finding.cause


def test_every_command_in_a_remedy_is_valid():
    checks = [
        path for path in Path(real.parity.__file__).parent.glob("*.py") if path.stem not in ("parity", "__main__")
    ]
    sources = [ast.parse(path.read_text()) for path in checks]
    texts = [node.value for tree in sources for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    command = re.compile(r'python -m real\.(\w+)((?: "[^"]*"| \w+=[^\s),]+)*)')
    quoted = [found.groups() for text in texts if isinstance(text, str) for found in command.finditer(text)]
    assert {program for program, _ in quoted} == {"calibrate"}
    parts = {load("calibrate", CalibrateConfig, shlex.split(words)).parts for _, words in quoted}
    assert {("gripper",), ("delays",)} <= parts
