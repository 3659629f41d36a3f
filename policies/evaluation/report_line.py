"""What an evaluation came to, for people: a line, and a table of several."""

from pathlib import Path

from rich.table import Table

from policies.evaluation import steps_done


def report(content: dict, out: Path) -> str:
    """Return one line for people."""
    return (
        f"success {content['success_rate']:.1%} of {content['n']} "
        f"(95 % interval {content['ci_low']:.1%} to {content['ci_high']:.1%}), "
        f"{content['throughput_per_hour']:.0f} successes an hour "
        f"({content['throughput_ci_low']:.0f} to {content['throughput_ci_high']:.0f}), "
        f"{steps_done.told(content)}wrong thing touched first in {wrong_first(content)}, "
        f"decision {content['decision_ms_median']:.1f} ms; {out}"
    )


def wrong_first(content: dict) -> str:
    """Return for people in how many episodes a wrong thing was touched first, of those that had one."""
    return f"{content['wrong_first']} of {content['wrong_first_n']}"


def by_task(found: dict[str, dict], content: dict) -> Table:
    """Return the table of tasks, their mean last: each task counts the same."""
    table = Table("task", "success", "95 % interval", "mean time", "wrong thing first")
    for task, one in found.items():
        time = "-" if one["mean_time_s"] is None else f"{one['mean_time_s']:.1f} s"
        interval = f"{one['ci_low']:.1%} to {one['ci_high']:.1%}"
        table.add_row(task, f"{one['success_rate']:.1%}", interval, time, wrong_first(one))
    table.add_row("mean", f"{content['mean_success_rate']:.1%}", "", "", wrong_first(content))
    return table
