"""The files as LeRobot 0.6.1 reads them, checked with plain pyarrow, pandas, json and PyAV."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dataset_examples import FPS, SIZE, make_episode, open_writer, write

from sim.core.errors import UserError
from sim.dataset.reader import Dataset
from sim.dataset.schema import IMAGE_PREFIX, data_path, video_path


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "d"
    write(root, range(4), source="expert")
    return root


def test_info_json(example):
    info = json.loads((example / "meta/info.json").read_text())
    lengths = [len(make_episode(i).columns["action"]) for i in range(4)]
    assert info["codebase_version"] == "v3.0"
    assert info["fps"] == FPS and isinstance(info["fps"], int)
    totals = [info[f"total_{name}"] for name in ("episodes", "frames", "tasks")]
    assert totals == [4, sum(lengths), 2]
    assert info["splits"] == {"train": "0:4"} and info["chunks_size"] == 1000
    assert info["robot_type"] == "fr3" and "provenance" not in info
    assert json.loads((example / "meta/provenance.json").read_text()) == {"provenance": {"git": "abc"}, "resumed": []}
    assert info["data_path"] == "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    assert info["video_path"] == "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    features = info["features"]
    state = {"dtype": "float32", "shape": [7], "names": list("abcdefg")}
    assert features["observation.state"] == state
    assert features["intervention"] == {"dtype": "bool", "shape": [1], "names": None}
    assert features["timestamp"] == {"dtype": "float32", "shape": [1], "names": None}
    for key in ("frame_index", "episode_index", "index", "task_index"):
        assert features[key] == {"dtype": "int64", "shape": [1], "names": None}
    image = features["observation.images.front"]
    assert image["dtype"] == "video" and image["shape"] == [*SIZE, 3]
    assert image["names"] == ["height", "width", "channels"]
    expected = {"video.height": 48, "video.width": 64, "video.codec": "h264", "video.g": 2}
    expected |= {"video.pix_fmt": "yuv420p", "video.fps": FPS, "video.channels": 3}
    expected |= {"has_audio": False, "is_depth_map": False}
    assert expected.items() <= image["info"].items()
    assert not any("/" in key for key in features)


def test_frame_files(example):
    features = json.loads((example / "meta/info.json").read_text())["features"]
    first = 0
    for i in range(4):
        file = pq.ParquetFile(example / f"data/chunk-000/file-{i:03d}.parquet")
        assert file.num_row_groups == 1
        assert file.metadata.row_group(0).column(0).compression == "SNAPPY"
        table = file.read()
        assert set(table.column_names) == {k for k in features if features[k]["dtype"] != "video"}
        for key in table.column_names:
            scalar = pa.from_numpy_dtype(np.dtype(features[key]["dtype"]))
            (n,) = features[key]["shape"]
            assert table[key].type == (scalar if n == 1 else pa.list_(scalar, n))
            assert table[key].null_count == 0
        frame = np.arange(len(table))
        assert table["frame_index"].to_pylist() == frame.tolist()
        assert table["index"].to_pylist() == (first + frame).tolist()
        assert np.array_equal(table["timestamp"].to_numpy(), (frame / FPS).astype(np.float32))
        first += len(table)


def test_episode_rows(example):
    first = 0
    for i in range(4):
        path = example / f"meta/episodes/chunk-000/file-{i:03d}.parquet"
        (row,) = pq.read_table(path, partitioning=None).to_pylist()
        episode = make_episode(i)
        length = len(episode.columns["action"])
        expected = {"episode_index": i, "length": length, "tasks": [episode.instruction]}
        expected |= {"dataset_from_index": first, "dataset_to_index": first + length}
        for key in (
            "data",
            "meta/episodes",
            *(f"videos/{IMAGE_PREFIX}{c}" for c in episode.images),
        ):
            expected |= {f"{key}/chunk_index": 0, f"{key}/file_index": i}
        for camera in episode.images:
            expected[f"videos/{IMAGE_PREFIX}{camera}/from_timestamp"] = 0.0
            expected[f"videos/{IMAGE_PREFIX}{camera}/to_timestamp"] = length / FPS
        expected |= {"seed": i, "success": True, "source": "expert"}
        assert expected.items() <= {k: v for k, v in row.items() if v is not None}.items()
        action = episode.columns["action"].astype(float)
        assert np.allclose(row["stats/action/mean"], action.mean(axis=0))
        assert np.allclose(row["stats/action/q90"], np.quantile(action, 0.9, axis=0))
        assert row["stats/action/count"] == [length]
        assert np.shape(row["stats/observation.images.front/max"]) == (3, 1, 1)
        first += length


def test_tasks_are_the_pandas_index(example):
    tasks = pd.read_parquet(example / "meta/tasks.parquet")
    assert tasks.index.name == "task" and list(tasks.columns) == ["task_index"]
    assert tasks.index.tolist() == ["stack the cubes", "put the cube on the plate"]
    assert tasks["task_index"].tolist() == [0, 1] and tasks["task_index"].dtype == np.int64


def renumbered(root: Path, unnamed: bool = False) -> Path:
    """The tasks numbered the other way round, as another program numbers them in sorted order."""
    tasks = pd.read_parquet(root / "meta/tasks.parquet")
    tasks["task_index"] = 1 - tasks["task_index"]
    tasks.sort_values("task_index").rename_axis(None if unnamed else "task").to_parquet(root / "meta/tasks.parquet")
    for path in (root / "data").glob("*/*.parquet"):
        table = pq.read_table(path, partitioning=None)
        at = table.column_names.index("task_index")
        turned = pa.array([1 - k for k in table["task_index"].to_pylist()], pa.int64())
        pq.write_table(table.set_column(at, table.schema.field(at), turned), path)
    return root


@pytest.mark.parametrize("unnamed", [False, True])
def test_a_resumed_dataset_keeps_the_numbers_of_its_tasks(tmp_path, unnamed):
    write(tmp_path / "d", [0, 1])
    root = renumbered(tmp_path / "d", unnamed)
    new = replace(make_episode(2), instruction="open the drawer")
    with open_writer(root) as writer:
        writer.commit(new)
    tasks = pd.read_parquet(root / "meta/tasks.parquet")
    assert tasks.index.tolist() == [make_episode(1).instruction, make_episode(0).instruction, "open the drawer"]
    assert tasks["task_index"].tolist() == [0, 1, 2]
    for i, instruction in enumerate([make_episode(0).instruction, make_episode(1).instruction, "open the drawer"]):
        number = pq.read_table(data_path(root, i), partitioning=None)["task_index"][0].as_py()
        assert Dataset(root).instruction(i) == instruction == tasks.index[number]


@pytest.mark.parametrize("numbers", [[0], [1, 2]])
def test_tasks_that_do_not_fit_the_episodes_are_refused(tmp_path, numbers):
    write(tmp_path / "d", [0, 1])
    path = tmp_path / "d/meta/tasks.parquet"
    tasks = pd.read_parquet(path)[: len(numbers)]
    tasks.assign(task_index=numbers).to_parquet(path)
    with pytest.raises(UserError, match="tasks.parquet does not have the tasks that the episodes name"):
        open_writer(tmp_path / "d")


def test_tasks_that_are_missing_are_written_anew(tmp_path):
    write(tmp_path / "d", [0, 1])
    whole = (tmp_path / "d/meta/tasks.parquet").read_bytes()
    (tmp_path / "d/meta/tasks.parquet").unlink()
    write(tmp_path / "d", [])
    assert (tmp_path / "d/meta/tasks.parquet").read_bytes() == whole


def test_stats_json(example):
    stats = json.loads((example / "meta/stats.json").read_text())
    info = json.loads((example / "meta/info.json").read_text())
    assert set(stats) == set(info["features"])
    names = {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"}
    assert all(set(values) == names for values in stats.values())
    everything = np.concatenate([make_episode(i).columns["action"] for i in range(4)]).astype(float)
    for name in ("min", "max", "mean", "std"):
        assert np.allclose(stats["action"][name], getattr(everything, name)(axis=0))
    assert stats["action"]["count"] == [len(everything)]
    front = np.concatenate([make_episode(i).images["front"] for i in range(4)]) / 255
    image = stats["observation.images.front"]
    assert np.shape(image["mean"]) == (3, 1, 1) and image["count"] == [len(everything)]
    assert np.allclose(np.squeeze(image["mean"]), front.mean(axis=(0, 1, 2)))
    assert np.allclose(np.squeeze(image["std"]), front.std(axis=(0, 1, 2)))
    assert stats["intervention"]["min"] == [0.0] and stats["intervention"]["max"] == [1.0]


def test_files_go_on_in_the_next_directory(tmp_path):
    assert data_path(tmp_path, 1017) == tmp_path / "data/chunk-001/file-017.parquet"
    assert video_path(tmp_path, "front", 2000).parent.name == "chunk-002"


LOAD = """
import json, sys
from lerobot.datasets.lerobot_dataset import LeRobotDataset
data = LeRobotDataset("local/d", root=sys.argv[1], delta_timestamps={"action": [0.0, 0.05]})
item = data[8]
print(json.dumps({
    "frames": data.num_frames, "task": item["task"], "action": item["action"].tolist(),
    "image": item["observation.images.front"].tolist(), "metadata": list(data.meta.episodes["late"]),
}))
"""


@pytest.mark.skipif(find_spec("lerobot") is None, reason="needs LeRobot: make test-lerobot")
def test_lerobot_itself_loads_it(tmp_path):
    root = tmp_path / "d"
    with open_writer(root) as writer:
        writer.commit(make_episode(0))
        writer.commit(make_episode(1, late=1.5))
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", LOAD, str(root)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found, dataset = json.loads(done.stdout.splitlines()[-1]), Dataset(root)
    frame = 8 - dataset.length(0)
    assert found["frames"] == dataset.num_frames and found["task"] == dataset.instruction(1)
    assert found["metadata"] == [None, 1.5]
    expected = dataset.columns(1)["action"][frame : frame + 2]
    assert np.allclose(found["action"], expected)
    image = dataset.images(1, "front", [frame])[0].transpose(2, 0, 1) / 255
    assert np.abs(np.array(found["image"]) - image).max() < 1.5 / 255
