"""The figure of a matrix: success and successes an hour of every cell, with intervals, beside the clean expert."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

RECAP, CONTROL, START, EXPERT = "#2563a8", "#d9822b", "#8794a2", "#2f8f5b"
COLUMNS = (  # key, low, high, label, factor
    ("success_rate", "ci_low", "ci_high", "success, %", 100.0),
    ("throughput_per_hour", "throughput_ci_low", "throughput_ci_high", "successes an hour", 1.0),
)


def draw_matrix(path: Path, rows: Sequence[Mapping], expert: Mapping) -> None:
    """Write a PNG: a bar a cell, a point a training seed, a line for the clean expert. rows: of matrix.json."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import: only who draws waits
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 0.9 + 0.36 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(COLUMNS), sharey=True)
    for axis, (key, low, high, label, factor) in zip(axes, COLUMNS, strict=True):
        _bars(axis, rows, (key, low, high), factor)
        axis.axvline(factor * expert[key], color=EXPERT, ls="--", lw=1.5, label="clean expert")
        axis.set_xlabel(label)
        axis.grid(visible=True, axis="x", color="#e6ebf0")
        axis.set_axisbelow(True)
    axes[0].set_xlim(left=0, right=104)
    axes[0].set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes[0].invert_yaxis()
    axes[1].legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
    figure.savefig(path, dpi=110)


def _bars(axis: Any, rows: Sequence[Mapping], keys: tuple[str, str, str], factor: float) -> None:
    value, low, high = (np.array([row[key] for row in rows], float) * factor for key in keys)
    colours = [_colour(row["name"]) for row in rows]
    errors = np.clip([value - low, high - value], 0, None)  # rounding: the interval of 60 of 60 ends below 100 %
    axis.barh(range(len(rows)), value, 0.62, color=colours, xerr=errors, capsize=3)
    for place, row in enumerate(rows):
        for one in row["by_train_seed"].values():
            rate = one["successes"] / one["n"] if keys[0] == "success_rate" else one["successes"] * 3600 / one["time_s"]
            axis.plot(factor * rate, place, "o", ms=3.5, mfc="white", mec="#1d2733", mew=0.8)


def _colour(cell: str) -> str:
    algorithm = cell.partition("@")[0]
    return {"imitation": START, "recap": RECAP}.get(algorithm, CONTROL)
