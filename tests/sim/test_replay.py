"""Replay: an episode comes back bit for bit from what was drawn and sent, and a change is named."""

import dataclasses
import errno
import os
from pathlib import Path

import numpy as np
import pytest
from fr3 import FPS, FR3
from playing import PUSHED, SMALL, play_expert

from sim import replay
from sim.core.contract import TURN_COLUMNS
from sim.core.errors import UserError
from sim.core.provenance import provenance
from sim.dataset.reader import Dataset, DatasetWriter
from sim.dataset.recorder import EpisodeRecorder, features
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import Simulation, SimulationConfig
from sim.envs.video import VideoRecorder

WORLD = SimulationConfig(render=SMALL)
SEEDS = (41, 42)


def record(root: Path, metadata=lambda env: env.metadata()) -> Path:
    env = SimEnv(WORLD)
    with DatasetWriter(
        root, features(FR3, (SMALL.height, SMALL.width)), FPS, FR3.name, provenance({"world": WORLD})
    ) as w:
        for seed in SEEDS:
            recorder = EpisodeRecorder(FR3)
            result = play_expert(env, seed, recorder, quality=PUSHED)
            w.commit(recorder.episode(result, "expert", metadata(env)))
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return record(tmp_path_factory.mktemp("replay") / "demos")


def test_every_episode_comes_back_bit_for_bit(root):
    env, dataset = SimEnv(WORLD), Dataset(root)
    for episode in (1, 0):  # in any order
        assert replay.replay(env, dataset, episode, images=True) == []


def test_columns_that_a_dataset_of_before_lacks_are_not_compared(root):
    """Turns came later; read, they would be unknown everywhere, and unknown equals nothing."""
    dataset = Dataset(root)
    kept = {name: column for name, column in dataset.features.columns.items() if name not in TURN_COLUMNS}
    assert len(kept) < len(dataset.features.columns)
    dataset.features = dataclasses.replace(dataset.features, columns=kept)
    assert replay.replay(SimEnv(WORLD), dataset, 0) == []


def test_another_value_drawn_is_noticed(root, monkeypatch):
    dataset = Dataset(root)
    drawn = replay.drawn_record(dataset, 0) | {"servo_gain": 0.5}
    monkeypatch.setattr(replay, "drawn_record", lambda *_: drawn)
    found = replay.replay(SimEnv(WORLD), dataset, 0)
    state = next(difference for difference in found if difference.column == "observation.state")
    assert 1 <= state.frame < 10  # nothing moves before the first action


def test_a_camera_that_sees_something_else_is_named(root, monkeypatch):
    """A square of the wrist's images is inverted from frame 20 on."""
    capture = Simulation.capture

    def tampered(world: Simulation, camera: str, qpos: np.ndarray, frame: int) -> np.ndarray:
        picture = capture(world, camera, qpos, frame).copy()
        if camera == "wrist" and frame >= 20:
            picture[8:24, 8:24] = 255 - picture[8:24, 8:24]
        return picture

    monkeypatch.setattr(Simulation, "capture", tampered)
    (found,) = replay.replay(SimEnv(WORLD), Dataset(root), 0, images=True)
    assert found.frame == 20 and str(found).startswith("observation.images.wrist, pixel (")
    assert replay.replay(SimEnv(WORLD), Dataset(root), 0) == []


def test_a_video_that_cannot_be_written_is_one_line(root, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*file/video.mp4: "):
        replay.main(replay.ReplayConfig(str(root), video=str(tmp_path / "file" / "video.mp4")))
    recorder = VideoRecorder(SimEnv(WORLD).world, SMALL)
    recorder.frames = [np.zeros((16, 16, 3), np.uint8)]
    for name in ("video", "video.txt", "video.png"):
        with pytest.raises(UserError, match=f"cannot write .*{name}: .* expected a file name ending in .mp4"):
            recorder.save(tmp_path / name)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"disk full while writing .*video.mp4"):
            recorder.save(tmp_path / "video.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    recorder.save(tmp_path / "new" / "video.mp4")
    assert (tmp_path / "new" / "video.mp4").stat().st_size > 0
    recorder.close()


def test_a_difference_says_where_it_begins():
    before = {"a": np.zeros((5, 2), np.float32), "b": np.arange(5)}
    now = {"a": before["a"].copy(), "b": before["b"].copy()}
    assert replay.differences(before, now) == []
    now["a"][3:, 1] = 1e-7
    (found,) = replay.differences(before, now)
    assert (found.column, found.frame) == ("a", 3)
    assert "a differs from frame 3 on: recorded [0. 0.], replayed [0.e+00 1.e-07]" in str(found)


def test_the_program_replays_videos_and_counts(root, tmp_path, capsys):
    video = tmp_path / "video.mp4"
    replay.main(replay.ReplayConfig(str(root), 0, 2, images=True, video=str(video)))
    assert "2 of 2 episodes equal in every bit, images too; " in capsys.readouterr().out
    assert video.stat().st_size > 10_000


def test_an_episode_that_is_not_there_is_refused(root):
    with pytest.raises(UserError, match="episodes 1 to 3 of .*: it has 2"):
        replay.main(replay.ReplayConfig(str(root), 1, 3))


def test_what_was_not_simulated_cannot_be_replayed(tmp_path):
    real = record(tmp_path / "real", metadata=lambda env: {})
    with pytest.raises(UserError, match="was not recorded in simulation"):
        replay.main(dataclasses.replace(replay.ReplayConfig(str(real))))
