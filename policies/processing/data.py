"""Training samples from recorded episodes: action chunks, cached features, words, labels.

A sample is one frame: what was seen then and the actions that followed. Shapes as in `vla.Batch`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from policies.heads.advantage_conditioning import Indicator
from policies.language.minilm import FrozenText
from policies.models.small_vla import Batch, VlaConfig
from policies.processing.features import FeatureCache, Progress, cache_features
from policies.vision.efficientnet import FrozenVision
from sim.core.contract import GROUNDING_COLUMNS
from sim.core.errors import UserError
from sim.dataset.reader import Dataset, read_sidecar

OUT_OF_SIGHT_M = 1.0
COLUMNS = ("observation.state", "action", "perturbed", *GROUNDING_COLUMNS)


@dataclass(frozen=True)
class Source:
    """One dataset directory, and the sidecar that labels its frames.

    Its columns: `advantage`, bool, the indicator; and optionally `weight`, how often the frame is drawn, relative to
    others of the dataset. Without labels every frame is POSITIVE: supervised fine-tuning, as RECAP does before its
    rounds.
    """

    root: Path
    labels: str | None = None


class EpisodeTable:
    """The small columns of one dataset in memory, frames of all episodes in a row."""

    def __init__(self, source: Source, cache: FeatureCache, dataset: Dataset):
        self.cache = cache
        episodes = [dataset.columns(i, COLUMNS) for i in range(dataset.num_episodes)]
        self.lengths = np.array([len(e["action"]) for e in episodes])
        self.first = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])
        self.episode = np.repeat(np.arange(len(episodes)), self.lengths)
        self.frame = np.concatenate([np.arange(n) for n in self.lengths])
        self.state = np.concatenate([e["observation.state"] for e in episodes])
        self.action = np.concatenate([e["action"] for e in episodes])
        self.perturbed = np.concatenate([e["perturbed"] for e in episodes])
        points = np.stack([np.concatenate([e[name] for e in episodes]) for name in GROUNDING_COLUMNS], 1)
        # What left the table is nowhere to be seen: it has no place to learn.
        self.points = np.where(np.abs(points).max(-1, keepdims=True) > OUT_OF_SIGHT_M, np.nan, points)
        self.instructions = [dataset.instruction(i) for i in range(len(episodes))]
        self.indicator, self.weight = self._read_labels(source)

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
        """Actions (B, T, D) that follow each row and valid (B, T): in the episode, before a disturbance."""
        offsets = np.arange(chunk)
        end = self.first[self.episode[rows]] + self.lengths[self.episode[rows]]
        wanted = rows[:, None] + offsets
        inside = wanted < end[:, None]
        wanted = np.minimum(wanted, end[:, None] - 1)
        clean = ~np.maximum.accumulate(self.perturbed[wanted], 1)
        return self.action[wanted], inside & clean


class TrainingData:
    """Samples of several datasets, each drawn from with its share."""

    def __init__(
        self,
        sources: Sequence[Source],
        config: VlaConfig,
        vision: FrozenVision,
        text: FrozenText,
        shares: Sequence[float] | None = None,
        workers: int = 1,
        progress: Progress | None = None,
    ):
        """shares: of each source in a batch; None in proportion to frames. UserError for a wrong dataset."""
        self.config = config
        self.tables = []
        for source in sources:
            dataset = Dataset(source.root)
            if tuple(dataset.features.cameras) != config.cameras:
                raise UserError(f"{source.root} has cameras {dataset.features.cameras}, expected {config.cameras}")
            cache = cache_features(dataset, vision, workers, progress)
            self.tables.append(EpisodeTable(source, cache, dataset))
        self._rows = [np.flatnonzero(~table.perturbed & (table.weight > 0)) for table in self.tables]
        self._probabilities = [_probabilities(t.weight[rows]) for t, rows in zip(self.tables, self._rows, strict=True)]
        frames = np.array([len(rows) for rows in self._rows], float)
        self._shares = frames / frames.sum() if shares is None else np.asarray(shares, float) / np.sum(shares)
        sentences = sorted({s for table in self.tables for s in table.instructions})
        self._sentence = {s: i for i, s in enumerate(sentences)}
        words, mask = text.encode(sentences)
        self._words, self._mask = torch.from_numpy(words), torch.from_numpy(mask)

    @property
    def num_frames(self) -> int:
        return sum(len(rows) for rows in self._rows)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        """A random batch."""
        counts = rng.multinomial(size, self._shares)
        drawn = zip(self.tables, self._rows, self._probabilities, counts, strict=True)
        return join([self.batch(table, rng.choice(rows, n, p=p)) for table, rows, p, n in drawn if n])

    def batch(self, table: EpisodeTable, rows: np.ndarray) -> Batch:
        """The samples at these rows of a table."""
        actions, valid = table.windows(rows, self.config.chunk)
        maps = table.cache.gather(table.episode[rows], table.frame[rows])
        sentence = [self._sentence[table.instructions[e]] for e in table.episode[rows]]
        return Batch(
            maps={c: (torch.from_numpy(a).float(), torch.from_numpy(b).float()) for c, (a, b) in maps.items()},
            words=self._words[sentence],
            word_mask=self._mask[sentence],
            state=torch.from_numpy(table.state[rows]),
            actions=torch.from_numpy(actions),
            valid=torch.from_numpy(valid),
            indicator=torch.from_numpy(table.indicator[rows]),
            points=torch.from_numpy(table.points[rows]),
        )

    def fit_normalization(self, model, rng: np.random.Generator, samples: int = 20000) -> None:
        """Set the model's normalization from a random part of the first source."""
        table, rows = self.tables[0], self._rows[0]
        rows = rng.choice(rows, min(samples, len(rows)), replace=False)
        actions, valid = table.windows(rows, self.config.chunk)
        as_tensor = torch.from_numpy
        model.fit_normalization(
            as_tensor(actions), as_tensor(valid), as_tensor(table.state[rows]), as_tensor(table.points[rows])
        )


def _probabilities(weights: np.ndarray) -> np.ndarray | None:
    """Return the chance of each row to be drawn, None where all are equal."""
    return None if not len(weights) or np.ptp(weights) == 0 else weights / weights.sum()


def join(batches: list[Batch]) -> Batch:
    """One batch of several."""
    if len(batches) == 1:
        return batches[0]
    joined = {}
    for name in Batch.__dataclass_fields__:
        parts = [getattr(batch, name) for batch in batches]
        if name == "maps":
            joined[name] = {c: tuple(torch.cat([p[c][i] for p in parts]) for i in (0, 1)) for c in parts[0]}
        else:
            joined[name] = torch.cat(parts)
    return Batch(**joined)
