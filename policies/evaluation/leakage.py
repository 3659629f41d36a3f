"""Leakage: an evaluation must not play what the policy was trained on, no episode and nothing held out."""

from collections.abc import Mapping, Sequence

from sim.core.errors import UserError
from sim.core.provenance import plain
from sim.randomize.splits import AXES, SplitConfig


def check_seeds(seeds: range, trained: Sequence[Sequence[int]], free: int, option: str = "seed") -> None:
    """UserError when an episode to be played is one that the policy was trained on, (first, last) seeds each.

    free: where seeds that are free are looked for first. option: that says where the seeds begin.
    """
    if found := trained_on(seeds, trained):
        first, last = found
        while taken := trained_on(range(free, free + len(seeds)), trained):
            free = taken[1] + 1
        raise UserError(
            f"seeds {seeds.start} to {seeds.stop - 1} share episodes with training ({first} to {last}); "
            f"begin at another seed, e.g. {option}={free}"
        )


def trained_on(seeds: Sequence[int], trained: Sequence[Sequence[int]]) -> Sequence[int] | None:
    """Return the first range of training, (first, last) seeds, that one of these seeds is of; None where none is."""
    return next((one for one in trained if any(one[0] <= seed <= one[1] for seed in seeds)), None)


def check_split(split: SplitConfig, trained: Sequence[Mapping | None], checkpoint: str) -> None:
    """UserError when a held-out split is asked for and training may have shown it.

    trained: the split under which each thing that the policy learned from was made, None where it is unknown.
    """
    if split.part not in AXES:
        return
    if not trained or None in trained:
        raise UserError(
            f"split={split.part}: {checkpoint} does not say that what it learned from was held out; "
            "train it on what sim.collect makes now"
        )
    wanted = plain(SplitConfig("train", **{axis: getattr(split, axis) for axis in AXES}))
    for one in trained:
        for name, value in wanted.items():
            if one and one[name] != value:
                raise UserError(
                    f"split={split.part}: {checkpoint} was trained under split.{name}={one[name]}, here it is {value}"
                )


def splits_of(provenance: Mapping) -> list[Mapping | None]:
    """Return the splits that went into a dataset, a fusion or a checkpoint with this provenance; [None]: unknown."""
    if "splits" in provenance:
        return provenance["splits"]
    made_by = provenance.get("world") or provenance.get("config") or {}
    return [made_by.get("split")]
