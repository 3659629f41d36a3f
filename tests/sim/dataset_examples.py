"""Small datasets whose every frame can be told from every other."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from sim.dataset.reader import Column, Dataset, DatasetWriter, Episode, Features
from sim.dataset.schema import data_path

FPS = 20
SIZE = (48, 64)
FEATURES = Features(
    cameras=("front", "wrist"),
    image_size=SIZE,
    columns={
        "observation.state": Column("float32", (7,), tuple("abcdefg")),
        "action": Column("float32", (7,)),
        "intervention": Column("bool"),
        "next.reward": Column("float32"),
        "next.success": Column("bool"),
        "grounding.object_pos_w": Column("float32", (3,)),
    },
)


def coded_frames(length: int, offset: int) -> np.ndarray:
    """Frames (T, *SIZE, 3) on a smooth picture, each with its own number in 8 blocks of bits."""
    row, column = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    smooth = 120 + 50 * np.sin(row / 15) + 40 * np.cos(column / 20)
    frames = np.repeat(smooth[None, :, :, None], length, axis=0).repeat(3, axis=3)
    for index in range(length):
        for bit in range(8):
            value = 235 if (index + offset) >> bit & 1 else 20
            frames[index, :8, 8 * bit : 8 * bit + 8] = value
    return frames.round().astype(np.uint8)


def numbers_of(frames: np.ndarray) -> list[int]:
    """The numbers `coded_frames` wrote."""
    blocks = frames[:, :8, :64].mean(axis=(1, 3)).reshape(-1, 8, 8).mean(axis=2) > 128
    return [int(sum(1 << bit for bit in range(8) if row[bit])) for row in blocks]


def make_episode(number: int, length: int | None = None, **metadata) -> Episode:
    rng = np.random.default_rng(number)
    length = length or 5 + number % 4
    columns = {
        key: rng.random(length) < 0.3
        if column.dtype == "bool"
        else rng.normal(size=(length, *column.shape)).astype(np.float32)
        for key, column in FEATURES.columns.items()
    }
    images = {
        "front": coded_frames(length, 10 * number),
        "wrist": coded_frames(length, 10 * number + 128),
    }
    instruction = ("stack the cubes", "put the cube on the plate")[number % 2]
    return Episode(columns, instruction, images, {"seed": number, "success": True, **metadata})


def open_writer(root: Path, **changes) -> DatasetWriter:
    settings = {"features": FEATURES, "fps": FPS, "robot_type": "fr3", "provenance": {"git": "abc"}}
    return DatasetWriter(root, **(settings | changes))


def write(root: Path, numbers, **metadata) -> None:
    with open_writer(root) as writer:
        for number in numbers:
            writer.commit(make_episode(number, **metadata))


def check_holds(root: Path, numbers: list[int]) -> None:
    """The dataset holds exactly these episodes, in order, whole, with a contiguous index."""
    dataset = Dataset(root)
    assert [dataset.episode_metadata(i)["seed"] for i in range(dataset.num_episodes)] == numbers
    first = 0
    for i, number in enumerate(numbers):
        episode = make_episode(number)
        table = pq.read_table(data_path(root, i), partitioning=None)
        length = len(episode.columns["action"])
        assert table["index"].to_pylist() == list(range(first, first + length))
        assert set(table["episode_index"].to_pylist()) == {i}
        assert dataset.instruction(i) == episode.instruction
        tasks = pd.read_parquet(root / "meta/tasks.parquet")
        assert tasks.index[table["task_index"][0].as_py()] == episode.instruction
        assert (dataset.columns(i)["action"] == episode.columns["action"]).all()
        for camera, frames in episode.images.items():
            assert numbers_of(dataset.images(i, camera)) == numbers_of(frames)
        first += length
    assert not list(root.rglob("*.tmp"))
