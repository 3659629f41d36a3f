"""The table of cells that are finished: raw counts by training seed as JSON, Markdown and a figure.

Intervals of one training seed are Wilson's; those of several, which play the same layouts,
are of a bootstrap over layouts.
"""

import functools
import json
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from policies.compare.cells import TRAINING, Cell, played_in
from policies.compare.figure import draw_table
from policies.evaluation import motion
from policies.evaluation.motion import LEFT, RIGHT
from policies.models import checkpoint
from sim.core.files import write_atomic
from sim.core.provenance import provenance
from sim.episode import results
from sim.run.timer import Timer

TABLE, MARKDOWN, FIGURE = "table.json", "table.md", "table.png"
WAYS = (LEFT, RIGHT)

_log = logging.getLogger(__name__)


def write_table(root: Path, cells: Sequence[Cell], seeds: Sequence[int]) -> None:
    """Write what is finished."""
    rows = [row for cell in cells if (row := cell_row(root, cell, seeds))]
    write_atomic(root / TABLE, json.dumps({"cells": rows, **provenance({})}, indent=1).encode())
    write_atomic(root / MARKDOWN, markdown(rows).encode())
    draw_table(root / FIGURE, rows)


def cell_row(root: Path, cell: Cell, seeds: Sequence[int]) -> dict:
    """Return a cell's line over the training seeds that are finished; {} when none is."""
    folders = {seed: cell.folder(root, seed) for seed in seeds}
    read = {seed: played_in(folder, 0) / results.FILE for seed, folder in folders.items()}
    played = {seed: json.loads(path.read_text()) for seed, path in read.items() if path.is_file()}
    if not played:
        return {}
    by_seed = [one["episodes"] for one in played.values()]
    pooled = [episode for one in by_seed for episode in one]
    minutes = [Timer(folders[seed]).read().get(TRAINING, 0.0) for seed in played]
    return {
        "name": cell.name,
        "task": cell.task,
        **results.summary_of_seeds(by_seed),
        **motion.summary(pooled),
        **decisions([one["latency"]["decision"] for one in played.values()]),
        **ways(pooled),
        **changed_ways(list(folders.values())),
        "training_minutes": sum(minutes) / len(minutes),
        "parameters": parameters(folders[next(iter(played))] / "policy"),
        "by_train_seed": {str(seed): counts(one["episodes"]) for seed, one in played.items()},
    }


@functools.cache
def parameters(policy: Path) -> int:
    """Return the number of a checkpoint's parameters."""
    return sum(one.numel() for one in checkpoint.load(policy)[0].parameters())


def counts(episodes: Sequence[dict]) -> dict:
    """Return the raw counts of one training seed."""
    return {
        "n": len(episodes),
        "successes": sum(one["success"] for one in episodes),
        "time_s": round(sum(one["time_s"] for one in episodes), 2),
        **ways(episodes),
    }


def ways(episodes: Sequence[dict]) -> dict[str, int]:
    """Return how many episodes took each way."""
    taken = Counter(one["way"] for one in episodes)
    return {side: taken[side] for side in WAYS}


def changed_ways(folders: Sequence[Path]) -> dict[str, int]:
    """Return of how many scenes a second playing is known, and in how many of them it took the other way.

    A policy that keeps both ways takes now this and now that one in a scene; one that knows a single answer for each
    scene does not, even if it goes left in half of them.
    """
    pairs = []
    for folder in folders:
        paths = [played_in(folder, draw) / results.FILE for draw in (0, 1)]
        if all(path.is_file() for path in paths):
            taken = [[one["way"] for one in json.loads(path.read_text())["episodes"]] for path in paths]
            pairs += [pair for pair in zip(*taken, strict=True) if all(pair)]
    return {"twice": len(pairs), "changed": sum(first != second for first, second in pairs)}


def decisions(latencies: Sequence[dict]) -> dict[str, float]:
    """Return the median of the training seeds' medians and the greatest of their 99th percentiles, ms."""
    return {
        "decision_ms_p50": float(np.median([one["p50_ms"] for one in latencies])),
        "decision_ms_p99": max(one["p99_ms"] for one in latencies),
    }


# ---- for people --------------------------------------------------------------------------------


def markdown(rows: Sequence[dict]) -> str:
    """Return the table, task by task as the cells came; ways only where one was taken."""
    titles = (
        "policy",
        "task",
        "n",
        "success",
        "placed within",
        "jerk",
        "left / right, changed",
        "training",
        "decision p50 / p99",
    )
    lines = [f"| {' | '.join((*titles, 'parameters'))} |", f"|{'---|' * (len(titles) + 1)}"]
    for row in rows:
        placed = "" if row["placement_error_mm_median"] is None else f"{row['placement_error_mm_median']:.0f} mm"
        taken = f"{row[LEFT]} / {row[RIGHT]}" if row[LEFT] + row[RIGHT] else ""
        taken += f", {row['changed']} of {row['twice']}" if row["twice"] else ""
        cells = (
            row["name"], row["task"], str(row["n"]),
            f"{row['success_rate']:.1%} ({100 * row['ci_low']:.1f}-{100 * row['ci_high']:.1f})",
            placed, f"{row['jerk_rad_s3_median']:.0f} rad/s^3", taken, f"{row['training_minutes']:.1f} min",
            f"{row['decision_ms_p50']:.1f} / {row['decision_ms_p99']:.1f} ms", f"{row['parameters'] / 1e6:.2f} M",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
