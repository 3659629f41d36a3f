"""The result of a run, for people (tables) and programs (recap.json)."""

import json
import logging
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rl.run.checks import gap_share
from rl.run.paired import paired, read_outcomes
from sim.core.console import table as as_table
from sim.core.files import write_atomic

_log = logging.getLogger(__name__)

JSON, TABLE = "recap.json", "recap.txt"
SUMMARY = (
    "success_rate", "ci_low", "ci_high", "n",
    "throughput_per_hour", "throughput_ci_low", "throughput_ci_high", "mean_time_s",
)  # fmt: skip
WIDTH = 150


def round_rows(results: list[dict], expert: dict) -> list[dict]:
    """Return one row a round from the contents of its results.json.

    Summary, comparison with round 0, and the share closed of the gap to the clean expert on the same seeds.
    """
    base = read_outcomes(results[0]["episodes"])
    rows = []
    for k, content in enumerate(results):
        change = paired(base, read_outcomes(content["episodes"])) if k else {}
        if k:
            change["gap_share"] = gap_share(results[0], content, expert)
        rows.append({"round": k, **{name: content[name] for name in SUMMARY}, **change})
    return rows


def write_report(
    root: Path, algorithm: str, results: list[dict], expert: dict, labels: list[dict], metadata: dict
) -> list[dict]:
    """Write recap.json and the table as text in `root`, print the table; return its rows."""
    rows = round_rows(results, expert)
    values = [_brief(one) for one in labels]
    content = {"rounds": rows, "expert": {name: expert[name] for name in SUMMARY}, "values": values, **metadata}
    write_atomic(root / JSON, json.dumps(content, indent=1).encode())
    table = rounds_table(rows, algorithm)
    with (root / TABLE).open("w") as file:
        Console(file=file, width=WIDTH).print(table)
    _log.info("rounds", extra=as_table("rounds", table, rounds=rows))
    _log.info("%s", root / JSON)
    return rows


def rounds_table(rows: list[dict], algorithm: str) -> Table:
    """Return success, throughput and time of each round, and the change against round 0 on the same seeds."""
    table = Table(title=f"{algorithm} by round (95 % intervals; change on the same seeds against round 0)")
    for name in (
        "round",
        "n",
        "success",
        "successes an hour",
        "time of a success",
        "gained / lost",
        "p",
        "change an hour",
        "of the gap",
    ):
        table.add_column(name, justify="right")
    for row in rows:
        changed = row["round"] > 0
        table.add_row(
            str(row["round"]),
            str(row["n"]),
            f"{row['success_rate']:.1%} ({row['ci_low']:.1%} to {row['ci_high']:.1%})",
            f"{row['throughput_per_hour']:.0f} ({row['throughput_ci_low']:.0f} to {row['throughput_ci_high']:.0f})",
            "-" if row["mean_time_s"] is None else f"{row['mean_time_s']:.2f} s",
            f"{row['gained']} / {row['lost']}" if changed else "",
            f"{row['p_success']:.3f}" if changed else "",
            f"{row['throughput_change_low']:+.0f} to {row['throughput_change_high']:+.0f}" if changed else "",
            "-" if row.get("gap_share") is None else f"{row['gap_share']:.0%}",
        )
    return table


def show_labels(labels: dict) -> None:
    """Print how good a round's value is, which frames are positive, and every warning. labels: `OfflineRun` adds the
    value's report and warnings to labels.json."""
    if labels["report"]:
        numbers = ", ".join(f"{name.replace('_', ' ')} {_number(value)}" for name, value in labels["report"].items())
        _log.info("value of %d episodes, %d frames: %s", labels["episodes"], labels["frames"], numbers)
    table = Table(title="positive frames")
    for name in ("by", "group", "frames", "positive"):
        table.add_column(name, justify="right" if name in ("frames", "positive") else "left")
    for row in labels["positive_rates"]:
        table.add_row(row["by"], row["group"], str(row["frames"]), f"{row['positive']:.1%}")
    _log.info("positive frames", extra=as_table("positive_frames", table, rates=labels["positive_rates"]))
    for warning in labels["warnings"]:
        _log.warning(warning)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _brief(labels: dict) -> dict:
    """Return what recap.json keeps of a round's labels and value."""
    names = ("round", "algorithm", "tag", "value_sha256", "epsilon", "report", "positive_rates", "warnings")
    return {name: labels.get(name) for name in names}
