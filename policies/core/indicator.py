"""The advantage indicator: one definition for training, evaluation and the robot (RECAP, pi*-0.6)."""

import enum

from sim.core.errors import UserError, nearest


class Indicator(enum.IntEnum):
    """The advantage that the policy is conditioned on."""

    UNKNOWN = 0
    NEGATIVE = 1
    POSITIVE = 2


INDICATORS = tuple(one.name.lower() for one in Indicator)


def parse_indicator(name: str) -> Indicator:
    """Return the indicator "positive", "negative" or "unknown". UserError names the nearest."""
    try:
        return Indicator[name.upper()]
    except KeyError:
        raise UserError(nearest(name, INDICATORS, "indicator")) from None
