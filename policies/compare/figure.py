"""The figure of a comparison: success of every policy with its interval, the time of a decision, the ways taken."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policies.evaluation.motion import LEFT, RIGHT

COLOURS = ("#2563a8", "#2f8f5b", "#b5651d", "#8794a2")  # of tasks


def draw_table(path: Path, rows: Sequence[dict]) -> None:
    """Write a PNG of a table's rows."""
    names, tasks = (list(dict.fromkeys(row[key] for row in rows)) for key in ("name", "task"))
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import: only who draws waits
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 1.2 + 0.5 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    forked = [row for row in rows if row[LEFT] + row[RIGHT]]
    success, decision, *ways = figure.subplots(1, 3 if forked else 2, sharey=True)
    for i, task in enumerate(tasks):
        of_task = [row for row in rows if row["task"] == task]
        height = 0.8 / len(tasks)
        places = [names.index(row["name"]) + (i - (len(tasks) - 1) / 2) * height for row in of_task]
        _success(success, places, of_task, height=0.9 * height, color=COLOURS[i % len(COLOURS)], label=task)
        for key, marker in (("decision_ms_p50", "o"), ("decision_ms_p99", "|")):
            decision.plot([row[key] for row in of_task], places, marker, color=COLOURS[i % len(COLOURS)])
    success.set(xlabel="success, %, and its 95 % interval", xlim=(0, 104), yticks=range(len(names)), yticklabels=names)
    success.invert_yaxis()
    decision.set(xlabel="decision, ms: median (dot), 99 % (bar)", xscale="log")
    for axis in ways:
        _ways(axis, [names.index(row["name"]) for row in forked], forked)
    for axis in (success, decision, *ways):
        axis.grid(visible=True, axis="x", color="#e6ebf0")
        axis.set_axisbelow(True)
    success.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2, ncols=len(tasks))
    figure.savefig(path, dpi=110)


def _success(axis: Any, places: Sequence[float], rows: Sequence[dict], **style: Any) -> None:
    rate, low, high = (100 * np.array([row[key] for row in rows]) for key in ("success_rate", "ci_low", "ci_high"))
    errors = np.clip([rate - low, high - rate], 0, None)  # rounding: the interval of 60 of 60 ends below 100 %
    axis.barh(places, rate, xerr=errors, capsize=3, **style)


def _ways(axis: Any, places: Sequence[float], rows: Sequence[dict]) -> None:
    """Draw the shares of episodes that passed on the left and on the right, of those that took a way."""
    left, right = (np.array([row[side] for row in rows], float) for side in (LEFT, RIGHT))
    share = 100 * left / (left + right)
    axis.barh(places, share, 0.6, color=COLOURS[0], label=LEFT)
    axis.barh(places, 100 - share, 0.6, left=share, color=COLOURS[2], label=RIGHT)
    axis.set(xlabel="way round, %", xlim=(0, 100))
    axis.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2, ncols=2)
