"""The episodes of several datasets laid end to end: what the value learns from and what is labelled.

A corrected episode ends in success as a rule, so its frames before the takeover would get good returns
for states that led to trouble. CUT (default, not the paper's): the takeover ends the policy's episode
as a failure, and frames under correction teach the value nothing. WHOLE (the paper): the logged
episode as it is.

Shapes: E episodes, N frames of all, T frames of one.
"""

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from sim.core.errors import UserError
from sim.dataset.reader import Dataset

DEMONSTRATION, ROLLOUT, CORRECTION = "expert", "policy", "correction"  # the fact "source"


class Corrections(enum.Enum):
    """What the value is told of corrected episodes."""

    CUT = "cut"
    WHOLE = "whole"


@dataclass(frozen=True)
class Segment:
    """Frames start <= t < stop of an episode that are judged by one outcome."""

    start: int
    stop: int
    success: bool


def segments(intervention: np.ndarray, corrections: Corrections, *, success: bool) -> list[Segment]:
    """An episode cut before every takeover; what a takeover ended has failed. intervention: bool (T,)."""
    ends = [len(intervention)]
    if corrections is Corrections.CUT:
        rises = np.flatnonzero(intervention[1:] & ~intervention[:-1]) + 1
        ends = [*(int(rise) for rise in rises), len(intervention)]
    starts = [0, *ends[:-1]]
    return [Segment(a, b, success and b == ends[-1]) for a, b in zip(starts, ends, strict=True)]


@dataclass(frozen=True)
class Pool:
    """Episodes in the order of the datasets, frames in the order of the episodes."""

    datasets: list[Dataset]
    dataset: np.ndarray  # int (E,) which dataset
    episode: np.ndarray  # int (E,) index in its dataset
    length: np.ndarray  # int (E,)
    success: np.ndarray  # bool (E,)
    source: np.ndarray  # str (E,)
    task: np.ndarray  # str (E,)
    seed: np.ndarray  # int (E,)
    intervention: np.ndarray  # bool (N,)

    @cached_property
    def first(self) -> np.ndarray:
        """int (E + 1,): the frame each episode begins at, and N."""
        return np.concatenate([[0], np.cumsum(self.length)])

    @cached_property
    def owner(self) -> np.ndarray:
        """int (N,): the episode of each frame."""
        return np.repeat(np.arange(len(self.length)), self.length)

    @cached_property
    def frame(self) -> np.ndarray:
        """int (N,): each frame's index in its episode."""
        return np.arange(len(self.owner)) - self.first[self.owner]

    def frames(self, per_episode: np.ndarray) -> np.ndarray:
        """(E,) -> (N,), every frame with its episode's value."""
        return per_episode[self.owner]

    def rows(self, episode: int) -> slice:
        """The frames of an episode."""
        return slice(int(self.first[episode]), int(self.first[episode + 1]))

    def segments(self, corrections: Corrections) -> Iterator[tuple[int, Segment]]:
        """(episode, its segments in frames of the pool), all of them in order."""
        for e, (start, success) in enumerate(zip(self.first[:-1], self.success, strict=True)):
            for part in segments(self.intervention[self.rows(e)], corrections, success=bool(success)):
                yield e, Segment(int(start) + part.start, int(start) + part.stop, part.success)

    @cached_property
    def exemplary(self) -> np.ndarray:
        """bool (N,): a corrector's frames that are positive whatever their advantage."""
        # On the robot an episode is kept however it ends; what a person did that failed is no example, and is
        # left to its advantage as everybody's frames are.
        return self.intervention & self.frames(self.success)

    def teaches(self, corrections: Corrections) -> np.ndarray:
        """bool (N,): frames whose returns the value is fitted to."""
        everything = np.ones(len(self.owner), bool)
        return everything if corrections is Corrections.WHOLE else ~self.intervention

    def of(self, roots: Sequence[Path | str]) -> np.ndarray:
        """bool (N,): frames of the datasets at these places."""
        wanted = {Path(root).resolve() for root in roots}
        inside = np.array([dataset.root.resolve() in wanted for dataset in self.datasets], bool)
        return self.frames(inside[self.dataset])


def open_pool(roots: Sequence[Path | str]) -> Pool:
    """The pool of these datasets, those without episodes left out. UserError for one without the needed facts."""
    datasets = [dataset for dataset in map(Dataset, roots) if dataset.num_episodes]
    if not datasets:
        raise UserError(f"no episodes in {', '.join(map(str, roots)) or 'no dataset'}")
    about = [_about(dataset) for dataset in datasets]
    joined = {name: np.concatenate([part[name] for part in about]) for name in about[0]}
    return Pool(
        datasets=datasets,
        dataset=np.repeat(np.arange(len(datasets)), [dataset.num_episodes for dataset in datasets]),
        **joined,
    )


def _about(dataset: Dataset) -> dict[str, np.ndarray]:
    """One dataset's share of every array of a pool."""
    facts, episodes = dataset.facts_table(), range(dataset.num_episodes)
    for name in ("success", "source", "seed"):
        if None in facts.get(name, [None]):
            raise UserError(
                f"dataset {dataset.root} has an episode without the fact {name!r}; record it with this project"
            )
    task = dataset.provenance.get("world", {}).get("task", "")
    flags = [dataset.columns(e, ["intervention"])["intervention"] for e in episodes]
    return {
        "episode": np.arange(dataset.num_episodes),
        "length": np.array([dataset.length(e) for e in episodes]),
        "success": np.array(facts["success"], bool),
        "source": np.array(facts["source"], dtype=str),
        "task": np.full(dataset.num_episodes, task),
        "seed": np.array(facts["seed"], np.int64),
        "intervention": np.concatenate(flags).astype(bool),
    }
