"""How far off an eye is on looks whose truth is known, and whether it knows.

Shapes: N looks, R = 2 roles (object, target). Millimetres.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

ROLES = ("object", "target")
PERCENTS = {"median": 50, "p95": 95}


@dataclass
class Errors:
    """What was measured, a row a look."""

    task: np.ndarray  # (N,) str
    first: np.ndarray  # (N,) bool: an episode's first look
    off_mm: np.ndarray  # (N, R) horizontally
    region_mm: np.ndarray  # (N, R) the eye's own estimate, within which 95 of 100 are to lie; nan where it gives none
    foil_mm: np.ndarray  # (N, R) the same for what is named but absent, nan where nothing is
    turn_deg: np.ndarray  # (N, R) how wrong it is about how they are turned; nan: any will do, or none is found

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def __getitem__(self, rows: np.ndarray) -> "Errors":
        return Errors(*(getattr(self, f.name)[rows] for f in fields(self)))


def summary(errors: Errors, nowhere_mm: float) -> dict:
    """Return the errors of first and of later looks, the coverage of the regions, the share of flags.

    nowhere_mm: a region so large says that the named thing is not there; coverage is of the others.
    """
    here = errors.region_mm < nowhere_mm
    absent = np.isfinite(errors.foil_mm)
    return {
        "looks": len(errors.first),
        "first": _by_role(errors[errors.first].off_mm),
        "later": _by_role(errors[~errors.first].off_mm),
        "turn_deg": _by_role(errors.turn_deg),
        "coverage": _share((errors.off_mm <= errors.region_mm)[here]),
        "flagged_good": _share(~here.all(1)) if np.isfinite(errors.region_mm).all() else None,
        "flagged_absent": _share(errors.foil_mm[absent] >= nowhere_mm),
        "absent": int(absent.sum()),
    }


def by_task(errors: Errors, nowhere_mm: float) -> dict[str, dict]:
    """Return the summary of each task, and of all of them as "all"."""
    tasks = {str(task): errors[errors.task == task] for task in np.unique(errors.task)}
    return {task: summary(one, nowhere_mm) for task, one in {**tasks, "all": errors}.items()}


def _by_role(off: np.ndarray) -> dict[str, dict[str, float] | None]:
    return {role: percentiles(off[:, r][np.isfinite(off[:, r])]) for r, role in enumerate(ROLES)} if len(off) else {}


def percentiles(values: np.ndarray) -> dict[str, float] | None:
    """Return the median and the 95th percentile, None of nothing."""
    if not len(values):
        return None
    return {name: round(float(np.percentile(values, percent)), 2) for name, percent in PERCENTS.items()}


def _share(flags: Any) -> float | None:
    return round(float(np.mean(flags)), 4) if np.size(flags) else None


def report(tables: Mapping[str, dict]) -> str:
    """Return a table for people."""
    lines = [
        f"{'task':15} {'first: object, target':>26} {'later: object, target':>26}"
        f" {'covered':>8} {'flagged: good, not':>18} {'turn, degrees: object, target':>30}"
    ]
    for task, one in tables.items():
        looks = [", ".join(_pair(one[kind].get(role)) for role in ROLES) for kind in ("first", "later")]
        flags = f"{_percent(one['flagged_good'])}, {_percent(one['flagged_absent'])}"
        errors = f"{task:15} {looks[0]:>26} {looks[1]:>26} {_percent(one['coverage']):>8} {flags:>18}"
        turns = ", ".join(_pair(one["turn_deg"].get(role)) for role in ROLES)
        lines.append(f"{errors} {turns:>30}")
    return "\n".join(lines)


def _pair(one: Mapping[str, float] | None) -> str:
    return f"{one['median']:.1f} / {one['p95']:.1f}" if one else "-"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
