"""Training samples from recorded episodes: action chunks, model inputs, ground truth.

A sample is one frame: what was seen then and the actions that followed. Shapes: N frames of a
dataset, B batch, T chunk, D state and action dimension, G grounded points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from policies.core.indicator import Indicator
from policies.core.inputs import Batch, Inputs
from policies.core.interface import Policy
from policies.core.spec import PolicySpec
from policies.core.target_memory import ERROR, best_looks
from policies.processing.features import cache_features, cached_inputs
from policies.processing.observation import ObservationProcessor
from policies.processing.resize import policy_image_size
from policies.processing.steps import frame_sentences
from policies.processing.subtasks import frame_subtasks
from sim.core.contract import GROUNDING_COLUMNS, TOUCH_COLUMN, TURN_COLUMNS
from sim.core.errors import UserError
from sim.dataset.reader import Dataset, read_sidecar

GROUNDING = "grounding."  # prefix of the columns that hold ground truth
FAR_M = 1.0  # beyond this a thing has left the table, and no camera sees it


@dataclass(frozen=True)
class Source:
    """One dataset directory, and the sidecar that labels its frames.

    Its columns: `advantage`, bool, the indicator; and optionally `weight`, how often the frame is drawn, relative to
    others of the dataset. Without labels every frame is POSITIVE: supervised fine-tuning, as RECAP does before its
    rounds.
    """

    root: Path
    labels: str | None = None


def dataset_spec(dataset: Dataset) -> PolicySpec:
    """Return the dimensions of a policy for this dataset's robot, cameras and grounded points."""
    columns = dataset.features.columns
    for name in ("observation.state", "action"):
        if name not in columns:
            raise UserError(f"dataset {dataset.root} has no column {name!r}; it has {', '.join(columns)}")
    return PolicySpec(
        robot=str(dataset.info.get("robot_type") or ""),
        cameras=dataset.features.cameras,
        image_size=policy_image_size(dataset.features.image_size),
        state_dim=columns["observation.state"].shape[0],
        action_dim=columns["action"].shape[0],
        points=tuple(name for name in columns if name.startswith(GROUNDING) and name not in TURN_COLUMNS)
        or GROUNDING_COLUMNS,
        control_hz=dataset.fps,
    )


class EpisodeTable:
    """The small columns of one dataset in memory, frames of all episodes in a row."""

    def __init__(self, source: Source, decided: str = "action"):
        """decided: column of what chunks are made of: what was executed, or `requested_action`, before the guard.

        UserError when the directory holds no dataset or none with episodes, or its labels are missing or of other
        frames.
        """
        self.dataset = dataset = Dataset(source.root)
        if not dataset.num_episodes:
            raise UserError(
                f"dataset {dataset.root} has no episodes, expected one or more; run again what began it, as sim.collect"
            )
        self.spec = dataset_spec(dataset)
        flags = ("perturbed", "intervention")
        names = ("observation.state", "action", decided, *flags, *self.spec.points, *TURN_COLUMNS, TOUCH_COLUMN)
        episodes = [dataset.columns(i, names) for i in range(dataset.num_episodes)]
        self.lengths = np.array([len(e["action"]) for e in episodes])
        self.first = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])
        self.episode = np.repeat(np.arange(len(episodes)), self.lengths)
        self.frame = np.concatenate([np.arange(n) for n in self.lengths])
        self.state = np.concatenate([e["observation.state"] for e in episodes])
        self.action = np.concatenate([e["action"] for e in episodes])
        self.decided = np.concatenate([e[decided] for e in episodes])
        self.perturbed, self.intervention = (np.concatenate([e[name] for e in episodes]) for name in flags)
        self.truth = np.stack(
            [np.concatenate([e[name] for e in episodes]) for name in self.spec.points], 1
        )  # (N, G, 3)
        self.turn = np.stack([np.concatenate([e[name] for e in episodes]) for name in TURN_COLUMNS], 1)  # (N, 2, 4)
        self.touch = np.concatenate([e[TOUCH_COLUMN] for e in episodes])
        self._check_finite()
        far = np.abs(self.truth).max(-1, keepdims=True) > FAR_M
        self.points = np.where(far, np.nan, self.truth)  # what no camera sees cannot be learned
        self.indicator, self.weight = self._read_labels(source)

    def _check_finite(self) -> None:
        """UserError for a frame whose state or action is no number: every weight would become one that is none."""
        for name, values in (("observation.state", self.state), ("action", self.action)):
            broken = np.flatnonzero(~np.isfinite(values).all(1))
            if len(broken):
                episode, frame = self.episode[broken[0]], self.frame[broken[0]]
                raise UserError(
                    f"dataset {self.dataset.root}: {name} of episode {episode}, frame {frame}, is no finite number; "
                    "leave the episode out (lerobot-edit-dataset), or record it again"
                )

    def _read_labels(self, source: Source) -> tuple[np.ndarray, np.ndarray]:
        """Return the indicator and the weight of every frame."""
        if source.labels is None:
            return np.full(len(self.frame), int(Indicator.POSITIVE)), np.ones(len(self.frame))
        labels = read_sidecar(source.root, source.labels)
        same = np.array_equal(labels["episode_index"], self.episode) and np.array_equal(
            labels["frame_index"], self.frame
        )
        if not same:
            raise UserError(f"labels {source.labels!r} of {source.root} are not of the frames there now; label again")
        indicator = np.where(labels["advantage"], int(Indicator.POSITIVE), int(Indicator.NEGATIVE))
        return indicator, np.asarray(labels.get("weight", np.ones(len(indicator))), float)

    def windows(self, rows: np.ndarray, chunk: int) -> tuple[np.ndarray, np.ndarray]:
        """Return actions (B, T, D) that follow each row and valid (B, T): in the episode, before a disturbance, and
        while the same acts, the policy or who corrects it."""
        wanted, inside = self.following(rows, chunk)
        other = self.intervention[wanted] != self.intervention[rows][:, None]
        return self.decided[wanted], inside & ~np.maximum.accumulate(self.perturbed[wanted] | other, 1)

    def following(self, rows: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Return each row and those behind it, (B, T), the episode's last one beyond its end; whether it is within."""
        end = (self.first[self.episode[rows]] + self.lengths[self.episode[rows]])[:, None]
        wanted = rows[:, None] + np.arange(steps)
        return np.minimum(wanted, end - 1), wanted < end

    def earlier(self, rows: np.ndarray, steps: np.ndarray | int) -> np.ndarray:
        """Return the rows so many steps before each, an episode's first one where that would lie before it."""
        return np.maximum(rows - steps, self.first[self.episode[rows]])

    def subtasks(self) -> np.ndarray:
        """Return (N,), which sub-task every frame was about."""
        return np.concatenate([frame_subtasks(self.dataset, i) for i in range(self.dataset.num_episodes)])

    def commanded(self, rows: np.ndarray) -> np.ndarray:
        """Return the actions (B, D) before each row; of an episode's first frame its state: the arm is at rest."""
        first = (self.frame[rows] == 0)[:, None]
        return np.where(first, self.state[rows], self.action[np.maximum(rows - 1, 0)])


def fit_normalization(
    policy: Policy, tables: Sequence[EpisodeTable], rng: np.random.Generator, samples: int = 20000
) -> None:
    """Set the policy's normalization from random undisturbed frames of all datasets."""
    clean = [np.flatnonzero(~table.perturbed) for table in tables]
    first = np.concatenate([[0], np.cumsum([len(rows) for rows in clean])])
    drawn = rng.choice(first[-1], min(samples, first[-1]), replace=False)
    parts = []
    for i, table in enumerate(tables):
        rows = clean[i][drawn[(first[i] <= drawn) & (drawn < first[i + 1])] - first[i]]
        start = table.commanded(rows) if policy.given_steps else table.state[rows]
        parts.append((*table.windows(rows, policy.config.chunk), start, table.points[rows]))
    policy.fit_normalization(*(torch.from_numpy(np.concatenate(column)) for column in zip(*parts, strict=True)))


class FrameInputs:
    """The model inputs of any frames of one dataset."""

    def __init__(self, table: EpisodeTable, processor: ObservationProcessor, workers: int = 1):
        """Fill the feature cache with `workers` threads. UserError when the dataset does not fit the policy."""
        check_fits(table, processor.policy)
        self._table, self._policy = table, processor.policy
        self._words = None  # before the images: an instruction that cannot be read is an error at once
        if processor.joint:
            for sentence in np.unique(self._told()).tolist():
                processor.check_instruction(sentence)
        elif processor.language and processor.policy.keeps_words:
            sentences, self._sentence = np.unique(self._told(), return_inverse=True)
            self._words = processor.words(sentences.tolist())
        looks = processor.looks or processor.depth_cameras
        self._cache = cache_features(table.dataset, processor, workers) if looks else None
        self._kept = self._kept_targets()

    def _told(self) -> np.ndarray:
        """Return (N,), what the policy is told at each frame."""
        dataset, by_step = self._table.dataset, self._policy.plays_steps
        return np.concatenate([frame_sentences(dataset, i, by_step=by_step) for i in range(dataset.num_episodes)])

    def _kept_targets(self) -> Tensor | None:
        """Return each frame's target as it was seen best (N, KEPT), None for a policy that does not remember it."""
        table = self._table
        if not self._policy.remembers_target:
            return None
        kept = self._policy.keep_target(self._seen(np.arange(len(table.frame))))
        best = best_looks(kept[:, ERROR].numpy(), table.frame, self._told().tolist(), self._policy.config.execute)
        return kept[best]

    def __call__(self, rows: np.ndarray, age: np.ndarray | int = 0) -> Inputs:
        """Return the inputs of these rows of the table, with the earlier looks that the policy decides on as well.

        age: (B,) steps from the look to the state.
        """
        inputs, policy = self._look(self._table.earlier(rows, age)), self._policy
        if policy.look_age:
            inputs = Inputs(torch.from_numpy(self._table.state[rows])).on(inputs)
        steps = [policy.config.execute * age for age in range(policy.memory, 0, -1)]
        inputs.before = tuple(self._look(self._table.earlier(rows, back)) for back in steps)
        if policy.given_steps:
            inputs.commanded = torch.from_numpy(self._table.commanded(rows))
        if policy.needs.touch:
            inputs.touch = torch.from_numpy(self._table.touch[rows])
        return inputs

    def _look(self, rows: np.ndarray) -> Inputs:
        inputs = self._seen(rows)
        if self._kept is not None:
            inputs = self._policy.with_target(inputs, self._kept[rows])
        if self._words:
            inputs.words, inputs.word_mask = (part[self._sentence[rows]] for part in self._words)
        return inputs

    def _seen(self, rows: np.ndarray) -> Inputs:
        """Return what each of these looks alone shows."""
        table, episodes = self._table, self._table.episode[rows]
        arrays = self._cache.gather(episodes, table.frame[rows]) if self._cache else {}
        inputs = cached_inputs(arrays, table.state[rows])
        if self._cache and self._policy.needs.goal:
            last = self._cache.gather(episodes, table.lengths[episodes] - 1)
            inputs.goal = cached_inputs(last, inputs.state.numpy()).maps[table.spec.cameras[0]]
        if self._policy.needs.ground_truth:
            inputs.points, inputs.turn = (torch.from_numpy(one[rows]) for one in (table.truth, table.turn))
        return inputs


def check_fits(table: EpisodeTable, policy: Policy) -> None:
    """UserError when a dataset is of another robot, other cameras or points than the policy."""
    names = ["robot", "control_hz", "state_dim", "action_dim", "points"]
    names += ["cameras"] * policy.needs.cameras
    for name in names:
        found, expected = getattr(table.spec, name), getattr(policy.spec, name)
        if found != expected:
            raise UserError(
                f"{table.dataset.root} has {name} {found}, expected {expected}, what the policy is made for"
            )
    if policy.needs.depth and (missing := set(policy.spec.cameras) - set(table.dataset.features.depth)):
        raise UserError(
            f"{table.dataset.root} holds no depth of camera {min(missing)}, which policy.depth=true needs; expected "
            "data recorded with render.depth=true, or policy.depth=false"
        )
    if policy.needs.touch and not np.isfinite(table.touch).all():
        frames = np.flatnonzero(~np.isfinite(table.touch).all(1))
        raise UserError(
            f"{table.dataset.root} does not tell what the tool felt at {len(frames)} of {len(table.touch)} frames, "
            "which policy.touch=true needs; expected column 'touch' without gaps: record again, or policy.touch=false"
        )


class TrainingData:
    """Samples of several datasets, each drawn from with its share."""

    def __init__(
        self,
        tables: Sequence[EpisodeTable],
        processor: ObservationProcessor,
        shares: Sequence[float] | None = None,
        workers: int = 1,
    ):
        """shares: of each table in a batch; None in proportion to frames. UserError when one does not fit."""
        self.tables, self._chunk, self._look_age = tables, processor.policy.config.chunk, processor.policy.look_age
        for table in tables:
            check_fits(table, processor.policy)  # before the first is encoded
        self._inputs = [FrameInputs(table, processor, workers) for table in tables]
        self._subtasks = [table.subtasks() for table in tables] if processor.policy.names_subtasks else None
        self._rows = [np.flatnonzero(~table.perturbed & (table.weight > 0)) for table in tables]
        self._probabilities = [_probabilities(t.weight[rows]) for t, rows in zip(tables, self._rows, strict=True)]
        frames = np.array([len(rows) for rows in self._rows], float)
        self.shares = frames / frames.sum() if shares is None else np.asarray(shares, float) / np.sum(shares)

    def sample(self, rng: np.random.Generator, size: int, shares: np.ndarray | None = None) -> Batch:
        """Return a random batch, each sample on a look as old as the policy may be handed.

        shares: of each table; None: `self.shares`.
        """
        counts = rng.multinomial(size, self.shares if shares is None else shares)
        drawn = enumerate(zip(self._rows, self._probabilities, counts, strict=True))
        return Batch.concatenate(
            [self.batch(i, rng.choice(rows, n, p=p), self._ages(rng, n)) for i, (rows, p, n) in drawn if n]
        )

    def _ages(self, rng: np.random.Generator, n: int) -> np.ndarray | int:
        return rng.integers(0, self._look_age, n, endpoint=True) if self._look_age else 0

    def batch(self, source: int, rows: np.ndarray, age: np.ndarray | int = 0) -> Batch:
        """Return the samples at these rows of a table, on looks so many steps before (B,)."""
        table = self.tables[source]
        actions, valid = table.windows(rows, self._chunk)
        columns = (actions, valid, table.indicator[rows], table.points[rows])
        inputs = self._inputs[source](rows, age)
        if self._subtasks:
            inputs.subtask = torch.from_numpy(self._subtasks[source][rows])
        return Batch(inputs, *(torch.from_numpy(column) for column in columns))


def _probabilities(weights: np.ndarray) -> np.ndarray | None:
    """Return the chance of each row to be drawn, None where all are equal."""
    return None if not len(weights) or np.ptp(weights) == 0 else weights / weights.sum()
