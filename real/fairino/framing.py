"""Cuts a byte stream into checked frames, however it is split into reads."""

from abc import ABC, abstractmethod

HEAD = b"\x5a\x5a"  # of the frames of both state protocols


class FrameCutter(ABC):
    """One stream; subclasses define the length of a frame and whether it is valid.

    dropped: candidates with the right head and a plausible length that were damaged.
    skipped_bytes: bytes that belonged to no good frame.
    """

    length_bytes: int  # bytes from the head on that determine the length

    def __init__(self) -> None:
        self.dropped = 0
        self.skipped_bytes = 0
        self._buffer = bytearray()

    @abstractmethod
    def frame_size(self, begin: bytearray) -> int:
        """Return the bytes of the whole frame that begins with `begin`; 0 when no frame begins so."""

    @abstractmethod
    def is_good(self, frame: bytes) -> bool:
        """Return whether a frame of the right size is undamaged."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the whole good frames that `data` completes, in order."""
        self._buffer += data
        frames = []
        while self._seek_head():
            size = self.frame_size(self._buffer)
            if not size:
                self._skip(1)
            elif len(self._buffer) < size:
                break
            elif self.is_good(frame := bytes(self._buffer[:size])):
                frames.append(frame)
                del self._buffer[:size]
            else:
                # Skip the head alone: a valid frame may begin inside an invalid one.
                self.dropped += 1
                self._skip(1)
        return frames

    def _seek_head(self) -> bool:
        """Bring a head with its length to the front of the buffer; False when more bytes are needed."""
        at = self._buffer.find(HEAD)
        if at < 0:
            # The last byte may be the first half of a head.
            self._skip(len(self._buffer) - self._buffer.endswith(HEAD[:1]))
            return False
        self._skip(at)
        return len(self._buffer) >= self.length_bytes

    def _skip(self, count: int) -> None:
        self.skipped_bytes += count
        del self._buffer[:count]
