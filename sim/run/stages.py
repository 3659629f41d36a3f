"""The stages of a run in one directory: each is done once, and a killed run goes on where it stopped."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sim.core.errors import UserError
from sim.core.files import write_atomic

_log = logging.getLogger(__name__)

CONFIG, DONE = "config.json", "done.json"


class Stages:
    """The stages of `out` that are done, and the configuration they were done with."""

    def __init__(self, out: Path, config: dict, may_differ: tuple[str, ...] = ()):
        """config: JSON values. UserError when `out` was begun with another one, `may_differ` aside."""
        self._out = out
        if (out / CONFIG).is_file():
            self._check(_read(out / CONFIG), config, may_differ)
        write_atomic(out / CONFIG, json.dumps(config, indent=1).encode())
        self.done: list[str] = _read(out / DONE) if (out / DONE).is_file() else []

    def _check(self, before: Any, config: dict, may_differ: tuple[str, ...]) -> None:
        for name in sorted(before.keys() - set(may_differ)):  # an option newer than the run has nothing to keep to
            if before[name] != config.get(name):
                was, given = _brief(before[name]), _brief(config.get(name))
                raise UserError(f"{self._out} was begun with {name}={was}, not {given}; name a new out=DIR")

    def run(self, name: str, place: Path, make: Callable[[], Any]) -> None:
        """Call `make`, which fills `place`, unless that exists and the stage is noted as done."""
        if name in self.done and place.exists():
            _log.info("%s: done already, %s", name, place)
            return
        _log.info("%s: %s", name, place)
        make()
        self.done = [*(stage for stage in self.done if stage != name), name]
        write_atomic(self._out / DONE, json.dumps(self.done, indent=1).encode())


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from error


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 120 else text[:117] + "..."
