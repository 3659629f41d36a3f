"""How long the stages of a run took."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from sim.core.files import write_atomic

MINUTES = "minutes.json"


class Timer:
    """Adds up the minutes of stages in a folder's minutes.json, over interruptions."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic):
        """clock: in seconds; `time.process_time` counts what this process worked, whatever runs beside it."""
        self._path, self._clock = folder / MINUTES, clock

    def read(self) -> dict[str, float]:
        """Return stage -> minutes."""
        return json.loads(self._path.read_text()) if self._path.is_file() else {}

    def __call__(self, stage: str) -> "Timer":
        self._stage = stage
        return self

    def __enter__(self) -> None:
        self._begun = self._clock()

    def __exit__(self, *_: object) -> None:
        minutes = self.read()
        minutes[self._stage] = minutes.get(self._stage, 0.0) + (self._clock() - self._begun) / 60
        write_atomic(self._path, json.dumps(minutes, indent=1).encode())
