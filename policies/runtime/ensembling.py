"""Temporal ensembling (ACT, Zhao et al. 2023, section IV-B): the chunks that reach a step are averaged.

Departs from the paper in that a chunk of another plan is dropped: where a task can be done in two ways, an average
would lead between them. CogACT (2024) weighs chunks by their likeness to that end. Where a policy says which
sub-task a chunk is for, `ChunkAgent` also drops those of the sub-task before.

Shapes: T steps of a chunk, D action dimension.
"""

import numpy as np

APART_RAD = 0.3  # by which chunks of one plan differ at a step in 1 of 100, see EXPERIMENTS.md, "Averaged by default"


class TemporalEnsemble:
    """Averages a chunk with those before it, by weights exp(-decay i), i = 0 for the oldest."""

    def __init__(self, decay: float):
        self._decay = decay
        self._chunks: list[tuple[int, np.ndarray]] = []  # (the step that its first action is for, chunk)

    def clear(self) -> None:
        self._chunks = []

    def average(self, first: int, chunk: np.ndarray) -> np.ndarray:
        """Return (T, D) of a new chunk (T, D), joints and gripper, whose first action is for step `first`."""
        self._chunks = [one for one in self._chunks if self._agrees(*one, first, chunk)] + [(first, chunk)]
        return np.stack([self._step(first + i) for i in range(len(chunk))]).astype(chunk.dtype)

    @staticmethod
    def _agrees(begun: int, before: np.ndarray, first: int, chunk: np.ndarray) -> bool:
        """Return whether a chunk before has the joints near where the new one has them at the first step of both."""
        step = max(begun, first)  # after a hold, a chunk that is begun early for a lead may begin before the one before
        if step - begun >= len(before) or step - first >= len(chunk):
            return False
        return bool(np.abs(before[step - begun] - chunk[step - first])[:-1].max() <= APART_RAD)

    def _step(self, step: int) -> np.ndarray:
        """(D,), what the chunks that reach `step` agree on."""
        reaching = [chunk[step - first] for first, chunk in self._chunks if 0 <= step - first < len(chunk)]
        return np.average(reaching, 0, np.exp(-self._decay * np.arange(len(reaching))))
