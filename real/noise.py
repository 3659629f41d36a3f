"""A bad line for state frames: late, lost, torn, doubled, corrupt, merged, or with garbage between."""

import numpy as np

from real.accidents import Chance

FLIPPED = (1, 8)  # bytes
GARBAGE = (1, 64)


class FrameNoise:
    """One connection's line; `whole` counts the frames that leave undamaged."""

    def __init__(self, chance: Chance):
        self.chance = chance
        self.whole = 0
        self._waiting: list[tuple[float, bytes]] = []  # (due, piece), in the order of sending
        self._held = b""  # goes out in one piece with the next frame

    def send(self, frame: bytes, now_s: float) -> None:
        """Take a frame in."""
        if self.chance.happens("lost"):
            return
        pieces = [frame]
        if self.chance.happens("corrupt"):
            pieces = [self._flip(frame)]
        elif self.chance.happens("torn"):
            pieces = self._tear(frame)
        elif self.chance.happens("doubled"):
            pieces = [frame, frame]
            self.whole += 1
        else:
            self.whole += 1
        if self.chance.happens("garbage"):
            pieces.insert(0, self.chance.rng.bytes(int(self.chance.rng.integers(*GARBAGE))))
        pieces[0] = self._held + pieces[0]
        self._held = pieces.pop() if self.chance.happens("merged") else b""
        self._wait(pieces, now_s)

    def due(self, now_s: float) -> list[bytes]:
        """The pieces that leave now, each in a write of its own."""
        ready = [piece for due_s, piece in self._waiting if due_s <= now_s]
        del self._waiting[: len(ready)]
        return ready

    def _wait(self, pieces: list[bytes], now_s: float) -> None:
        late_s = self.chance.amount("late")
        if jitter_s := self.chance.amount("jitter"):
            late_s += self.chance.rng.uniform(0.0, jitter_s)
        if late_s:
            self.chance.count("late" if self.chance.amount("late") else "jitter")
        # A stream keeps its order: nothing overtakes what waits before it.
        due_s = max(now_s + late_s, self._waiting[-1][0] if self._waiting else 0.0)
        self._waiting += [(due_s, piece) for piece in pieces]

    def _flip(self, frame: bytes) -> bytes:
        """Damage that a byte sum shows."""
        damaged = np.frombuffer(frame, np.uint8).copy()
        while damaged.sum(dtype=int) == sum(frame):
            at = self.chance.rng.choice(len(damaged), int(self.chance.rng.integers(*FLIPPED)), replace=False)
            damaged[at] ^= self.chance.rng.integers(1, 256, len(at), dtype=np.uint8)
        return damaged.tobytes()

    def _tear(self, frame: bytes) -> list[bytes]:
        cut = int(self.chance.rng.integers(1, len(frame)))
        if self.chance.rng.random() < 0.5:
            return [frame[:cut]]
        self.whole += 1
        return [frame[:cut], frame[cut:]]
