"""Plots of a report as inline SVG: bars with intervals, curves."""

import io
import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np

from policies.report.description import Curve

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

COLOURS = ("#2563a8", "#d9822b", "#2f8f5b", "#c0392b", "#7a5ba8", "#5b6b7c")
LINES = ("-", "--", ":", "-.")  # of curves beyond those that have a colour each
GOOD, BAD, BESIDE = COLOURS[2], COLOURS[3], "#aab4bf"
GROUPS = {"success": GOOD, "failure": BAD}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text, in the reader's fonts
    "font.family": "sans-serif",
    "axes.edgecolor": "#8794a2",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6ebf0",
}


def bars(
    names: Sequence[str], values: np.ndarray, low: np.ndarray, high: np.ndarray, label: str, grey: Collection[str] = ()
) -> str:
    """Return a bar for each value, with its interval; in grey those of the names given so."""
    figure, axes = _axes("", label)
    places = np.arange(len(names))
    colours = [BESIDE if name in grey else COLOURS[min(i, 1)] for i, name in enumerate(names)]
    errors = np.clip([values - low, high - values], 0, None)  # rounding: the interval of 60 of 60 ends below 100 %
    axes.bar(places, values, 0.45, yerr=errors, capsize=6, color=colours, ecolor="#1d2733")
    axes.set_xticks(places, names)
    axes.set_xlim(-0.7, len(names) - 0.3)
    axes.set_ylim(0, 100 if "%" in label else None)
    axes.grid(visible=False, axis="x")
    return _svg(figure)


def named_lines(lines: Mapping[str, tuple[Sequence[float], Sequence[float]]], x_label: str, y_label: str) -> str:
    """Return a line of (x, y) for each name, with a legend: of another colour each, or drawn otherwise."""
    figure, axes = _axes(x_label, y_label)
    for (name, (x, y)), (style, colour) in zip(lines.items(), itertools.cycle(itertools.product(LINES, COLOURS))):
        axes.plot(x, y, color=colour, linestyle=style, label=name, lw=1.6)
    if all(value >= 0 for _, y in lines.values() for value in y):  # a likelihood or a gain may fall below
        axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return _svg(figure)


def grouped_lines(curves: Sequence[Curve], x_label: str, y_label: str) -> str:
    """Return thin lines in the colours of their groups."""
    figure, axes = _axes(x_label, y_label)
    groups = list(dict.fromkeys(curve.group for curve in curves))
    for curve in curves:
        colour = GROUPS.get(curve.group, COLOURS[groups.index(curve.group) % len(COLOURS)])
        axes.plot(curve.x, curve.y, color=colour, alpha=0.75, lw=1.3)
    return _svg(figure)


def _axes(x_label: str, y_label: str):
    plt.rcParams.update(STYLE)
    figure, axes = plt.subplots(figsize=(5.2, 3.2))
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight")
    plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
