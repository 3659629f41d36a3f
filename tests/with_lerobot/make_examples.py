"""Datasets as LeRobot itself writes and edits them, of `dataset_examples`' episodes: how tests/data/lerobot was made.

PYTHONPATH=.:tests/sim PYTHON_WITH_LEROBOT tests/with_lerobot/make_examples.py OUT
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from dataset_examples import FEATURES, FPS, SIZE, make_episode, write
from lerobot.datasets.dataset_tools import delete_episodes, merge_datasets, split_dataset  # pyright: ignore[reportMissingImports]
from lerobot.datasets.lerobot_dataset import LeRobotDataset  # pyright: ignore[reportMissingImports]

from sim.dataset.schema import IMAGE_PREFIX, STANDARD_COLUMNS

RECORDED = ("observation.state", "action")  # what LeRobot's recorder writes besides images


def opened(root: Path) -> LeRobotDataset:
    return LeRobotDataset(f"local/{root.name}", root=root)


def record(data: LeRobotDataset, numbers: list[int]) -> None:
    """Record episodes of `dataset_examples` frame by frame."""
    names = [name for name in data.features if name not in STANDARD_COLUMNS]
    for number in numbers:
        episode = make_episode(number)
        values = {f"{IMAGE_PREFIX}{camera}": frames for camera, frames in (episode.images or {}).items()}
        values |= episode.columns
        for frame in range(len(values["action"])):
            row = {name: np.asarray(values[name][frame]).reshape(data.features[name]["shape"]) for name in names}
            data.add_frame({**row, "task": episode.instruction})
        data.save_episode()
    data.finalize()


def recorded_features(size: tuple[int, int] = SIZE) -> dict:
    vector = {"dtype": "float32", "shape": (7,), "names": [f"v{i}.pos" for i in range(7)]}
    image = {"dtype": "video", "shape": (*size, 3), "names": ["height", "width", "channels"]}
    return dict.fromkeys(RECORDED, vector) | {f"{IMAGE_PREFIX}{camera}": image for camera in FEATURES.cameras}


def make(out: Path) -> None:
    """Write the datasets `merged` (episodes 0 to 3), `deleted` (0, 2, 3), `appended` (0, 1 and, by LeRobot, 2, 3)
    and `recorded` (0, 1: state, action and images alone)."""
    with tempfile.TemporaryDirectory() as folder:
        ours = Path(folder) / "ours"
        write(ours, [0, 1, 2, 3])
        parts = split_dataset(opened(ours), {"a": [0, 1], "b": [2, 3]}, output_dir=Path(folder) / "parts")
        merge_datasets(list(parts.values()), "local/merged", output_dir=out / "merged")
    delete_episodes(opened(out / "merged"), [1], output_dir=out / "deleted", repo_id="local/deleted")
    write(out / "appended", [0, 1])
    record(LeRobotDataset.resume("local/appended", root=out / "appended"), [2, 3])
    recorded = LeRobotDataset.create(
        "local/recorded", FPS, recorded_features(), root=out / "recorded", robot_type="fairino_fr3"
    )
    record(recorded, [0, 1])


if __name__ == "__main__":
    make(Path(sys.argv[1]))
