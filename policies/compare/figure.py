"""The figure of a comparison: success of every policy with its interval, and the time of a decision, task by task."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = ("#2563a8", "#2f8f5b", "#b5651d", "#8794a2")  # of tasks


def draw_table(path: Path, rows: Sequence[dict]) -> None:
    """Write a PNG of a table's rows."""
    names, tasks = (list(dict.fromkeys(row[key] for row in rows)) for key in ("name", "task"))
    figure = Figure(figsize=(10, 1.2 + 0.5 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    success, decision = figure.subplots(1, 2, sharey=True)
    for i, task in enumerate(tasks):
        of_task = [row for row in rows if row["task"] == task]
        height = 0.8 / len(tasks)
        places = [names.index(row["name"]) + (i - (len(tasks) - 1) / 2) * height for row in of_task]
        _success(success, places, of_task, height=0.9 * height, color=COLOURS[i % len(COLOURS)], label=task)
        for key, marker in (("decision_ms_p50", "o"), ("decision_ms_p99", "|")):
            decision.plot([row[key] for row in of_task], places, marker, color=COLOURS[i % len(COLOURS)])
    success.set(xlabel="success, %, and its 95 % interval", xlim=(0, 104), yticks=range(len(names)), yticklabels=names)
    success.invert_yaxis()
    decision.set(xlabel="time of a decision, ms: median, 99 of 100 (bar)", xscale="log")
    for axis in (success, decision):
        axis.grid(visible=True, axis="x", color="#e6ebf0")
        axis.set_axisbelow(True)
    success.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2, ncols=len(tasks))
    figure.savefig(path, dpi=110)


def _success(axis: Any, places: Sequence[float], rows: Sequence[dict], **style: Any) -> None:
    rate, low, high = (100 * np.array([row[key] for row in rows]) for key in ("success_rate", "ci_low", "ci_high"))
    errors = np.clip([rate - low, high - rate], 0, None)  # rounding: the interval of 60 of 60 ends below 100 %
    axis.barh(places, rate, xerr=errors, capsize=3, **style)
