"""meta/info.json: what a dataset is; meta/provenance.json: how it was made.

The provenance has a file of its own: LeRobot warns of every key of info.json that it does not know.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sim.core.errors import UserError, found_beside
from sim.core.files import write_atomic
from sim.dataset.depth_video import depth_info
from sim.dataset.schema import (
    CHUNK_SIZE,
    CODEBASE_VERSION,
    DATA_PATH,
    EXPORTED_FROM,
    INFO_PATH,
    PROVENANCE_PATH,
    VIDEO_PATH,
    Features,
)
from sim.dataset.video import video_info

# Of a provenance: what all episodes of a dataset share. Of the rest (git, versions, who acts) the last may differ.
SAME_EPISODES = ("world", "quality", "seed", "behaviour", "acting")


def make_info(features: Features, fps: int, robot_type: str) -> dict:
    """Return the info of a dataset without episodes. Raises ValueError when fps is no whole number."""
    if int(fps) != fps or fps < 1:
        raise ValueError(f"fps is {fps}, expected a whole number >= 1")
    videos = (about(int(fps), features.image_size) for about in (video_info, depth_info))
    return {
        "codebase_version": CODEBASE_VERSION,
        "robot_type": robot_type,
        "total_episodes": 0,
        "total_frames": 0,
        "total_tasks": 0,
        "chunks_size": CHUNK_SIZE,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": int(fps),
        "splits": {"train": "0:0"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if features.cameras else None,
        "features": features.to_json(*videos),
    }


def read_info(root: Path) -> dict:
    """Read and check a dataset's info. Raises UserError when there is none, or none we can read."""
    path = root / INFO_PATH
    if not path.is_file():
        raise UserError(f"no dataset at {root}: {path} is missing{found_beside(root, INFO_PATH)}")
    try:
        info = json.loads(path.read_text())
        version = info["codebase_version"]
        if version != CODEBASE_VERSION:
            older = "LeRobot converts it: python -m lerobot.scripts.convert_dataset_v21_to_v30"
            remedy = older if _number(version) < _number(CODEBASE_VERSION) else "take a newer version of this code"
            raise UserError(f"dataset {root} has codebase_version {version!r}, expected {CODEBASE_VERSION!r}; {remedy}")
        if images := [key for key, value in info["features"].items() if value["dtype"] == "image"]:
            raise UserError(
                f"dataset {root} stores {', '.join(images)} as single images, expected videos; "
                "LeRobot converts it: lerobot-edit-dataset --operation.type=convert_image_to_video"
            )
        Features.from_json(info["features"])
        info["fps"], info["total_episodes"] = int(info["fps"]), int(info.get("total_episodes", 0))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"dataset {root} is broken: {path}: {reason}") from error
    return info


def _number(version: object) -> list[int]:
    """Return "v3.0" as [3, 0]. ValueError for anything else."""
    return [int(part) for part in str(version).removeprefix("v").split(".")]


def check_agrees(root: Path, found: dict, wanted: dict) -> None:
    """Raise UserError, naming every difference, unless both infos describe the same kind of data."""
    robots = [f"{info.get('robot_type')} at {info['fps']} Hz" for info in (found, wanted)]
    if robots[0] != robots[1]:
        raise UserError(f"dataset {root} was recorded with {robots[0]}, not {robots[1]}; name a new out=DIR")
    differences = Features.from_json(found["features"]).differences(Features.from_json(wanted["features"]))
    if differences:
        raise UserError(
            f"cannot resume dataset {root}, it differs (it has, you want): "
            + "; ".join(differences)
            + "; name a new directory"
        )


def read_provenance(root: Path, info: Mapping) -> list[dict]:
    """Return how a dataset was made: first by whom it was begun, then by others that went on with it.

    Older datasets have it in their info. Nothing where another program wrote the dataset. UserError when it is broken.
    """
    path = root / PROVENANCE_PATH
    try:
        content = json.loads(path.read_text()) if path.is_file() else info
        found = [content["provenance"], *content.get("resumed", [])] if "provenance" in content else []
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"dataset {root} is broken: {path}: {error}") from error
    if not all(isinstance(one, dict) for one in (content, *found)):
        raise UserError(f"dataset {root} is broken: {path}: expected a map of maps")
    return found


def write_provenance(root: Path, provenance: list[dict]) -> None:
    """Write what `read_provenance` returns."""
    content = {"provenance": provenance[0], "resumed": provenance[1:]}
    write_atomic(root / PROVENANCE_PATH, json.dumps(content, indent=1, default=str).encode())


def continued(root: Path, known: list[dict], provenance: dict) -> list[dict]:
    """Return the provenance of a dataset that goes on with this one. UserError, naming the first difference, where
    the simulation is not the same."""
    new = json.loads(json.dumps(provenance, default=str))
    shared = {key: new[key] for key in SAME_EPISODES if key in new}
    for one in filter(None, known):
        if other := first_difference(one, shared):
            key, has, want = other
            raise UserError(f"dataset {root} was made with {key}={json.dumps(has)}, not {json.dumps(want)}; "
                            "name a new out=DIR")  # fmt: skip
        if new and _kind(one) != _kind(new):
            raise UserError(f"dataset {root} holds {_kind(one)}, not {_kind(new)}; name a new out=DIR")
    return [*known, new] if new and new not in known else known or [{}]


def _kind(made_by: Mapping) -> str:
    """Return what kind of episodes a provenance tells of."""
    if EXPORTED_FROM in made_by:  # which keeps the rest of what it was exported from
        return "stretches of another dataset's episodes"
    if "world" not in made_by:
        return "episodes that were not simulated"
    return "demonstrations" if "quality" in made_by else "a policy's episodes"


def first_difference(has: Mapping, want: Mapping, where: str = "") -> tuple[str, Any, Any] | None:
    """Return the first key, dotted, that both know with different values, and these; None where they agree.

    A key that one of them lacks came with another version, or with another program.
    """
    for key in (key for key in want if key in has):
        known, value = has[key], want[key]
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            if found := first_difference(known, value, f"{where}{key}."):
                return found
        elif known != value:
            return f"{where}{key}", known, value
    return None


def write_info(root: Path, info: dict, episodes: int, frames: int, tasks: int) -> None:
    """Write info.json with these totals."""
    totals = {"total_episodes": episodes, "total_frames": frames, "total_tasks": tasks}
    info = {key: value for key, value in info.items() if key not in ("provenance", "resumed")}  # of older datasets
    info |= totals | {"splits": {"train": f"0:{episodes}"}}
    write_atomic(root / INFO_PATH, json.dumps(info, indent=1, default=str).encode())
