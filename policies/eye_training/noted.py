"""What a folder was begun with, noted beside it in JSON, so that it is not gone on with by other options."""

import json
import textwrap
from pathlib import Path
from typing import Any

from sim.core.errors import UserError
from sim.core.files import write_atomic
from sim.dataset.info import first_difference


def note(path: Path, options: Any) -> None:
    """Write the options."""
    write_atomic(path, json.dumps(options, indent=1).encode())


def check_noted(path: Path, options: Any) -> None:
    """UserError, naming the first difference, where the note of what a folder was begun with has another."""
    if not path.is_file():
        return
    try:
        different = first_difference(json.loads(path.read_text()), json.loads(json.dumps(options)))
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is broken; name another work=DIR") from error
    if different:
        has, want = (textwrap.shorten(json.dumps(value), 100) for value in different[1:])
        raise UserError(f"{path.parent} was begun with {different[0]}={has}, not {want}; name another work=DIR")
