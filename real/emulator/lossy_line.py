"""A faulty network line for state frames: late, lost, torn, doubled, corrupt, merged, or with garbage between."""

from dataclasses import dataclass

import numpy as np

from real.emulator.fault_injection import RandomFaults

DAMAGED_BYTES = (1, 8)
GARBAGE_BYTES = (1, 64)


@dataclass
class Piece:
    """Bytes that leave in one write; `ends` undamaged frames end in it."""

    due_s: float
    data: bytes
    ends: int


class LossyLine:
    """One connection's line. The sender of the pieces counts `whole`: the undamaged frames that were sent."""

    def __init__(self, faults: RandomFaults):
        self.faults = faults
        self.whole = 0
        self._waiting: list[Piece] = []  # in the order of sending
        self._held = Piece(0.0, b"", 0)  # leaves in one piece with the next frame

    def send(self, frame: bytes, now_s: float) -> None:
        """Accept a frame for sending."""
        if self.faults.occurs("lost"):
            return
        due_s = self._due(now_s)
        if self.faults.occurs("corrupt"):
            pieces = [Piece(due_s, self._damage(frame), 0)]
        elif self.faults.occurs("torn"):
            pieces = self._tear(frame, due_s)
        elif self.faults.occurs("doubled"):
            pieces = [Piece(due_s, frame, 1), Piece(due_s, frame, 0)]
        else:
            pieces = [Piece(due_s, frame, 1)]
        first = pieces[0]
        if self.faults.occurs("garbage"):
            first.data = self.faults.rng.bytes(int(self.faults.rng.integers(*GARBAGE_BYTES))) + first.data
        first.data, first.ends = self._held.data + first.data, self._held.ends + first.ends
        self._held = pieces.pop() if self.faults.occurs("merged") else Piece(0.0, b"", 0)
        self._waiting += pieces

    def due(self, now_s: float) -> list[Piece]:
        """Return the pieces that leave now, each in a write of its own."""
        ready = [piece for piece in self._waiting if piece.due_s <= now_s]
        del self._waiting[: len(ready)]
        return ready

    def _due(self, now_s: float) -> float:
        late_s, jitter_s = self.faults.amount("late"), self.faults.amount("jitter")
        for kind, amount in (("late", late_s), ("jitter", jitter_s)):
            if amount:
                self.faults.count(kind)
        due_s = now_s + late_s + self.faults.rng.uniform(0.0, 1.0) * jitter_s
        # A stream keeps its order: nothing overtakes what waits before it.
        return max(due_s, self._waiting[-1].due_s if self._waiting else 0.0)

    def _damage(self, frame: bytes) -> bytes:
        """Change bytes so that a byte sum shows it."""
        damaged = np.frombuffer(frame, np.uint8).copy()
        while damaged.sum(dtype=int) == sum(frame):
            at = self.faults.rng.choice(len(damaged), int(self.faults.rng.integers(*DAMAGED_BYTES)), replace=False)
            damaged[at] ^= self.faults.rng.integers(1, 256, len(at), dtype=np.uint8)
        return damaged.tobytes()

    def _tear(self, frame: bytes, due_s: float) -> list[Piece]:
        """Return two pieces; every other time the second is never sent."""
        cut = int(self.faults.rng.integers(1, len(frame)))
        pieces = [Piece(due_s, frame[:cut], 0), Piece(due_s, frame[cut:], 1)]
        return pieces[: int(self.faults.rng.integers(1, 3))]
