"""Checks that every run prints: whether there is something to win, and whether the indicator does what it should."""

from collections.abc import Mapping, Sequence

from rl.run.paired import mcnemar
from sim.episode.results import summary

LITTLE_TO_WIN = 0.9  # of the clean expert's successes an hour
NAMES = ("positive", "none", "negative")


def headroom_warning(start: Mapping, expert: Mapping) -> str | None:
    """Return a warning when a round's start is about as good as the clean expert on the same seeds.

    Both as `sim.episode.results.summary` has them.
    """
    best = expert["throughput_per_hour"]
    if not best or start["throughput_per_hour"] < LITTLE_TO_WIN * best:
        return None
    return (
        f"the round's start leaves little to win: {start['throughput_per_hour']:.0f} successes an hour of the clean "
        f"expert's {best:.0f} on the same seeds; start from worse demonstrations (quality=sloppy) or a harder task"
    )


def gap_share(start: Mapping, after: Mapping, expert: Mapping) -> float | None:
    """Return the share of the gap in throughput between start and clean expert that was closed; None without a gap."""
    gap = (expert["throughput_per_hour"] or 0.0) - start["throughput_per_hour"]
    return (after["throughput_per_hour"] - start["throughput_per_hour"]) / gap if gap > 0 else None


def indicator_check(episodes: Mapping[str, Sequence[dict]]) -> dict:
    """Compare success on the same seeds under each of NAMES; episodes: rows of results.json, by name.

    `holds`: success falls from positive to none to negative, and positive is above negative.
    """
    rates = {name: summary(list(episodes[name]))["success_rate"] for name in NAMES}
    pairs = list(zip(*(sorted(episodes[name], key=lambda one: one["seed"]) for name in NAMES[::2]), strict=True))
    gained = sum(good["success"] and not bad["success"] for good, bad in pairs)
    lost = sum(bad["success"] and not good["success"] for good, bad in pairs)
    ordered = rates["positive"] >= rates["none"] >= rates["negative"] and rates["positive"] > rates["negative"]
    return {**rates, "n": len(pairs), "p": mcnemar(gained, lost), "holds": ordered}


def indicator_line(check: Mapping) -> str:
    """Return an indicator check for people."""
    rates = ", ".join(f"{name} {check[name]:.1%}" for name in NAMES)
    if check["holds"]:
        verdict = "in the expected order"
    elif check["positive"] > check["negative"]:
        verdict = "NOT in the expected order, though positive is above negative: its p says by chance or not"
    else:
        verdict = "NOT in the expected order: the labels carry no information"
    return f"success on the same {check['n']} seeds: {rates} (positive against negative p {check['p']:.2g}); {verdict}"
