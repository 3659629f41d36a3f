"""Depth in a dataset: every millimetre comes back, LeRobot's words for it, replay, export, and datasets without."""

from pathlib import Path

import numpy as np
import pytest
from fr3 import FPS, FR3

from sim import export, replay
from sim.core.errors import UserError
from sim.core.provenance import provenance
from sim.dataset.depth_video import FARTHEST_MM, decode_depth, encode_depth
from sim.dataset.reader import Dataset, DatasetWriter
from sim.dataset.recorder import EpisodeRecorder, features
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import Simulation, SimulationConfig
from sim.episode.loop import EpisodeResult, Step
from sim.scene.build import RenderConfig

SIZE, STEPS = (48, 64), 5
WORLD = SimulationConfig(render=RenderConfig(height=SIZE[0], width=SIZE[1], depth=True))


def noise(frames: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, FARTHEST_MM + 1, (frames, *SIZE), dtype=np.uint16)


@pytest.fixture(scope="module")
def seen() -> list[dict[str, np.ndarray]]:
    """What the observations of the recorded episode held, frame by frame."""
    return []


@pytest.fixture(scope="module")
def root(tmp_path_factory, seen) -> Path:
    """An episode of five steps towards another pose."""
    root, env, recorder = tmp_path_factory.mktemp("depth") / "demos", SimEnv(WORLD), EpisodeRecorder(FR3)
    env.reset(5)
    action = env.observe().state + np.float32(0.02)
    for _ in range(STEPS):
        observation, truth = env.observe(), env.ground_truth()
        seen.append({camera: observation.depth[camera].copy() for camera in FR3.camera_names})
        recorder.add(Step(observation, action, action, env.apply(action), {}, truth))
    result = EpisodeResult(5, success=False, steps=STEPS, time_s=STEPS / FPS)
    with DatasetWriter(root, features(FR3, SIZE, depth=True), FPS, FR3.name, provenance({"world": WORLD})) as writer:
        writer.commit(recorder.episode(result, "expert", env.metadata()))
    env.close()
    return root


def test_every_millimetre_comes_back_even_of_noise():
    frames = noise()
    video = encode_depth(frames, FPS)
    np.testing.assert_array_equal(decode_depth(video.data), frames)
    np.testing.assert_array_equal(decode_depth(video.data, [3, 0]), frames[[3, 0]])
    assert video.data == encode_depth(frames, FPS).data and (video.frames, video.size) == (5, SIZE)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (noise().astype(np.float32), "expected uint16"),
        (noise()[0], "expected uint16"),
        (noise()[:0], "expected uint16"),
        (noise()[:, :8], "expected 16 or more"),
        (np.full((1, *SIZE), 4096, np.uint16), "depth of 4096 mm, expected at most 4095"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(frames, message):
    with pytest.raises(ValueError, match=message):
        encode_depth(frames, FPS)


def test_a_dataset_holds_what_was_seen(root, seen):
    dataset = Dataset(root)
    assert dataset.features.depth == dataset.features.cameras == FR3.camera_names
    for camera in FR3.camera_names:
        np.testing.assert_array_equal(dataset.depth(0, camera), [frame[camera] for frame in seen])
        np.testing.assert_array_equal(dataset.depth(0, camera, [2]), [seen[2][camera]])
        assert dataset.images(0, camera).shape == (STEPS, *SIZE, 3)


def test_it_is_described_in_lerobots_words(root, seen):
    feature = Dataset(root).info["features"]["observation.images.wrist_depth"]
    info = feature["info"]
    assert (feature["dtype"], feature["shape"]) == ("video", [*SIZE, 1])
    assert (info["is_depth_map"], info["video.codec"], info["video.pix_fmt"]) == (True, "hevc", "gray12le")
    # LeRobot's linear mapping of a level to metres.
    level = np.array([frame["wrist"] for frame in seen], float)
    metres = info["video.depth_min"] + level / 4095 * (info["video.depth_max"] - info["video.depth_min"])
    assert not info["video.use_log"]
    np.testing.assert_allclose(1e3 * metres, level, atol=1e-9)
    stats = Dataset(root).stats()["observation.images.wrist_depth"]
    known = level[:, ::8, ::8][level[:, ::8, ::8] > 0]
    assert stats["mean"].shape == (1, 1, 1) and stats["mean"].item() == pytest.approx(known.mean())


def test_replay_compares_it(root, monkeypatch):
    env = SimEnv(WORLD)
    assert replay.replay(env, Dataset(root), 0, images=True) == []
    measure = Simulation.measure_depth

    def one_millimetre_off(world, camera, qpos, frame):
        depth = measure(world, camera, qpos, frame)
        depth[7, 9] += camera == "wrist" and frame >= 2
        return depth

    monkeypatch.setattr(Simulation, "measure_depth", one_millimetre_off)
    (found,) = replay.replay(env, Dataset(root), 0, images=True)
    assert found.column == "observation.images.wrist_depth, pixel (7, 9)," and found.frame >= 2
    env.close()


def test_an_export_keeps_it(root, tmp_path, seen):
    export.main(export.ExportConfig(str(root), str(tmp_path / "clean")))
    np.testing.assert_array_equal(Dataset(tmp_path / "clean").depth(0, "front"), [frame["front"] for frame in seen])


def _episode(dataset: Dataset):
    return export.cut(dataset, 0, [slice(0, STEPS)])[0]


def test_a_dataset_without_it_reads_as_before_and_says_so(root, tmp_path):
    dataset = Dataset(root)
    plain = features(FR3, SIZE)
    assert plain.depth == () and not any("_depth" in name for name in plain.to_json({}, {}))
    images = {camera: dataset.images(0, camera) for camera in FR3.camera_names}
    episode = _episode(dataset)
    with DatasetWriter(tmp_path / "old", plain, FPS, FR3.name) as writer:
        writer.commit(type(episode)(episode.columns, "lift", images))
    with pytest.raises(UserError, match="holds no depth of camera front; record with render.depth=true"):
        Dataset(tmp_path / "old").depth(0, "front")
    with pytest.raises(UserError, match=r"cannot resume .*depth \(\) and \('front', 'wrist'\)"):
        DatasetWriter(tmp_path / "old", features(FR3, SIZE, depth=True), FPS, FR3.name)


def test_depth_of_other_levels_is_not_taken_for_millimetres(root):
    described = Dataset(root).info["features"]
    described["observation.images.front_depth"]["info"]["video.use_log"] = True  # LeRobot's own default
    described["observation.images.wrist_depth"]["info"].pop("video.depth_max")
    assert type(features(FR3, SIZE)).from_json(described).depth == ()
