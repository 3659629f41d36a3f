"""How many frames of each group are labelled positive, and which groups see one indicator only.

Shapes: N frames of a pool.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from rl.advantage.advantage import end_decile
from rl.data.pool import Pool

INTERVENTION = "intervention frames"  # a group that is positive by construction


def positive_rates(positive: np.ndarray, groups: Mapping[str, np.ndarray]) -> list[dict]:
    """Return rows (by, group, frames, positive) for every value of every grouping (N,)."""
    rows = []
    for by, labels in groups.items():
        for label in np.unique(labels):
            inside = positive[labels == label]
            rows.append({"by": by, "group": str(label), "frames": len(inside), "positive": float(inside.mean())})
    return rows


def positive_table(pool: Pool, positive: np.ndarray) -> list[dict]:
    """Return positive rates by source, outcome, task and phase (tenths to the end of the episode).

    Of episodes with an outcome: frames of those that were cut off are never drawn, whatever their label.
    """
    outcome = np.where(pool.success, "success", "failure")
    groups = {
        "source": np.where(pool.intervention, INTERVENTION, pool.per_frame(pool.source)),
        "outcome": pool.per_frame(outcome),
        "source and outcome": np.char.add(np.char.add(pool.per_frame(pool.source), " "), pool.per_frame(outcome)),
        "task": pool.per_frame(pool.task),
        "tenths to the end": np.concatenate([end_decile(int(n)) for n in pool.length]),
    }
    counted = pool.counted
    return positive_rates(positive[counted], {by: labels[counted] for by, labels in groups.items()})


def one_sided(rows: Sequence[dict]) -> list[str]:
    """Return a warning for every group at 0 or 100 %: there the policy never sees the other indicator."""
    return [
        f"{row['by']} {row['group']}: {row['positive']:.0%} of {row['frames']} frames are positive; "
        "the indicator carries no information there"
        for row in rows
        if row["positive"] in (0.0, 1.0) and row["group"] != INTERVENTION
    ]
