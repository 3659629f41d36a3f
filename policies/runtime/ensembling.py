"""Temporal ensembling (ACT, Zhao et al. 2023, section IV-B): the chunks that reach a step are averaged.

Shapes: T steps of a chunk, D action dimension.
"""

import numpy as np


class TemporalEnsemble:
    """Averages a chunk with those before it, by weights exp(-decay i), i = 0 for the oldest."""

    def __init__(self, decay: float):
        self._decay = decay
        self._chunks: list[tuple[int, np.ndarray]] = []  # (the step that its first action is for, chunk)

    def clear(self) -> None:
        self._chunks = []

    def average(self, first: int, chunk: np.ndarray) -> np.ndarray:
        """Return (T, D) of a new chunk (T, D) whose first action is for step `first` of the episode."""
        self._chunks = [one for one in self._chunks if one[0] + len(one[1]) > first] + [(first, chunk)]
        return np.stack([self._step(first + i) for i in range(len(chunk))]).astype(chunk.dtype)

    def _step(self, step: int) -> np.ndarray:
        """(D,), what the chunks that reach `step` agree on."""
        reaching = [chunk[step - first] for first, chunk in self._chunks if step - first < len(chunk)]
        return np.average(reaching, 0, np.exp(-self._decay * np.arange(len(reaching))))
