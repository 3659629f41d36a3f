"""From values to labels: returns, advantages and the indicator of every frame, written beside the data.

Raw episodes stay as they are. Names and columns follow RLinf's RECAP pipeline:
    meta/returns_<tag>.parquet      episode_index, frame_index, return, reward
    meta/advantages_<tag>.parquet   episode_index, frame_index, advantage (bool), advantage_continuous,
                                    and ours: value, return (in [-1, 0]), positive (= advantage)

Shapes: N frames of a pool, E episodes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rl.advantage import advantage
from rl.advantage.returns import Convention, ReturnScale, normalize, returns, rewards
from rl.data.pool import CORRECTION, Corrections, Pool
from sim.core.errors import UserError, nearest
from sim.dataset.reader import write_sidecar


@dataclass(frozen=True)
class LabelConfig:
    """How frames are judged."""

    lookahead_steps: int = advantage.STEPS  # N
    positive_fraction: float = advantage.POSITIVE_FRACTION  # of the newest rollouts
    convention: str = "A"
    fail_cost: float | None = None  # C_fail in steps; null: the time limit
    corrections: str = "cut"  # what the value is told of corrected episodes; whole: the paper's way

    def __post_init__(self) -> None:
        for value, kind, name in (
            (self.convention, Convention, "convention"),
            (self.corrections, Corrections, "corrections"),
        ):
            if value not in (known := [one.value for one in kind]):
                raise UserError(nearest(value, known, name))
        if self.lookahead_steps < 1 or not 0.0 < self.positive_fraction < 1.0:
            raise UserError("label.lookahead_steps must be at least 1, label.positive_fraction between 0 and 1")

    def scale(self, time_limit_steps: int) -> ReturnScale:
        """The return scale of a task."""
        try:
            return ReturnScale(time_limit_steps, self.fail_cost, Convention(self.convention))
        except ValueError as error:
            raise UserError(f"label.{error}") from error


@dataclass(frozen=True)
class Targets:
    """What the episodes came to."""

    steps: np.ndarray  # (N,) rewards in steps
    raw: np.ndarray  # (N,) returns in steps
    values: np.ndarray  # (N,) returns in [-1, 0]
    teaches: np.ndarray  # bool (N,) frames the value is fitted to


@dataclass(frozen=True)
class Labels:
    """The verdict on every frame."""

    values: np.ndarray  # (N,) V of the frame
    advantages: np.ndarray  # (N,)
    positive: np.ndarray  # bool (N,)
    epsilons: dict[str, float]  # task -> threshold


def targets(pool: Pool, time_limits: Mapping[str, int], config: LabelConfig) -> Targets:
    """Rewards and returns of every frame. time_limits: task -> T_max in steps."""
    corrections, n = Corrections(config.corrections), len(pool.owner)
    steps, raw, values = np.zeros(n), np.zeros(n), np.zeros(n)
    for task in np.unique(pool.task):
        if task not in time_limits:
            raise UserError(nearest(str(task), time_limits, "task of a dataset"))
    for e, part in pool.segments(corrections):
        scale, rows = config.scale(time_limits[str(pool.task[e])]), slice(part.start, part.stop)
        steps[rows] = rewards(part.stop - part.start, scale, success=part.success)
        raw[rows] = returns(steps[rows])
        values[rows] = normalize(raw[rows], scale)
    return Targets(steps, raw, values, pool.teaches(corrections))


def label(
    pool: Pool,
    goal: Targets,
    values: np.ndarray,
    judged: np.ndarray,
    time_limits: Mapping[str, int],
    config: LabelConfig,
) -> Labels:
    """Advantages and indicators from the values (N,) of a value that has not seen the frames' episodes.

    judged: bool (N,), this round's autonomous rollouts; the threshold is taken over their frames.
    Frames of a correction that succeeded are positive whatever their advantage; no correction is in the quantile.
    """
    found = np.zeros(len(values))
    for e, part in pool.segments(Corrections(config.corrections)):
        scale, rows = config.scale(time_limits[str(pool.task[e])]), slice(part.start, part.stop)
        found[rows] = advantage.n_step(goal.steps[rows], values[rows], config.lookahead_steps, scale)
    tasks = pool.frames(pool.task)
    quantile_pool = judged & ~pool.intervention & (pool.frames(pool.source) != CORRECTION)
    for task in np.unique(tasks):
        if not (quantile_pool & (tasks == task)).any():
            raise UserError(f"no rollouts of task {str(task)!r} to take its advantage threshold from")
    epsilons = advantage.thresholds(found, tasks, quantile_pool, config.positive_fraction)
    positive = advantage.indicate(found, tasks, epsilons, pool.exemplary)
    return Labels(values, found, positive, epsilons)


def positive_table(pool: Pool, labels: Labels) -> list[dict]:
    """Positive rates by source, outcome, task and time to the end."""
    outcome = np.where(pool.success, "success", "failure")
    source = np.where(pool.intervention, "correction frames", pool.frames(pool.source))
    groups = {
        "source": source,
        "outcome": pool.frames(outcome),
        "source and outcome": np.char.add(np.char.add(pool.frames(pool.source), " "), pool.frames(outcome)),
        "task": pool.frames(pool.task),
        "tenths to the end": np.concatenate([advantage.end_decile(int(n)) for n in pool.length]),
    }
    return advantage.positive_rates(labels.positive, groups)


def write_labels(pool: Pool, goal: Targets, labels: Labels, tag: str, provenance: dict) -> None:
    """Both sidecars of every dataset of the pool."""
    for d, dataset in enumerate(pool.datasets):
        rows = pool.frames(pool.dataset) == d
        keys = {"episode_index": pool.frames(pool.episode)[rows], "frame_index": pool.frame[rows]}
        about = {**provenance, "dataset": dataset.fingerprint(), "epsilon": labels.epsilons}
        write_sidecar(
            dataset.root, f"returns_{tag}", {**keys, "return": goal.raw[rows], "reward": goal.steps[rows]}, about
        )
        columns = {
            "advantage": labels.positive[rows],
            "advantage_continuous": labels.advantages[rows].astype(np.float32),
            "value": labels.values[rows].astype(np.float32),
            "return": goal.values[rows].astype(np.float32),
            "positive": labels.positive[rows],
        }
        write_sidecar(dataset.root, advantages_name(tag), {**keys, **columns}, about)


def advantages_name(tag: str) -> str:
    """The sidecar that training reads."""
    return f"advantages_{tag}"
