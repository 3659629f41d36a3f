"""results.json of a rollout, derived from the recorded dataset.

The dataset is authoritative, so that a run that was killed continues with the right counts.
"""

import json
from pathlib import Path

from sim.core.errors import UserError
from sim.dataset.reader import Dataset
from sim.dataset.schema import PROVENANCE_PATH
from sim.episode import results


def recorded(root: Path) -> list[dict]:
    """Return one row per committed episode of the dataset in `root`."""
    dataset = Dataset(root)
    return [_row(dataset, episode) for episode in range(dataset.num_episodes)]


def _row(dataset: Dataset, episode: int) -> dict:
    metadata, steps = dataset.episode_metadata(episode), dataset.length(episode)
    return {
        "seed": int(metadata["seed"]),
        "success": bool(metadata["success"]),
        "steps": steps,
        "time_s": round(steps / dataset.fps, 3),
        "guard": {"latched": metadata["guard/latched"], "counts": json.loads(metadata["guard/counts"])},
        "fault": metadata["robot/fault"],
        "cut_off": dataset.was_cut_off(episode),
    }


def check_same_run(out: Path, metadata: dict) -> None:
    """Raise UserError when `out` holds results, or after a kill a dataset, of another run than `metadata` describe."""
    path = out / results.FILE
    if not path.exists():
        path = out / PROVENANCE_PATH
    if not path.exists():
        return
    try:
        before = json.loads(path.read_text())
        if "provenance" in before:
            before = {**before["provenance"], **before["provenance"].get("acting", {})}
        _ = before["checkpoint"]  # which every version wrote; the others came later
        differing = [
            name for name, value in metadata.items() if before.get(name, value) != value
        ]  # older ones say less
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not of a rollout; name a new out=DIR") from error
    if differing:
        name = differing[0]
        raise UserError(f"{path} was made with {name}={before[name]}, not {metadata[name]}; name a new out=DIR")


TIMING = ("latency", "late_steps", "looks")  # of the last start that decided something: the dataset does not know them


def write(out: Path, metadata: dict, timing: dict) -> dict:
    """Write results.json of the dataset in `out`, where it has episodes; returns its content.

    timing: {} where nothing was decided: what was written before stays. Rates are of the episodes that have an outcome;
    `cut_off` is the number of the others.
    """
    episodes, path = recorded(out), out / results.FILE
    before = json.loads(path.read_text()) if path.exists() and not timing else {}
    kept = {name: before[name] for name in TIMING if name in before}
    counted = [episode for episode in episodes if not episode["cut_off"]]
    rates = {**results.summary(counted), "cut_off": len(episodes) - len(counted)}
    content = {**rates, **metadata, **kept, **timing, "episodes": episodes}
    if episodes:
        results.write(out, content)
    return content
