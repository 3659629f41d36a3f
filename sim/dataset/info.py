"""meta/info.json: what a dataset is."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sim.core.errors import UserError, found_beside
from sim.dataset.files import write_atomic
from sim.dataset.schema import (
    CHUNK_SIZE,
    CODEBASE_VERSION,
    DATA_PATH,
    INFO_PATH,
    VIDEO_PATH,
    Features,
)
from sim.dataset.video import video_info

# Of a provenance: what all episodes of a dataset share. Of the rest (git, versions, who acts) the last may differ.
SAME_EPISODES = ("world", "quality")


def make_info(features: Features, fps: int, robot_type: str, provenance: dict) -> dict:
    """Return the info of a dataset without episodes. Raises ValueError when fps is no whole number."""
    if int(fps) != fps or fps < 1:
        raise ValueError(f"fps is {fps}, expected a whole number >= 1")
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
        "features": features.to_json(video_info(int(fps), features.image_size)),
        "provenance": provenance,
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
            raise UserError(f"dataset {root} has codebase_version {version!r}, expected {CODEBASE_VERSION!r}")
        if (info["data_path"], info["chunks_size"]) != (DATA_PATH, CHUNK_SIZE):
            raise UserError(f"dataset {root} has another file layout than one file per episode")
        Features.from_json(info["features"])
        info["fps"] = int(info["fps"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"dataset {root} is broken: {path}: {reason}") from error
    return info


def check_agrees(root: Path, found: dict, wanted: dict) -> dict:
    """Return the info to go on with: the found one, which must describe the same kind of data of the same simulation.

    Raises UserError naming every difference of kind, or the first one of the simulation.
    """
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
    known = [found.get("provenance", {}), *found.get("resumed", [])]
    new = json.loads(json.dumps(wanted["provenance"], default=str))
    other = first_difference(known[0], {key: new[key] for key in SAME_EPISODES if key in new})
    if other:
        key, has, want = other
        raise UserError(f"dataset {root} was made with {key}={json.dumps(has)}, not {json.dumps(want)}; "
                        "name a new out=DIR")  # fmt: skip
    if new and new not in known:
        found = found | {"resumed": [*found.get("resumed", []), new]}
    return found


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
    info = info | totals | {"splits": {"train": f"0:{episodes}"}}
    write_atomic(root / INFO_PATH, json.dumps(info, indent=1, default=str).encode())
