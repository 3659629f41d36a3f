"""What an earlier evaluation left in a folder: its results are not overwritten, nor taken for those of another."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policies.core.weight_files import SHA256
from sim.core.errors import NOTHING_NEW, UserError
from sim.core.provenance import plain
from sim.episode import results

VIDEOS = "episode-*.mp4"  # of an evaluation, as `results.video_name` names them


def check_new(folder: Path, what: str = "an evaluation") -> None:
    """UserError when a folder holds the results of `what`, which would be overwritten."""
    if (folder / results.FILE).is_file():
        raise UserError(f"{folder} holds the results of {what}; name another out=DIR")


def finished(folder: Path, config: Any, weights: Mapping[str, str]) -> dict | None:
    """Return what an earlier run wrote of this evaluation, None if nothing. UserError where it was another.

    weights: the checksum of those that would act now, see `policies.runtime.who_decides.acting_weights`. Results that
    do not say theirs, as those of earlier versions, count as of the same.
    """
    path = folder / results.FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
        before, now = ({**one, "workers": None} for one in (content["config"], plain(config)))
        acted = content.get(SHA256)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is broken; remove it, or name another out=DIR") from error
    if before != now:
        raise UserError(f"{folder} holds an evaluation with other options; name another out=DIR")
    if acted and weights and acted != weights[SHA256]:
        raise UserError(
            f"{folder} holds an evaluation of other weights, {acted[:12]}, expected {weights[SHA256][:12]}: the policy "
            "was trained anew since; name another out=DIR"
        )
    return content


def kept(folder: Path) -> str:
    """Return what an interrupted evaluation leaves behind."""
    if tasks := len(list(folder.glob(f"*/{results.FILE}"))):
        return f"{tasks} tasks are kept in {folder}; run again to go on"
    videos = len(list(folder.rglob(VIDEOS)))
    return f"{videos} videos are kept in {folder}, no results; run again to play all" if videos else NOTHING_NEW
