"""page.json in a run's folder: what its report shows beyond what is found there, written by whatever made the run.

The report finds evaluations, training logs, videos and recordings by itself; a description names and
orders them and adds sections of tables and curves.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from sim.core.errors import UserError
from sim.core.files import write_atomic
from sim.core.provenance import plain
from sim.core.structured import typed

FILE = "page.json"


@dataclass(frozen=True)
class Curve:
    """One line of a plot. group: curves of a group share a colour."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    group: str


@dataclass(frozen=True)
class Section:
    """A plot of curves, a table, or both side by side."""

    title: str
    caption: str = ""  # of the plot
    x_label: str = ""
    y_label: str = ""
    curves: tuple[Curve, ...] = ()
    columns: tuple[str, ...] = ()  # of the table, none for no head
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Timeline:
    """What was computed along a recorded episode, drawn under its video. T frames."""

    dataset: str  # folder, relative to the run or absolute
    episode: int
    value: tuple[float, ...]  # (T,)
    good: tuple[bool, ...]  # (T,) how each frame was labelled


@dataclass(frozen=True)
class RunDescription:
    """What a report cannot find out by itself."""

    title: str
    note: str = ""  # under the table of evaluations
    evaluations: dict[str, str] = field(default_factory=dict)  # folder, relative to the run -> name; in order
    beside: tuple[str, ...] = ()  # of these names: what is no stage of the training, drawn in grey
    trainings: dict[str, str] = field(default_factory=dict)
    sections: tuple[Section, ...] = ()
    timelines: tuple[Timeline, ...] = ()
    config: dict = field(default_factory=dict)  # all options; empty: those of the last evaluation


def write_description(root: Path, description: RunDescription) -> None:
    """Write page.json, whole or not at all."""
    write_atomic(root / FILE, json.dumps(plain(description), indent=1).encode())


def read_description(root: Path) -> RunDescription | None:
    """Return what page.json holds, None where there is none. UserError when it is broken."""
    path = root / FILE
    if not path.is_file():
        return None
    try:
        return typed(RunDescription, json.loads(path.read_text()))
    except (OSError, ValueError, TypeError, AttributeError, UserError) as error:  # TypeError: it lacks a field
        raise UserError(f"{path} is broken: {error}") from error
