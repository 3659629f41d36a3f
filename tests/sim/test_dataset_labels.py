"""Statistics, provenance, fingerprints and sidecar labels."""

import json
from pathlib import Path

import numpy as np
import pytest
from dataset_examples import make_episode, open_writer, write

from sim.core.errors import UserError
from sim.dataset.info import read_provenance
from sim.dataset.reader import Dataset, read_sidecar, sidecar_provenance, write_sidecar
from sim.dataset.stats import aggregate, column_stats, image_stats


def test_image_statistics_against_numpy():
    frames = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), np.uint8)
    stats, pixels = image_stats(frames), frames.reshape(-1, 3) / 255
    for name, quantile in {"q01": 0.01, "q50": 0.5, "q99": 0.99}.items():
        expected = np.quantile(pixels, quantile, axis=0, method="inverted_cdf")
        assert np.allclose(stats[name].ravel(), expected)


def test_joined_quantiles_are_weighted_by_count():
    low, high = column_stats(np.zeros(30)), column_stats(np.ones(10))
    assert np.allclose(aggregate([low, high])["q50"], 0.25)
    assert np.allclose(aggregate([low, high])["std"], np.sqrt(0.25 * 0.75))


def test_statistics_after_a_kill_are_those_of_the_committed_episodes(tmp_path):
    root = tmp_path / "d"
    write(root, [0])
    writer = open_writer(root)
    writer.commit(make_episode(1))
    del writer  # killed: stats.json is still the first episode's
    both = np.concatenate([make_episode(i).columns["action"] for i in (0, 1)])
    assert np.allclose(Dataset(root).stats()["action"]["max"], both.max(axis=0))


def test_fingerprint_follows_the_content(tmp_path):
    for name in "abc":
        write(tmp_path / name, [0, 1])
    one, two = Dataset(tmp_path / "a"), Dataset(tmp_path / "b")
    assert one.fingerprint() == two.fingerprint()
    write(tmp_path / "b", [2])
    assert Dataset(tmp_path / "b").fingerprint() != one.fingerprint()
    with open_writer(tmp_path / "c") as writer:
        writer.commit(make_episode(2))
    assert Dataset(tmp_path / "c").fingerprint() == Dataset(tmp_path / "b").fingerprint()


def test_resuming_keeps_the_first_provenance_and_lists_others(tmp_path):
    write(tmp_path / "d", [0])
    for _ in range(2):
        open_writer(tmp_path / "d", provenance={"git": "def"}).close()
    dataset = Dataset(tmp_path / "d")
    assert dataset.provenance == {"git": "abc"}
    assert read_provenance(dataset.root, dataset.info) == [{"git": "abc"}, {"git": "def"}]


def test_episodes_of_another_world_or_policy_are_refused(tmp_path):
    first = {"world": {"task": "stack", "split": {"part": "train"}}, "behaviour": {"checkpoint": "a"}}
    open_writer(tmp_path / "d", provenance=first).close()
    second = {"world": {"task": "stack", "term": 1}, "behaviour": {"checkpoint": "a"}}
    open_writer(tmp_path / "d", provenance=second).close()
    with pytest.raises(UserError, match=r"d was made with world.term=1, not 2; name a new out=DIR$"):
        open_writer(tmp_path / "d", provenance={"world": {"term": 2}, "behaviour": {"checkpoint": "a"}})
    with pytest.raises(UserError, match=r'd was made with world.split.part="train", not "pairs"; name a new out=DIR$'):
        open_writer(tmp_path / "d", provenance={"world": {"task": "stack", "split": {"part": "pairs"}}})
    with pytest.raises(UserError, match=r'd was made with behaviour.checkpoint="a", not "b"; name a new out=DIR$'):
        open_writer(tmp_path / "d", provenance={"behaviour": {"checkpoint": "b"}})


SIMULATED, PLAYED = {"world": {"task": "stack"}, "quality": {"noise": 0}}, {"world": {"task": "stack"}, "behaviour": {}}


@pytest.mark.parametrize(
    ("first", "later", "said"),
    [
        ({"acting": "policy"}, SIMULATED, "holds episodes that were not simulated, not demonstrations"),
        (SIMULATED, {"acting": "policy"}, "holds demonstrations, not episodes that were not simulated"),
        (PLAYED, SIMULATED, "holds a policy's episodes, not demonstrations"),
    ],
)
def test_episodes_of_another_kind_are_refused(tmp_path, first, later, said):
    open_writer(tmp_path / "d", provenance=first).close()
    with pytest.raises(UserError, match=f"{said}; name a new out=DIR$"):
        open_writer(tmp_path / "d", provenance=later)


def test_sidecars_leave_the_data_alone(tmp_path):
    example = tmp_path / "d"
    write(example, [0, 1])
    before = Dataset(example).fingerprint()
    columns = {
        "episode_index": np.repeat([0, 1], 3),
        "frame_index": np.tile(np.arange(3, dtype=np.int32), 2),
        "return": np.linspace(-1, 0, 6, dtype=np.float32),
        "advantage": np.arange(6) > 2,
        "bins": np.arange(12.0).reshape(6, 2),
    }
    write_sidecar(example, "returns_r1", columns, {"gamma": 1.0})
    found = read_sidecar(example, "returns_r1")
    assert list(found) == list(columns)
    assert all(np.array_equal(found[key], columns[key]) for key in columns)
    assert found["return"].dtype == np.float32 and found["advantage"].dtype == bool
    assert sidecar_provenance(example, "returns_r1") == {"gamma": 1.0}
    assert Dataset(example).fingerprint() == before
    with pytest.raises(UserError, match="did you mean 'returns_r1'"):
        read_sidecar(example, "return_r1")
    for name, bad in [("tasks", columns), ("a/b", columns), ("x", {"return": np.zeros(3)})]:
        with pytest.raises(ValueError):
            write_sidecar(example, name, bad)
    with pytest.raises(ValueError, match="different lengths"):
        write_sidecar(example, "x", columns | {"return": np.zeros(5)})


OLD = Path(__file__).resolve().parents[1] / "data" / "dataset_v0"


def test_an_older_dataset_gives_present_names_and_its_provenance():
    dataset = Dataset(OLD)
    names = tuple(f"{name}.pos" for name in ("j1", "j2", "j3", "j4", "j5", "j6", "gripper"))
    assert json.loads((OLD / "meta/info.json").read_text())["features"]["action"]["names"][0] == "j1"
    assert {dataset.features.columns[name].names for name in ("observation.state", "action")} == {names}
    assert dataset.provenance["world"]["task"] == "pick_place"


def test_going_on_with_an_older_dataset_moves_its_provenance_out_of_the_info(tmp_path):
    root = tmp_path / "d"
    write(root, [0])
    (root / "meta/provenance.json").unlink()
    info = json.loads((root / "meta/info.json").read_text())
    (root / "meta/info.json").write_text(json.dumps(info | {"provenance": {"git": "old"}, "resumed": [{"git": "2"}]}))
    assert Dataset(root).provenance == {"git": "old"}
    write(root, [1])  # with {"git": "abc"}
    assert json.loads((root / "meta/info.json").read_text()).keys() == info.keys()
    dataset = Dataset(root)
    assert read_provenance(root, dataset.info) == [{"git": "old"}, {"git": "2"}, {"git": "abc"}]
    assert dataset.num_episodes == 2


def test_a_closed_dataset_holds_nothing_but_itself(tmp_path):
    write(tmp_path / "d", [0])
    assert {path.name for path in (tmp_path / "d").rglob("*") if path.is_file()} == {
        "info.json", "provenance.json", "stats.json", "tasks.parquet", "file-000.parquet", "file-000.mp4",
    }  # fmt: skip
