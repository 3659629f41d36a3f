"""The episodes of several datasets laid end to end: what the value is fitted to and what is labelled.

A corrected episode ends in success as a rule, so its frames before the intervention would get good
returns for states that led to trouble. CUT (default, not the paper's): an intervention ends the
policy's part of the episode as a failure, and frames under intervention are left out of the value's
data. WHOLE (the paper): the episode as recorded.

Shapes: E episodes, N frames of all, T frames of one.
"""

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from sim.core.deprecated import SOURCES, TASKS, current
from sim.core.errors import UserError
from sim.dataset.reader import Dataset
from sim.dataset.schema import INFO_PATH

DEMONSTRATION, ROLLOUT, INTERVENTION = "expert", "policy", "intervention"  # episode metadata `source`


class Interventions(enum.Enum):
    """How the returns of corrected episodes are computed."""

    CUT = "cut"
    WHOLE = "whole"


@dataclass(frozen=True)
class Segment:
    """Frames start <= t < stop of an episode that share one outcome."""

    start: int
    stop: int
    success: bool


def segments(intervention: np.ndarray, interventions: Interventions, *, success: bool) -> list[Segment]:
    """Cut an episode before every intervention; the part before one has failed. intervention: bool (T,)."""
    ends = [len(intervention)]
    if interventions is Interventions.CUT:
        begins = np.flatnonzero(intervention[1:] & ~intervention[:-1]) + 1
        ends = [*(int(begin) for begin in begins), len(intervention)]
    starts = [0, *ends[:-1]]
    return [Segment(a, b, success and b == ends[-1]) for a, b in zip(starts, ends, strict=True)]


@dataclass(frozen=True)
class Pool:
    """Episodes in the order of the datasets, frames in the order of the episodes."""

    datasets: list[Dataset]
    fps: float  # of all of them
    dataset: np.ndarray  # int (E,) index of the dataset
    episode: np.ndarray  # int (E,) index in its dataset
    length: np.ndarray  # int (E,)
    success: np.ndarray  # bool (E,)
    source: np.ndarray  # str (E,) DEMONSTRATION, ROLLOUT or INTERVENTION
    task: np.ndarray  # str (E,)
    seed: np.ndarray  # int (E,)
    cut_off: np.ndarray  # bool (E,) a fault or a stop ended it and nobody judged: nothing is learned from it
    intervention: np.ndarray  # bool (N,)

    @cached_property
    def first(self) -> np.ndarray:
        """int (E + 1,): the first frame of each episode, and N."""
        return np.concatenate([[0], np.cumsum(self.length)])

    @cached_property
    def owner(self) -> np.ndarray:
        """int (N,): the episode of each frame."""
        return np.repeat(np.arange(len(self.length)), self.length)

    @cached_property
    def frame(self) -> np.ndarray:
        """int (N,): each frame's index in its episode."""
        return np.arange(len(self.owner)) - self.first[self.owner]

    def per_frame(self, per_episode: np.ndarray) -> np.ndarray:
        """(E,) -> (N,), each episode's value at all of its frames."""
        return per_episode[self.owner]

    def rows(self, episode: int) -> slice:
        """Return the frames of an episode."""
        return slice(int(self.first[episode]), int(self.first[episode + 1]))

    def segments(self, interventions: Interventions) -> Iterator[tuple[int, Segment]]:
        """Yield (episode, segment in frames of the pool), all of them in order."""
        for e, (start, success) in enumerate(zip(self.first[:-1], self.success, strict=True)):
            for part in segments(self.intervention[self.rows(e)], interventions, success=bool(success)):
                yield e, Segment(int(start) + part.start, int(start) + part.stop, part.success)

    @cached_property
    def forced_positive(self) -> np.ndarray:
        """bool (N,): frames under intervention that are positive whatever their advantage."""
        # On the robot an episode is kept however it ends; an intervention that failed is no example, and is
        # left to its advantage like any other frame.
        return self.intervention & self.per_frame(self.success)

    @property
    def demonstrated(self) -> np.ndarray:
        """bool (N,): frames of demonstrations."""
        return self.per_frame(self.source == DEMONSTRATION)

    @cached_property
    def exemplary(self) -> np.ndarray:
        """bool (N,): frames of successes and of interventions that succeeded, but not what led to one."""
        whole = self.success & (self.source != INTERVENTION)
        return self.per_frame(whole) | self.forced_positive

    @cached_property
    def counted(self) -> np.ndarray:
        """bool (N,): frames of episodes with an outcome, those that were not cut off."""
        return self.per_frame(~self.cut_off)

    def value_mask(self, interventions: Interventions) -> np.ndarray:
        """bool (N,): frames whose returns the value is fitted to."""
        return self.counted if interventions is Interventions.WHOLE else self.counted & ~self.intervention

    def in_datasets(self, roots: Sequence[Path | str]) -> np.ndarray:
        """bool (N,): frames of the datasets in these directories."""
        wanted = {Path(root).resolve() for root in roots}
        inside = np.array([dataset.root.resolve() in wanted for dataset in self.datasets], bool)
        return self.per_frame(inside[self.dataset])


def open_pool(roots: Sequence[Path | str]) -> Pool:
    """Open the datasets, those without episodes left out; one that does not say its task is of the first one's.

    UserError when episode metadata is missing, or they are of different robots or rates.
    """
    datasets = [dataset for dataset in map(Dataset, roots) if dataset.num_episodes]
    if not datasets:
        raise UserError(f"no episodes in {', '.join(map(str, roots)) or 'no dataset'}")
    for dataset in datasets[1:]:
        check_same_robot(datasets[0], dataset)
    parts = [_read_arrays(dataset) for dataset in datasets]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    joined["task"] = np.where(joined["task"] == "", task_of(datasets[0]), joined["task"])
    return Pool(
        datasets=datasets,
        fps=datasets[0].fps,
        dataset=np.repeat(np.arange(len(datasets)), [dataset.num_episodes for dataset in datasets]),
        **joined,
    )


def episodes_in(root: Path) -> int:
    """Return the number of episodes of a dataset that may not be there yet."""
    return Dataset(root).num_episodes if (root / INFO_PATH).is_file() else 0


def check_same_robot(first: Dataset, other: Dataset) -> None:
    """UserError when two datasets are not of one robot at one rate."""
    one, two = ((dataset.info["robot_type"], dataset.fps) for dataset in (first, other))
    if one != two:
        raise UserError(
            f"{first.root} was recorded with {one[0]} at {one[1]} Hz, {other.root} with {two[0]} at {two[1]} Hz; "
            "one policy learns from one robot at one rate"
        )


def task_of(dataset: Dataset) -> str:
    """Return the task of a dataset's episodes, "" where it does not say."""
    made_by = dataset.provenance
    name = made_by.get("world", {}).get("task") or made_by.get("task") or ""
    return current("task", name, TASKS)


def whole_metadata(dataset: Dataset, names: Sequence[str]) -> dict[str, list]:
    """Return the metadata of all episodes. UserError for a dataset without episodes, or where one lacks a name."""
    metadata = dataset.metadata_table()
    for name in names:
        if None in metadata.get(name, [None]):
            raise UserError(
                f"dataset {dataset.root} has an episode without the metadata {name!r}; record it with this project"
            )
    return metadata


def _read_arrays(dataset: Dataset) -> dict[str, np.ndarray]:
    """Return one dataset's part of every array of a pool."""
    metadata, episodes = whole_metadata(dataset, ("success", "source", "seed")), range(dataset.num_episodes)
    flags = [dataset.columns(e, ["intervention"])["intervention"] for e in episodes]
    return {
        "episode": np.arange(dataset.num_episodes),
        "length": np.array([dataset.length(e) for e in episodes]),
        "success": np.array(metadata["success"], bool),
        "source": np.array([current("episode source", source, SOURCES) for source in metadata["source"]]),
        "task": np.full(dataset.num_episodes, task_of(dataset)),
        "seed": np.array(metadata["seed"], np.int64),
        "cut_off": np.array([dataset.was_cut_off(e) for e in episodes], bool),
        "intervention": np.concatenate(flags).astype(bool),
    }
