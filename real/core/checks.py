"""Preflight checks: readings of a robot for a person, and whether they forbid motion."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sim.core.console import event
from sim.core.errors import UserError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Check:
    """One reading. `good` False forbids motion when `needed_before_power`.

    remedy: what a person does where it is not good; "" where power_on sets it right.
    """

    name: str
    reading: str
    good: bool
    needed_before_power: bool = True
    remedy: str = ""


def refuse_unfit(checks: Sequence[Check]) -> None:
    """Raise UserError with everything that forbids motion, and the remedies."""
    bad = [check for check in checks if check.needed_before_power and not check.good]
    if bad:
        causes = "; ".join(f"{check.name}: {check.reading}{_advice(check)}" for check in bad)
        raise UserError(f"the robot is not fit to move: {causes}")


def log_checks(checks: Sequence[Check]) -> None:
    """Log one line per check."""
    _log.info("%s", report(checks), extra=event("checks", checks=[asdict(check) for check in checks]))


def report(checks: Sequence[Check]) -> str:
    """Return one line per check."""
    return "\n".join(f"  {check.name:14s} {_mark(check):7s} {check.reading}{_advice(check)}" for check in checks)


def _mark(check: Check) -> str:
    if check.good:
        return "ok"
    if check.needed_before_power:
        return "NOT OK"
    return "CHECK" if check.remedy else "to set"


def _advice(check: Check) -> str:
    return f" ({check.remedy})" if check.remedy and not check.good else ""
