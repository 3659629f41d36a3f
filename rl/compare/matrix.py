"""The matrix of cells that are finished: raw counts, intervals, tests against the reference, as JSON, Markdown, figure.

All training seeds play the same layouts (evaluation seeds), so their episodes of one are not independent, and imitation
is the same episodes whatever the training seed: it is counted once. With one training seed success has Wilson's
interval and McNemar's test. With several, the layout is the unit: intervals by a bootstrap over layouts, and per layout
the difference of success, averaged over training seeds, in a permutation test that flips its sign. Successes an hour
are tested by exchanging whole layouts between cell and reference. It does not tell how other training seeds would do.

Shapes: S training seeds, n evaluation seeds, the same for every cell; R permutations.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl.compare.cells import Cell
from rl.compare.figure import draw_matrix
from rl.run.checks import gap_share
from rl.run.paired import mcnemar
from sim.core.files import write_atomic
from sim.core.provenance import provenance
from sim.episode.results import FILE as RESULTS
from sim.episode.results import by_layout, summary_of_seeds

_log = logging.getLogger(__name__)

MATRIX, TABLE, FIGURE = "matrix.json", "matrix.md", "matrix.png"
PERMUTATIONS = 10_000
TESTS = {"p_success": "p_success_holm", "p_throughput": "p_throughput_holm"}


def write_matrix(root: Path, cells: Sequence[Cell], seeds: Sequence[int], reference: str) -> None:
    """Write what is finished; tests are made among training seeds that cell and reference both have."""
    played = {cell.name: _episodes(root, cell, seeds) for cell in cells}
    expert = json.loads((root / "start" / "round_0" / "expert" / RESULTS).read_text())
    start = json.loads((root / "start" / "round_0" / "evaluation" / RESULTS).read_text())
    rows = [
        _row(root, cell, played[cell.name]) | _against(played[cell.name], played[reference])
        for cell in cells
        if played[cell.name]
    ]
    for row in rows:
        row["gap_share"] = gap_share(start, row, expert)
    correct_for_many(rows)
    brief = {name: expert[name] for name in ("success_rate", "throughput_per_hour", "mean_time_s", "n")}
    content = {"reference": reference, "expert": brief, "cells": rows, **provenance({})}
    write_atomic(root / MATRIX, json.dumps(content, indent=1).encode())
    write_atomic(root / TABLE, markdown(rows, brief, reference).encode())
    draw_matrix(root / FIGURE, rows, brief)


def _episodes(root: Path, cell: Cell, seeds: Sequence[int]) -> dict[int, list[dict]]:
    """Return training seed -> rows of results.json, of the training seeds that are finished."""
    found = {seed: cell.evaluation(root, seed) / RESULTS for seed in seeds}
    return {seed: json.loads(path.read_text())["episodes"] for seed, path in found.items() if path.is_file()}


def _row(root: Path, cell: Cell, played: dict[int, list[dict]]) -> dict:
    played = played if cell.trained else dict(list(played.items())[:1])
    counts = {
        str(seed): {
            "n": len(rows),
            "successes": sum(one["success"] for one in rows),
            "time_s": round(sum(one["time_s"] for one in rows), 2),
            "minutes": round(cell.minutes(root, seed), 2),
            "episodes": cell.episodes(root, seed),
            "curve": cell.curve(root, seed),
        }
        for seed, rows in played.items()
    }
    return {"name": cell.name, **summary_of_seeds(list(played.values())), "by_train_seed": counts}


# ---- tests -------------------------------------------------------------------------------------


def _against(played: dict[int, list[dict]], reference: dict[int, list[dict]]) -> dict:
    """Return p of success and of throughput against the reference, {} for the reference itself or without a pair."""
    common = sorted(played.keys() & reference.keys())
    if played is reference or not common:
        return {}
    ours, theirs = (by_layout([one[seed] for seed in common]) for one in (played, reference))
    return {"p_success": success_p(ours[0], theirs[0]), "p_throughput": permutation_p(ours, theirs)}


def success_p(ours: np.ndarray, theirs: np.ndarray, seed: int = 0) -> float:
    """Return the two-sided p that both succeed equally often, bool (S, n) each: McNemar's where S = 1, else of layouts'
    differences with flipped signs."""
    if len(ours) == 1:
        return mcnemar(int((ours & ~theirs).sum()), int((theirs & ~ours).sum()))
    difference = ours.mean(0) - theirs.mean(0)
    signs = np.where(np.random.default_rng(seed).random((PERMUTATIONS, len(difference))) < 0.5, -1.0, 1.0)
    seen, drawn = abs(difference.sum()), np.abs(signs @ difference)
    return float((1 + (drawn >= seen - 1e-9).sum()) / (1 + PERMUTATIONS))


def permutation_p(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray], seed: int = 0) -> float:
    """Return the two-sided p that a and b have the same successes an hour.

    a, b: success and time, (S, n) each. An evaluation seed is exchanged between a and b as a whole, with all its
    training seeds: its episodes are no independent draws of layouts.
    """
    success = np.stack([a[0].sum(0), b[0].sum(0)]).astype(float)  # (2, n)
    time_s = np.stack([a[1].sum(0), b[1].sum(0)])

    def difference(swapped: np.ndarray) -> np.ndarray:
        """bool (R, n) -> (R,)"""
        rates = [
            np.where(swapped, success[1 - k], success[k]).sum(1) / np.where(swapped, time_s[1 - k], time_s[k]).sum(1)
            for k in (0, 1)
        ]
        return rates[0] - rates[1]

    n = success.shape[1]
    seen = np.abs(difference(np.zeros((1, n), bool)))[0]
    drawn = np.abs(difference(np.random.default_rng(seed).random((PERMUTATIONS, n)) < 0.5))
    return float((1 + (drawn >= seen * (1 - 1e-12)).sum()) / (1 + PERMUTATIONS))


def correct_for_many(rows: Sequence[dict]) -> None:
    """Add Holm's correction over all cells and both tests to the rows that have p-values."""
    places = [(row, name) for row in rows for name in TESTS if name in row]
    if places:
        from statsmodels.stats.multitest import multipletests  # a second's import: only who asks waits

        found: Any = multipletests([row[name] for row, name in places], method="holm")
        for (row, name), p in zip(places, found[1], strict=True):
            row[TESTS[name]] = float(p)


# ---- for people --------------------------------------------------------------------------------


def markdown(rows: Sequence[dict], expert: dict, reference: str) -> str:
    """Return the table; p by Holm, against the reference.

    Minutes are of all training seeds, episodes of one: those that were given and played, and those until success was
    within the reference's interval to stay.
    """
    lines = [
        f"| cell | n | success | an hour | of the gap | time | p success | p an hour | minutes | episodes "
        f"| until the reference's success |\n|{'---|' * 11}",
    ]
    bar = next((row["ci_low"] for row in rows if row["name"] == reference), None)
    for row in rows:
        minutes = sum(one["minutes"] for one in row["by_train_seed"].values())
        tests = ["reference"] * 2 if row["name"] == reference else [_p(row.get(name)) for name in TESTS.values()]
        lines.append(
            f"| {row['name']} | {row['n']} "
            f"| {row['success_rate']:.1%} ({100 * row['ci_low']:.1f}-{100 * row['ci_high']:.1f}) "
            f"| {row['throughput_per_hour']:.0f} ({row['throughput_ci_low']:.0f}-{row['throughput_ci_high']:.0f}) "
            f"| {_share(row['gap_share'])} | {_seconds(row['mean_time_s'])} | {tests[0]} | {tests[1]} | {minutes:.0f} "
            f"| {_count(mean_episodes(row))} | {_count(episodes_until(row, bar))} |"
        )
    lines.append(
        f"| the clean expert | {expert['n']} | {expert['success_rate']:.1%} | {expert['throughput_per_hour']:.0f} "
        f"| 100 % | {_seconds(expert['mean_time_s'])} | | | | | |"
    )
    return "\n".join(lines) + "\n"


def mean_episodes(row: dict) -> float:
    """Return what a training seed learned from on average."""
    return float(np.mean([one["episodes"] for one in row["by_train_seed"].values()]))


def episodes_until(row: dict, bar: float | None) -> float | None:
    """Return how many episodes it took on average to a success rate of `bar`; None where a training seed ends below it.

    An algorithm that plays while it learns is judged by the episodes of each update, too. Those are few, and one of
    several such rates is soon above by chance: what counts is from when on none is below, the evaluation's included.
    """
    firsts = []
    for one in row["by_train_seed"].values():
        points = [*one["curve"], (one["episodes"], one["successes"] / one["n"])]
        below = [i for i, (_, success) in enumerate(points) if bar is None or success < bar]
        lasting = points[below[-1] + 1 :] if below else points
        firsts.append(lasting[0][0] if lasting else None)
    return None if None in firsts else float(np.mean(firsts))


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _p(value: float | None) -> str:
    return "" if value is None else "<0.001" if value < 1e-3 else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"
