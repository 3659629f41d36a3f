"""Measure things by turns: what else the machine does meets all of them, and ratios are of neighbours in time."""

from collections.abc import Callable, Mapping

import numpy as np
from rich.table import Table

from sim.core.console import track

THIS, BASELINE = "this", "baseline"
Figures = dict[str, float]  # name -> value


def by_turns(measures: Mapping[str, Callable[[int], Figures]], repeats: int) -> dict[str, list[Figures]]:
    """Call each `measure(repeat)` in turn, `repeats` times; return the figures of each by repeat."""
    found: dict[str, list[Figures]] = {name: [] for name in measures}
    turns = [(name, repeat) for repeat in range(repeats) for name in measures]
    for name, repeat in track(turns, "measuring"):
        found[name].append(measures[name](repeat))
    return found


def medians(found: Mapping[str, list[Figures]]) -> dict[str, Figures]:
    """Return the median of every figure of each."""
    return {
        name: {key: float(np.median([one[key] for one in rows])) for key in rows[0]} for name, rows in found.items()
    }


def ratios(found: Mapping[str, list[Figures]]) -> Figures:
    """Return of every figure the median over the repeats of the first one's value over the second's."""
    pairs = list(zip(*found.values(), strict=True))
    return {key: float(np.median([one[key] / other[key] for one, other in pairs])) for key in pairs[0][0]}


def comparison_table(found: Mapping[str, list[Figures]], titles: Mapping[str, str]) -> Table:
    """Return a row for each figure: the medians, and of two their ratio."""
    compared = len(found) == 2
    table = Table("median", *found, *(["ratio"] if compared else []))
    ratio, middle = ratios(found) if compared else {}, medians(found)
    for key, title in titles.items():
        cells = [f"{one[key]:.3g}" for one in middle.values()]
        table.add_row(title, *cells, *([f"{ratio[key]:.3f}"] if compared else []))
    return table
