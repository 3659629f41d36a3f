"""Datasets that LeRobot 0.6.1 wrote or edited: read whole, never damaged, or refused in one line.

tests/data/lerobot holds episodes of `dataset_examples` that LeRobot itself merged, deleted, appended and recorded
(tests/with_lerobot/make_examples.py); what they must hold is known without LeRobot.
"""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from dataset_examples import FEATURES, make_episode, numbers_of, open_writer

from sim.core.contract import GROUNDING_COLUMNS
from sim.core.errors import UserError
from sim.dataset.reader import Dataset
from sim.dataset.schema import FLAGS, Features

EXAMPLES = Path(__file__).resolve().parents[1] / "data" / "lerobot"
EPISODES = {"merged": [0, 1, 2, 3], "deleted": [0, 2, 3], "appended": [0, 1, 2, 3], "recorded": [0, 1]}


@pytest.fixture(params=EPISODES)
def example(request) -> tuple[Path, list[int]]:
    return EXAMPLES / request.param, EPISODES[request.param]


@pytest.fixture
def copy(tmp_path) -> Path:
    return Path(shutil.copytree(EXAMPLES / "merged", tmp_path / "merged"))


def bytes_of(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_episode_is_read_whole(example):
    root, numbers = example
    dataset = Dataset(root)
    assert dataset.num_episodes == len(numbers)
    assert dataset.num_frames == sum(len(make_episode(number).columns["action"]) for number in numbers)
    for episode, number in enumerate(numbers):
        expected = make_episode(number)
        assert dataset.instruction(episode) == expected.instruction
        found = dataset.columns(episode)
        assert {"observation.state", "action"} <= set(found) <= set(FEATURES.columns)
        for name, values in found.items():
            assert values.dtype == expected.columns[name].dtype
            assert np.array_equal(values, expected.columns[name].reshape(values.shape))
        assert np.array_equal(dataset.columns(episode, ["frame_index"])["frame_index"], np.arange(len(values)))
        for camera, frames in expected.images.items():
            assert numbers_of(dataset.images(episode, camera)) == numbers_of(frames)
            assert numbers_of(dataset.images(episode, camera, [3, 1])) == numbers_of(frames[[3, 1]])
            with pytest.raises(IndexError):
                dataset.images(episode, camera, [len(frames)])
    assert dataset.stats()["action"]["count"] == [dataset.num_frames]


def test_columns_that_are_missing_have_their_defaults():
    dataset = Dataset(EXAMPLES / "recorded")
    length = dataset.length(0)
    assert set(dataset.columns(0)) == {"observation.state", "action"}
    found = dataset.columns(0, [*FLAGS, *GROUNDING_COLUMNS])
    assert all(found[name].dtype == bool and found[name].tolist() == [False] * length for name in FLAGS)
    assert all(found[name].shape == (length, 3) and np.isnan(found[name]).all() for name in GROUNDING_COLUMNS)
    with pytest.raises(UserError, match=r"recorded: unknown column 'actoin'.*did you mean 'action'"):
        dataset.columns(0, ["actoin"])


def test_the_fingerprint_is_of_what_the_episodes_hold(copy):
    before = Dataset(copy).fingerprint()
    assert before == Dataset(EXAMPLES / "merged").fingerprint()
    path = copy / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path, partitioning=None)
    changed = table["next.reward"].to_numpy() + (np.arange(len(table)) == 3).astype(np.float32)
    pq.write_table(table.set_column(table.column_names.index("next.reward"), "next.reward", [changed]), path)
    assert Dataset(copy).fingerprint() != before


def test_nothing_is_added_to_them_and_nothing_removed(example, tmp_path):
    copied = Path(shutil.copytree(example[0], tmp_path / "d"))
    before, stored = bytes_of(copied), Dataset(copied)
    with pytest.raises(UserError, match="share files; name a new out=DIR"):
        open_writer(copied, features=stored.features, robot_type=stored.info["robot_type"])
    assert bytes_of(copied) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "videos/observation.images.front/chunk-000/file-000.mp4").unlink(), "mp4 is missing"),
        (lambda root: _rows(root, lambda rows: rows.drop_columns(["length"])), "lacks 'length'"),
        (lambda root: _rows(root, lambda rows: rows.drop_columns(["data/file_index"])), "lacks 'data/file_index'"),
        (lambda root: _rows(root, lambda rows: rows.drop_columns(["episode_index"])), "no column 'episode_index'"),
        (lambda root: _rows(root, lambda rows: rows.take([0, 1, 3])), "the row of episode 2 is missing|file-002"),
    ],
)
def test_what_is_missing_is_named(copy, change, message):
    change(copy)
    with pytest.raises(UserError, match=message):
        Dataset(copy)


def _rows(root: Path, change) -> None:
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    pq.write_table(change(pq.read_table(path, partitioning=None)), path)


def test_frames_that_are_missing_in_a_shared_file_are_named(copy):
    path = copy / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.slice(0, len(table) - 2), path)
    assert Dataset(copy).columns(0)
    with pytest.raises(UserError, match=r"has 6 frames of episode 3, expected 8"):
        Dataset(copy).columns(3)
    _rows(copy, lambda rows: rows.set_column(rows.column_names.index("length"), "length", [[5, 6, 7, 90]]))
    with pytest.raises(UserError, match="cannot decode .*frame .* is missing"):
        Dataset(copy).images(3, "front")


def feature(dtype: str, shape: list[int], names=None, **more) -> dict:
    return {"dtype": dtype, "shape": shape, "names": names, **more}


def test_features_of_other_programs():
    found = Features.from_json(
        {
            "observation.state": feature("float32", [2], {"motors": ["a.pos", "b.pos"]}),
            "action": feature("float32", [2], ["only one"]),
            "language_instruction": feature("string", [1]),
            "observation.matrix": feature("float32", [4, 4]),
            "observation.images.top": feature("video", [3, 48, 64], ["channels", "height", "width"]),
            "observation.images.depth": feature("video", [48, 64, 1], None, info={"is_depth_map": True}),
        }
    )
    assert found.cameras == ("top",) and found.image_size == (48, 64)
    assert {name: column.names for name, column in found.columns.items()} == {
        "observation.state": ("a.pos", "b.pos"), "action": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codebase_version": "v2.1"}, "expected 'v3.0'; LeRobot converts it"),
        ({"features": {"observation.images.front": feature("image", [48, 64, 3])}}, "single images, expected videos"),
        (
            {"features": {f"observation.images.{n}": feature("video", [n, 64, 3]) for n in (48, 64)}},
            "cameras with different image sizes",
        ),
    ],
)
def test_what_cannot_be_read_is_named_with_the_remedy(copy, change, message):
    path = copy / "meta/info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message):
        Dataset(copy)


def test_episodes_that_do_not_name_their_task_have_that_of_their_frames(copy):
    """`lerobot-edit-dataset --operation.type=convert_image_to_video` writes them so."""
    told = [Dataset(copy).instruction(episode) for episode in range(4)]
    path = copy / "meta/episodes/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(path).drop_columns("tasks"), path)
    assert [Dataset(copy).instruction(episode) for episode in range(4)] == told
    (copy / "meta/tasks.parquet").unlink()
    with pytest.raises(UserError, match=r"tasks\.parquet"):
        Dataset(copy).instruction(0)
