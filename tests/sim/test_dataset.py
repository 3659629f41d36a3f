"""What goes into a dataset comes out again; what does not fit is refused."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from dataset_examples import (
    FEATURES,
    SIZE,
    check_holds,
    coded_frames,
    make_episode,
    open_writer,
    write,
)

from sim.core.errors import UserError, nearest
from sim.dataset.reader import Column, Dataset, Episode, Features
from sim.dataset.schema import meta_path, video_path


def test_columns_come_back_exactly(tmp_path):
    write(tmp_path / "d", range(3))
    dataset = Dataset(tmp_path / "d")
    assert dataset.features == FEATURES
    for i in range(3):
        episode = make_episode(i)
        found = dataset.columns(i)
        assert list(found) == list(FEATURES.columns)
        for key, values in episode.columns.items():
            expected = values[:, 0] if values.shape[1:] == (1,) else values
            assert found[key].dtype == FEATURES.columns[key].dtype
            assert np.array_equal(found[key], expected)
    assert list(dataset.columns(1, ["index", "action"])) == ["index", "action"]
    with pytest.raises(UserError, match="did you mean 'action'"):
        dataset.columns(0, ["actoin"])


def test_not_known_values_stay_nan_and_out_of_the_statistics(tmp_path):
    episode = make_episode(0, length=4)
    episode.columns["grounding.object_pos_w"][:2] = np.nan
    with open_writer(tmp_path / "d") as writer:
        writer.commit(episode)
        everything = make_episode(2, length=4)
        everything.columns["grounding.object_pos_w"][:] = np.nan
        writer.commit(everything)
    dataset = Dataset(tmp_path / "d")
    values = dataset.columns(0)["grounding.object_pos_w"]
    assert np.isnan(values[:2]).all() and np.isfinite(values[2:]).all()
    stats = dataset.stats()["grounding.object_pos_w"]
    assert stats["count"].tolist() == [2]
    assert np.allclose(stats["mean"], values[2:].mean(axis=0))


def test_facts_keep_their_type_and_value_and_may_differ(tmp_path):
    metadata = {
        "seed": 2**62 + 1,
        "success": False,
        "source": "expert",
        "draw/mass_kg": 0.1 + 0.2,
        "draw/rgb": [0.1, 1.0, 0.5],
        "draw/none": None,
    }
    with open_writer(tmp_path / "d") as writer:
        writer.commit(make_episode(0))
    with open_writer(tmp_path / "d") as writer:
        writer.commit(Episode(**(vars(make_episode(1)) | {"metadata": metadata})))
    with open_writer(tmp_path / "d") as writer:
        later = {"draw/rgb": np.array([1, 2]), "draw/mass_kg": np.float32(0.1), "draw/count": 7}
        writer.commit(make_episode(2, **later))
    dataset = Dataset(tmp_path / "d")
    assert dataset.episode_metadata(1) == {k: v for k, v in metadata.items() if v is not None}
    assert {k: type(v) for k, v in dataset.episode_metadata(1).items()} == {
        k: type(v) for k, v in metadata.items() if v is not None
    }
    table = dataset.metadata_table()
    assert table["draw/count"] == [None, None, 7]
    assert table["draw/mass_kg"] == [None, 0.1 + 0.2, float(np.float32(0.1))]
    assert table["draw/rgb"] == [None, [0.1, 1.0, 0.5], [1.0, 2.0]]
    # LeRobot takes the columns of all episodes from the first file.
    first = pq.read_schema(meta_path(tmp_path / "d", 0)).names
    assert {"draw/mass_kg", "draw/rgb", "draw/count", "source"} <= set(first)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"seed": 0.5}, "int64 in earlier"),
        ({"seed": 2**64}, "store it as a str"),
        ({"stats/x": 1}, "the format uses itself"),
        ({"tasks": "x"}, "the format uses itself"),
        ({"thing": object()}, "expected a bool"),
        ({"mixed": [1, "a"]}, "expected a bool"),
    ],
)
def test_facts_that_do_not_fit_are_refused(tmp_path, metadata, message):
    with open_writer(tmp_path / "d") as writer:
        writer.commit(make_episode(0))
        with pytest.raises(ValueError, match=message):
            writer.commit(make_episode(1, **metadata))
        writer.commit(make_episode(2))
    check_holds(tmp_path / "d", [0, 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.columns.pop("action"), "missing: \\['action'\\]"),
        (lambda e: e.columns.update(action=np.zeros((5, 6), np.float32)), r"shape \(5, 6\)"),
        (lambda e: e.columns.update(intervention=np.zeros(5)), "float64, expected bool"),
        (lambda e: e.images.pop("wrist"), "cameras"),
        (lambda e: e.images.update(wrist=coded_frames(4, 0)), "4 frames"),
        (lambda e: e.images.update(wrist=coded_frames(5, 0)[:, :40]), "40"),
        (lambda e: e.images.update(wrist=coded_frames(5, 0) / 255), "expected uint8"),
    ],
)
def test_episodes_that_do_not_fit_are_refused(tmp_path, change, message):
    episode = make_episode(0, length=5)
    change(episode)
    with open_writer(tmp_path / "d") as writer:
        with pytest.raises(ValueError, match=message):
            writer.commit(episode)
        writer.commit(make_episode(1))
    check_holds(tmp_path / "d", [1])


def test_another_schema_fps_or_robot_is_not_resumed(tmp_path):
    root = tmp_path / "d"
    write(root, [0])
    columns = dict(FEATURES.columns) | {"action": Column("float32", (8,))}
    other = Features(("front",), SIZE, columns)
    with pytest.raises(UserError, match="'action'") as caught:
        open_writer(root, features=other)
    assert "cameras" in str(caught.value)
    for changed, found in (({"fps": 30}, "fr3 at 30 Hz"), ({"robot_type": "fr5"}, "fr5 at 20 Hz")):
        with pytest.raises(UserError, match=f"recorded with fr3 at 20 Hz, not {found}; name a new out=DIR"):
            open_writer(root, features=other, **changed)
    check_holds(root, [0])


def test_another_version_and_broken_directories_are_refused(tmp_path):
    root = tmp_path / "d"
    write(root, [0, 1, 2])
    info = json.loads((root / "meta/info.json").read_text())
    for broken, message in [
        (json.dumps(info | {"codebase_version": "v2.1"}), "'v2.1', expected 'v3.0'"),
        ("{", "broken"),
        ("[]", "broken"),
        (json.dumps({"codebase_version": "v3.0"}), "broken"),
    ]:
        (root / "meta/info.json").write_text(broken)
        for opener in (Dataset, open_writer):
            with pytest.raises(UserError, match=message):
                opener(root)
    (root / "meta/info.json").write_text(json.dumps(info))
    row = meta_path(root, 1).read_bytes()
    meta_path(root, 1).unlink()
    with pytest.raises(UserError, match="file-001.parquet is missing"):
        Dataset(root)
    meta_path(root, 1).write_bytes(row[:100])
    with pytest.raises(UserError, match="cannot read"):
        Dataset(root)
    meta_path(root, 1).write_bytes(row)
    video = video_path(root, "front", 0).read_bytes()
    video_path(root, "front", 0).write_bytes(video[:200])
    with pytest.raises(UserError, match="cannot decode"):
        Dataset(root).images(0, "front")
    video_path(root, "front", 0).unlink()
    with pytest.raises(UserError, match="file-000.mp4 is missing"):
        Dataset(root)


def test_other_directories_are_refused(tmp_path):
    with pytest.raises(UserError, match="no dataset at"):
        Dataset(tmp_path / "nothing")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        open_writer(tmp_path)
    with pytest.raises(UserError, match="is a file"):
        open_writer(tmp_path / "notes.txt")
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "arguments",
    [
        (("a", "a"), SIZE, {}),
        (("a",), (47, 64), {}),
        (("a/b",), SIZE, {}),
        ((), SIZE, {"x/y": Column("float32")}),
        ((), SIZE, {"x": Column("float16x")}),
        ((), SIZE, {"x": Column("float32", (2, 2))}),
        ((), SIZE, {"x": Column("float32", (2,), ("a",))}),
        ((), SIZE, {"timestamp": Column("float32")}),
    ],
)
def test_schemas_the_format_cannot_hold(arguments):
    with pytest.raises(ValueError):
        Features(*arguments)


def test_nearest_names_the_choices():
    message = "unknown colour 'rde', expected one of 'blue', 'red'; did you mean 'red'?"
    assert nearest("rde", ["red", "blue"], "colour") == message
    assert "did you mean" not in nearest("zzz", ["red"], "colour")
