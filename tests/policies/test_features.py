"""The feature cache against direct encoding: whole, interrupted, grown, recorded anew."""

import dataclasses
import io
import json
import pickle
import shutil
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from learning import SPEC, TINY, write_demos

from policies.core.spec import PolicySpec
from policies.fusion.grounded_points import GroundedPointsConfig
from policies.models.vla import VlaConfig
from policies.processing import features
from policies.processing.features import FeatureCache, cache_features, cache_folder, encode_episode
from policies.processing.observation import ObservationProcessor
from policies.vision.efficientnet import FrozenVision
from sim.core.errors import KEPT, NOTHING_NEW, UserError
from sim.dataset.reader import Column, Dataset, DatasetWriter, Episode, Features

CAMERAS = ("front", "wrist")
LENGTHS = (3, 5, 2)


@pytest.fixture(scope="module")
def processor() -> ObservationProcessor:
    return make_processor()


def make_processor(size=(32, 48)) -> ObservationProcessor:
    return ObservationProcessor(VlaConfig().build(PolicySpec("fr3", CAMERAS, size, 2, 2, ())))


@pytest.fixture(scope="module")
def vision() -> FrozenVision:
    return FrozenVision()


def write(root, lengths, seed=0, size=(32, 48)):
    """A dataset of smooth random pictures; existing ones are continued."""
    rng = np.random.default_rng(seed)
    schema = Features(CAMERAS, size, {"observation.state": Column("float32", (2,), ("a", "b"))})
    with DatasetWriter(root, schema, fps=20, robot_type="fr3") as writer:
        for length in lengths:
            coarse = rng.integers(0, 256, (2, length, 4, 4, 3), dtype=np.uint8)
            images = coarse.repeat(size[0] // 4, axis=2).repeat(size[1] // 4, axis=3)
            columns = {"observation.state": np.zeros((length, 2), np.float32)}
            pictures = dict(zip(CAMERAS, images, strict=True))
            writer.commit(Episode(columns, "wave", pictures))
    return Dataset(root)


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    return write(tmp_path / "data", LENGTHS)


class CountingVision:
    """An encoder that counts the videos it sees and can be told to fail."""

    def __init__(self, vision, fail_at=None):
        self.vision, self.fail_at, self.calls = vision, fail_at, 0
        self.fingerprint = vision.fingerprint

    def encode(self, images):
        if len(images) > 1:  # one is the sample that tells the arrays' shapes
            self.calls += 1
        if self.calls == self.fail_at:
            raise KeyboardInterrupt
        return self.vision.encode(images)


def counting(fail_at=None) -> ObservationProcessor:
    processor = make_processor()
    processor.vision = CountingVision(processor.vision, fail_at)
    return processor


def assert_equals_direct_encoding(cache, dataset, vision):
    pairs = [(e, f) for e in range(dataset.num_episodes) for f in range(dataset.length(e))]
    np.random.default_rng(1).shuffle(pairs)
    episodes, frames = np.array(pairs).T
    found = cache.gather(episodes, frames)
    assert tuple(found) == ("front.0", "front.1", "wrist.0", "wrist.1")
    for camera in CAMERAS:
        images = np.stack([dataset.images(e, camera)[f] for e, f in pairs])
        for i, expected in enumerate(vision.encode(images)):
            maps = found[f"{camera}.{i}"]
            assert maps.dtype == np.float16
            assert maps.shape == expected.shape
            np.testing.assert_allclose(maps, expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("workers", [1, 2])
def test_gather_equals_direct_encoding(dataset, processor, vision, workers):
    cache = cache_features(dataset, processor, workers)
    assert dataset.num_frames == 10
    assert_equals_direct_encoding(cache, dataset, vision)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_counts_the_episodes_that_are_computed_on_a_terminal(dataset, processor, monkeypatch):
    monkeypatch.setattr(sys, "stderr", shown := Terminal())
    cache_features(dataset, processor)
    assert f"caching {dataset.root.name}" in shown.getvalue() and "3/3" in shown.getvalue()


def test_episodes_longer_than_what_is_encoded_at_once_are_whole_and_in_order(tmp_path, processor, vision):
    dataset = write(tmp_path / "data", (features.BATCH + 1, 2 * features.BATCH, 2 * features.BATCH + 5))
    assert_equals_direct_encoding(cache_features(dataset, processor), dataset, vision)


def test_stands_beside_the_raw_data_under_its_fingerprint(dataset, processor, vision):
    before = dataset.fingerprint()
    cache = cache_features(dataset, processor)
    assert cache.folder == cache_folder(dataset.root) / processor.fingerprint
    for camera in CAMERAS:
        for i, values in enumerate((136 * 4 * 6, 112 * 2 * 3)):
            assert (cache.folder / f"{camera}.{i}.rows").stat().st_size == 10 * 2 * values
    assert Dataset(dataset.root).fingerprint() == before


def test_second_call_computes_nothing(dataset, processor, vision):
    cache_features(dataset, processor)
    again = counting()
    cache_features(dataset, again)
    assert again.vision.calls == 0


def test_resumes_after_an_interruption(dataset, processor, vision):
    folder = cache_folder(dataset.root) / processor.fingerprint
    with pytest.raises(KeyboardInterrupt) as interrupted:
        cache_features(dataset, counting(fail_at=2))  # in the first episode
    assert getattr(interrupted.value, KEPT) == NOTHING_NEW
    with pytest.raises(KeyboardInterrupt) as interrupted:
        cache_features(dataset, counting(fail_at=4))  # in the second episode
    said = f"the features of 1 episodes are kept in {folder}; run again to go on"
    assert getattr(interrupted.value, KEPT) == said
    with pytest.raises(UserError, match="holds no complete cache"):
        FeatureCache(folder)
    again = counting()
    cache = cache_features(dataset, again)
    assert again.vision.calls == 4  # two cameras of the two episodes left
    assert_equals_direct_encoding(cache, dataset, vision)


def test_grows_with_the_dataset(dataset, processor, vision):
    cache_features(dataset, processor)
    grown = write(dataset.root, (4,), seed=5)
    again = counting()
    cache = cache_features(grown, again)
    assert again.vision.calls == 2
    assert grown.num_frames == 14
    assert_equals_direct_encoding(cache, grown, vision)


def test_dataset_recorded_anew_is_computed_anew(dataset, processor, vision):
    cache_features(dataset, processor)
    for name in ("data", "meta", "videos"):
        shutil.rmtree(dataset.root / name)
    shutil.rmtree(dataset.root)
    other = write(dataset.root, (3, 6), seed=9)
    cache = cache_features(other, processor)
    assert other.num_frames == 9
    assert_equals_direct_encoding(cache, other, vision)


def test_points_that_words_name_are_found_anew_when_tasks_are_edited_in_place(tmp_path):
    """As LeRobot's modify_tasks does: neither frames nor videos change. Maps, which no words reach, are kept."""
    root = write_demos(tmp_path / "data", (4,))
    torch.manual_seed(0)
    finds, maps = (
        ObservationProcessor(one.build(SPEC))
        for one in (dataclasses.replace(TINY, fusion=GroundedPointsConfig()), TINY)
    )
    before = cache_features(Dataset(root), finds).gather([0] * 4, range(4))["points"]
    cache_features(Dataset(root), maps)
    path = next((root / "meta" / "episodes").rglob("*.parquet"))
    table = pq.read_table(path)
    place = table.schema.get_field_index("tasks")
    words = pa.array([["put the green ball in the yellow bowl"]], table.schema.field("tasks").type)
    pq.write_table(table.set_column(place, table.schema.field("tasks"), words), path)
    edited = Dataset(root)
    found = cache_features(edited, finds).gather([0] * 4, range(4))["points"]
    assert np.array_equal(found, encode_episode(edited, finds, 0)["points"])
    assert np.abs(found - before).max() > 1e-4
    maps.vision = CountingVision(maps.vision)
    cache_features(edited, maps)
    assert maps.vision.calls == 0


def test_a_cache_inside_the_dataset_as_older_versions_had_it_moves_out(dataset, processor, vision):
    cache_features(dataset, processor)
    cache_folder(dataset.root).rename(dataset.root / "cache")
    again = counting()
    cache = cache_features(dataset, again)
    assert again.vision.calls == 0 and cache.folder.parent == cache_folder(dataset.root)
    assert {path.name for path in dataset.root.iterdir()} == {"data", "meta", "videos"}


def test_index_of_another_format_is_ignored(dataset, processor, vision):
    cache = cache_features(dataset, processor)
    path = cache.folder / "index.json"
    for broken in (
        "{",
        json.dumps({"format": 99}),
        path.read_text().replace('"format": 2', '"format": 1'),
    ):
        path.write_text(broken)
        again = counting()
        cache_features(dataset, again)
        assert again.vision.calls == 6


def test_pickles_small_and_reads_the_same(dataset, processor, vision):
    cache = cache_features(dataset, processor)
    data = pickle.dumps(cache)
    assert len(data) < 1000
    again = pickle.loads(data).gather([2, 0], [1, 2])
    for name, expected in cache.gather([2, 0], [1, 2]).items():
        np.testing.assert_array_equal(again[name], expected)


def test_gathered_maps_may_be_written_to(dataset, processor, vision):
    cache = cache_features(dataset, processor)
    first = cache.gather([0], [0])["front.0"]
    kept = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(cache.gather([0], [0])["front.0"], kept)


@pytest.mark.parametrize(
    ("episodes", "frames", "error", "complaint"),
    [
        ([0, 3], [0, 0], IndexError, "episode 3 of a cache with 3"),
        ([-1], [0], IndexError, "episode -1"),
        ([0, 0], [2, 3], IndexError, "frame 3 of episode 0, which has 3 frames"),
        ([0], [-1], IndexError, "frame -1"),
        ([0, 1], [0], ValueError, r"shapes \(2,\), \(1,\)"),
    ],
)
def test_wrong_indices_are_named(dataset, processor, vision, episodes, frames, error, complaint):
    cache = cache_features(dataset, processor)
    with pytest.raises(error, match=complaint):
        cache.gather(episodes, frames)


def test_values_beyond_float16_are_refused(dataset):
    class Huge(CountingVision):
        def encode(self, images):
            return tuple(np.full_like(part, 1e5) for part in super().encode(images))

    processor = make_processor()
    processor.vision = Huge(processor.vision)
    with pytest.raises(UserError, match=r"episode 0, front\.0, do not fit float16"):
        cache_features(dataset, processor)


def test_odd_image_size_and_empty_dataset_are_refused(tmp_path, processor):
    with pytest.raises(UserError, match="40x48 pixels, expected .* multiples of 16"):
        cache_features(write(tmp_path / "odd", (2,), size=(40, 48)), make_processor((40, 48)))
    with pytest.raises(UserError, match="no episodes"):
        cache_features(write(tmp_path / "empty", ()), processor)


def test_truncated_file_is_reported(dataset, processor, vision):
    cache = cache_features(dataset, processor)
    path = features.array_path(cache.folder, "wrist.1")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="cannot read .*wrist.1.rows.*remove"):
        FeatureCache(cache.folder)
