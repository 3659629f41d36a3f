"""Advantages and the indicator of every frame, and the files they are written to beside the data.

Recorded episodes stay as they are. File and column names follow RLinf's RECAP pipeline:
    meta/returns_<tag>.parquet      episode_index, frame_index, return, reward (in steps), prompt
    meta/advantages_<tag>.parquet   episode_index, frame_index, advantage (bool, the indicator), advantage_continuous,
                                    and ours: weight, value, normalized_return (both in [-1, 0])

Shapes: N frames of a pool.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from rl.advantage import advantage
from rl.advantage.targets import LabelConfig, Targets
from rl.data.pool import INTERVENTION, Interventions, Pool
from sim.core.errors import UserError
from sim.dataset.reader import write_sidecar


@dataclass(frozen=True)
class Labels:
    """What training reads of every frame, and how it came about."""

    positive: np.ndarray  # bool (N,) the indicator
    weight: np.ndarray  # float32 (N,) how often the frame is drawn, relative to others of its dataset; 0: never
    advantages: np.ndarray | None = None  # (N,) in value units
    values: np.ndarray | None = None  # (N,) V of the frame
    epsilons: dict[str, float] = field(default_factory=dict)  # task -> threshold


def kept_alone(kept: np.ndarray) -> Labels:
    """Return labels that draw the frames that are kept, bool (N,), all alike and positive, and no others."""
    return Labels(np.ones(len(kept), bool), kept.astype(np.float32))


def advantage_labels(
    pool: Pool,
    targets: Targets,
    values: np.ndarray,
    newest: np.ndarray,
    time_limits: Mapping[str, int],
    config: LabelConfig,
) -> Labels:
    """Compute advantages and indicators from the values (N,) of heads that were not fitted to the frames' episodes.

    newest: bool (N,), this round's autonomous rollouts; the threshold is taken over their frames.
    Frames of an intervention that succeeded are positive whatever their advantage; none is in the quantile.
    """
    advantages = np.zeros(len(values))
    for e, part in pool.segments(Interventions(config.interventions)):
        scale, rows = config.scale(time_limits[str(pool.task[e])]), slice(part.start, part.stop)
        advantages[rows] = advantage.n_step(targets.steps[rows], values[rows], config.lookahead_steps, scale)
    tasks = pool.per_frame(pool.task)
    quantile_pool = newest & ~pool.intervention & (pool.per_frame(pool.source) != INTERVENTION)
    for task in np.unique(tasks):
        if not (quantile_pool & (tasks == task)).any():
            raise UserError(f"no rollouts of task {str(task)!r} to take its advantage threshold from")
    epsilons = advantage.thresholds(advantages, tasks, quantile_pool, config.positive_fraction)
    positive = advantage.indicate(advantages, tasks, epsilons, pool.forced_positive)
    return Labels(positive, np.ones(len(positive), np.float32), advantages, values, epsilons)


def write_labels(pool: Pool, targets: Targets, labels: Labels, tag: str, provenance: dict) -> None:
    """Write both sidecars of every dataset of the pool."""
    for d, dataset in enumerate(pool.datasets):
        rows = pool.per_frame(pool.dataset) == d
        keys = {"episode_index": pool.per_frame(pool.episode)[rows], "frame_index": pool.frame[rows]}
        metadata = {**provenance, "dataset": dataset.fingerprint(), "epsilon": labels.epsilons}
        prompts = np.array([dataset.instruction(e) for e in range(dataset.num_episodes)])
        columns = {"return": targets.raw[rows], "reward": targets.steps[rows], "prompt": prompts[keys["episode_index"]]}
        write_sidecar(dataset.root, f"returns_{tag}", {**keys, **columns}, metadata)
        write_sidecar(dataset.root, advantages_name(tag), {**keys, **_columns(targets, labels, rows)}, metadata)


def _columns(targets: Targets, labels: Labels, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of advantages_<tag> for these frames; those that were not computed are left out."""
    columns = {
        "advantage": labels.positive,
        "advantage_continuous": labels.advantages,
        "weight": labels.weight,
        "value": labels.values,
        "normalized_return": targets.values,
    }
    found = {name: values[rows] for name, values in columns.items() if values is not None}
    return {name: values if values.dtype == bool else values.astype(np.float32) for name, values in found.items()}


def advantages_name(tag: str) -> str:
    """Return the name of the sidecar that training reads."""
    return f"advantages_{tag}"
