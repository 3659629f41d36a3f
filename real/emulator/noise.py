"""A bad line for state frames: late, lost, torn, doubled, corrupt, merged, or with garbage between."""

from dataclasses import dataclass

import numpy as np

from real.emulator.accidents import Chance

FLIPPED = (1, 8)  # bytes
GARBAGE = (1, 64)


@dataclass
class Piece:
    """Bytes that leave in one write; `ends` undamaged frames end in it."""

    due_s: float
    data: bytes
    ends: int


class FrameNoise:
    """One connection's line. Who sends the pieces counts `whole`: the undamaged frames that left."""

    def __init__(self, chance: Chance):
        self.chance = chance
        self.whole = 0
        self._waiting: list[Piece] = []  # in the order of sending
        self._held = Piece(0.0, b"", 0)  # goes out in one piece with the next frame

    def send(self, frame: bytes, now_s: float) -> None:
        """Take a frame in."""
        if self.chance.happens("lost"):
            return
        due_s = self._due(now_s)
        if self.chance.happens("corrupt"):
            pieces = [Piece(due_s, self._flip(frame), 0)]
        elif self.chance.happens("torn"):
            pieces = self._tear(frame, due_s)
        elif self.chance.happens("doubled"):
            pieces = [Piece(due_s, frame, 1), Piece(due_s, frame, 0)]
        else:
            pieces = [Piece(due_s, frame, 1)]
        first = pieces[0]
        if self.chance.happens("garbage"):
            first.data = self.chance.rng.bytes(int(self.chance.rng.integers(*GARBAGE))) + first.data
        first.data, first.ends = self._held.data + first.data, self._held.ends + first.ends
        self._held = pieces.pop() if self.chance.happens("merged") else Piece(0.0, b"", 0)
        self._waiting += pieces

    def due(self, now_s: float) -> list[Piece]:
        """What leaves now, each in a write of its own."""
        ready = [piece for piece in self._waiting if piece.due_s <= now_s]
        del self._waiting[: len(ready)]
        return ready

    def _due(self, now_s: float) -> float:
        late_s, jitter_s = self.chance.amount("late"), self.chance.amount("jitter")
        for kind, amount in (("late", late_s), ("jitter", jitter_s)):
            if amount:
                self.chance.count(kind)
        due_s = now_s + late_s + self.chance.rng.uniform(0.0, 1.0) * jitter_s
        # A stream keeps its order: nothing overtakes what waits before it.
        return max(due_s, self._waiting[-1].due_s if self._waiting else 0.0)

    def _flip(self, frame: bytes) -> bytes:
        """Damage that a byte sum shows."""
        damaged = np.frombuffer(frame, np.uint8).copy()
        while damaged.sum(dtype=int) == sum(frame):
            at = self.chance.rng.choice(len(damaged), int(self.chance.rng.integers(*FLIPPED)), replace=False)
            damaged[at] ^= self.chance.rng.integers(1, 256, len(at), dtype=np.uint8)
        return damaged.tobytes()

    def _tear(self, frame: bytes, due_s: float) -> list[Piece]:
        """Two pieces; every other time the second never comes."""
        cut = int(self.chance.rng.integers(1, len(frame)))
        pieces = [Piece(due_s, frame[:cut], 0), Piece(due_s, frame[cut:], 1)]
        return pieces[: int(self.chance.rng.integers(1, 3))]
