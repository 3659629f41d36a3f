"""A recording as it should be passes; every fault that somebody once made is named when it is planted."""

import ast
import dataclasses
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from fr3 import CONTROL_PERIOD_S, FPS, FR3
from planting import PLANTS

import real.parity
from real.calibrate.calibrate import CalibrateConfig
from real.parity.parity import Expected, ParityConfig, compare, drawn_by, expected_of, look, parity, report
from real.parity.pictures import correlation
from real.parity.recording import ACTION, STATE, Recording, Take, read_recording
from real.parity.view import ModelView
from sim.core.config import load
from sim.core.errors import UserError
from sim.dataset.reader import DatasetWriter
from sim.dataset.recorder import EpisodeRecorder, features
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.episode.loop import run_episode
from sim.expert.scripted import Expert
from sim.guard.clearance import guarded

NAMES = (*FR3.joint_names, "gripper")
SIZE = (96, 96)
TURNED_SLOWLY = [plant for plant in PLANTS if plant.pictures]
READ_QUICKLY = [plant for plant in PLANTS if not plant.pictures]


class Notes:
    """A recorder that keeps the pictures as they are."""

    def __init__(self):
        self.rows = []

    def add(self, step) -> None:
        images = {camera: step.observation.images[camera] for camera in FR3.camera_names}
        self.rows.append(
            (step.observation.state, np.asarray(step.executed, np.float32), images, step.observation.instruction)
        )

    def take(self) -> Take:
        states, actions, images, instructions = zip(*self.rows, strict=True)
        pictures = {camera: np.stack([image[camera] for image in images]) for camera in FR3.camera_names}
        return Take(np.stack(states), np.stack(actions), pictures, instructions[0])


def demonstrations(number: int) -> tuple[Take, ...]:
    env = SimEnv(SimulationConfig())  # light, cameras, delays and start poses as training varies them
    expert, guard, takes = Expert(env), guarded(env.robot), []
    for seed in range(31, 200):
        if len(takes) == number:
            break
        if env.world.draw(seed)["instruction"].split()[2] not in ("red", "blue", "yellow"):
            continue  # green looks the same with red and blue exchanged
        notes = Notes()
        run_episode(env, expert, guard, seed, notes)
        takes.append(notes.take())
    env.close()
    return tuple(takes)


@pytest.fixture(scope="module")
def takes() -> tuple[Take, ...]:
    return demonstrations(4)


@pytest.fixture(scope="module")
def expected(takes) -> Expected:
    return expected_of(takes[:2], FR3, 20.0)


@pytest.fixture(scope="module")
def recording(takes) -> Recording:
    return Recording(FR3.name, 20.0, {STATE: NAMES, ACTION: NAMES}, FR3.camera_names, takes[2:])


@pytest.fixture(scope="module")
def view():
    drawn = ModelView(FR3, SIZE)
    yield drawn
    drawn.close()


def test_a_recording_as_it_should_be_passes(recording, expected, view):
    findings = compare(recording, expected, pictures=False) + drawn_by(view, recording, expected)
    assert not [finding.cause for finding in findings if finding.cause], report(findings)
    text = report(findings)
    for name in ("keys", "start", "actions", "joints follow", "gripper", "rate", "delays", "pictures", "colours"):
        assert name in text
    assert "not told" not in "".join(f.reading for f in findings if f.name != "zeros"), text


@pytest.mark.parametrize("plant", READ_QUICKLY, ids=lambda plant: plant.name)
def test_a_planted_fault_of_the_numbers_is_named(plant, recording, expected):
    found = [finding for finding in compare(plant.change(recording), expected, pictures=False) if finding.cause]
    assert any(plant.says in finding.cause for finding in found), report(found)
    assert all(finding.mend for finding in found)


@pytest.mark.slow
@pytest.mark.parametrize("plant", TURNED_SLOWLY, ids=lambda plant: plant.name)
def test_a_planted_fault_of_the_pictures_is_named(plant, recording, expected, view):
    found = [finding for finding in drawn_by(view, plant.change(recording), expected) if finding.cause]
    assert any(plant.says in finding.cause for finding in found), report(found)
    assert all(finding.mend for finding in found)


def test_mirrored_pictures_are_named_also_without_the_slow_tests(recording, expected, view):
    (plant,) = (plant for plant in PLANTS if plant.name == "wrist mirrored")
    found = [finding for finding in drawn_by(view, plant.change(recording), expected) if finding.cause]
    assert [plant.says in finding.cause for finding in found] == [True], report(found)


def test_without_a_reference_the_contract_still_tells(recording):
    contract = Expected.by_contract(FR3)
    assert not [f.cause for f in compare(recording, contract, pictures=False) if f.cause]
    (plant,) = (plant for plant in PLANTS if plant.name == "degrees everywhere")
    causes = [f.cause for f in compare(plant.change(recording), contract, pictures=False) if f.cause]
    assert causes == [plant.says.join(["the ", ", not radians"])]


def test_what_does_not_move_is_not_told_rather_than_right(recording, expected):
    still = dataclasses.replace(recording, takes=tuple(_still(take) for take in recording.takes))
    readings = {finding.name: finding.reading for finding in compare(still, expected, pictures=False)}
    for name in ("joints follow", "gripper", "delays"):
        assert "not told" in readings[name]


def _still(take: Take) -> Take:
    def first(rows: np.ndarray) -> np.ndarray:
        return np.repeat(rows[:1], len(rows), axis=0)

    return Take(first(take.state), first(take.state), {c: first(i) for c, i in take.images.items()}, take.instruction)


def test_the_camera_on_the_arm_sees_the_table_move_as_geometry_says(view):
    """Straight down, 0.1 m along x: the table moves by focal length times 0.1 over the height."""
    here = (*FR3.home_rad, 1.0)
    pos_w, _ = view.camera_pose("wrist", here)
    ramp = np.tile(np.arange(96.0), (96, 1))
    (same,) = view.carry(ramp[None], "wrist", here, here)
    inside = np.isfinite(same)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(same[inside], ramp[inside], atol=1e-6)
    # J1 turns the arm about the base's axis: a table seen from a camera that turned with it is the same table.
    (turned,) = view.carry(ramp[None], "wrist", here, (here[0] + 0.02, *here[1:]))
    shift = np.nanmedian(np.hypot(turned - ramp, 0))
    reach_m = np.hypot(pos_w[0], pos_w[1])
    focal_px = 48 / np.tan(np.deg2rad(65) / 2)
    assert 0.3 < shift / (0.02 * reach_m / pos_w[2] * focal_px) < 3


def test_the_silhouette_is_there_and_moves_with_the_arm(view):
    here = (*FR3.home_rad, 1.0)
    seen = view.silhouette("front", here)
    assert 0.02 < seen.mean() < 0.6
    assert (seen != view.silhouette("front", (here[0] + 0.3, *here[1:]))).mean() > 0.01


def test_correlation_knows_one_minus_one_and_too_little():
    a = np.random.default_rng(0).normal(size=(20, 20))
    assert correlation(a, 3 * a + 1) == pytest.approx(1)
    assert correlation(a, -a) == pytest.approx(-1)
    hidden = np.full((20, 20), np.nan)
    hidden[0] = 1
    assert np.isnan(correlation(hidden, a))
    assert np.isnan(correlation(np.ones((20, 20)), a))


def test_a_recorded_dataset_is_read_and_judged(takes, tmp_path):
    recorder = EpisodeRecorder(FR3)
    with DatasetWriter(tmp_path / "data", features(FR3, SIZE), FPS, "so101", {}) as writer:
        writer.commit(_episode(recorder, takes[2]))
    recording = read_recording(str(tmp_path / "data"), 4)
    np.testing.assert_array_equal(recording.takes[0].state, takes[2].state)
    said = []
    findings = parity(ParityConfig(data=str(tmp_path / "data"), reference=None), said.append)
    assert [finding.cause for finding in findings] == ["the recording is of a 'so101', not of a 'fairino_fr3'"]
    assert "WRONG" in "\n".join(said)
    with pytest.raises(UserError, match="takes=0"):
        ParityConfig(takes=0)
    with pytest.raises(UserError):
        read_recording(str(tmp_path / "nowhere"), 1)


def _episode(recorder: EpisodeRecorder, take: Take):
    from sim.core.contract import Feedback, Observation
    from sim.episode.loop import EpisodeResult, Step

    for k in range(len(take.state)):
        images = {camera: frames[k] for camera, frames in take.images.items()}
        seen = Observation(images, take.state[k], take.instruction, k * CONTROL_PERIOD_S)
        feedback = Feedback(-1.0, False, False, False)
        recorder.add(Step(seen, take.action[k], take.action[k], feedback, {}, {}))
    return recorder.episode(EpisodeResult(0, True, len(take.state), 1.0), "policy", {})


def test_one_look_at_a_robot_tells_what_does_not_need_motion(running):
    with running.env() as env:
        seen = look(env)
    assert seen.takes[0].state.shape == (1, 7)
    assert seen.takes[0].images["front"].shape == (1, 8, 10, 3)
    assert not running.controller.in_servo
    contract = Expected.by_contract(FR3, SIZE)
    (finding,) = [f for f in compare(seen, contract, pictures=False) if f.cause][:1]
    assert "10x8, the policy learned 96x96" in finding.cause


def test_every_command_in_a_mend_is_understood_as_it_is_quoted():
    checks = [
        path for path in Path(real.parity.__file__).parent.glob("*.py") if path.stem not in ("parity", "__main__")
    ]
    sources = [ast.parse(path.read_text()) for path in checks]
    texts = [node.value for tree in sources for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    command = re.compile(r'python -m real\.(\w+)((?: "[^"]*"| \w+=[^\s),]+)*)')
    quoted = [found.groups() for text in texts if isinstance(text, str) for found in command.finditer(text)]
    assert {program for program, _ in quoted} == {"calibrate"}
    parts = {load("calibrate", CalibrateConfig, shlex.split(words)).what for _, words in quoted}
    assert {("gripper",), ("delays",)} <= parts
