"""Old names of options, programs, columns and tasks: accepted for one release, with a one-line notice.

One table for all. What a room renames it enters here, and reads through `current` or `option`.
"""

import functools
import logging
import runpy
from collections.abc import Callable, Iterable, Mapping

_log = logging.getLogger(__name__)

OPTIONS = {  # of any program, dotted as typed; a group's name stands for all that is in it
    "twin": "dynamics",
    "films": "videos",
    "film": "video",
    "corrections": "interventions",
    "label.corrections": "label.interventions",
    "backbone": "init_fusion",
    "policy.flow": "policy.head",
    **{f"{name}.backbone_rate": f"{name}.pretrained_rate" for name in ("optim", "pretrain", "retrain")},
    **{f"{name}.average": f"{name}.ema_decay" for name in ("optim", "pretrain", "retrain")},
    **{name: f"optim.{name}" for name in ("steps", "batch", "learning_rate")},  # of grounding pretraining
    "what": "parts",
    "takes": "episodes",
    "pictures": "images",
}
_QUALITY = {
    "pushed": "perturbation_prob", "missed": "near_miss_prob", "noisy": "noise_prob", "fumbled": "failed_grasp_prob",
    "hesitated": "hesitation_prob",
}  # fmt: skip
OPTIONS |= {f"quality.{old}": f"quality.{new}" for old, new in _QUALITY.items()}
COLUMNS = {  # of a dataset's frames, and of its episodes' metadata
    "asked_action": "requested_action",
    "fumbling": "failed_grasp",
    "expert/flaws": "expert/imperfections",
    "takeover/reason": "intervention/reason",
    "draw/clutter": "draw/distractors",
    "draw/clutter_shapes": "draw/distractor_shapes",
    "draw/clutter_colours": "draw/distractor_colours",
    "draw/clutter_xy_m": "draw/distractor_xy_m",
    "draw/clutter_yaw_rad": "draw/distractor_yaw_rad",
}
VALUES = {name: f"{name}.pos" for name in (*(f"j{i}" for i in range(1, 8)), "gripper")}  # of state and action
ROBOT_KINDS = {"fr3": "hardware"}  # values of robot.kind
TASKS = {"fork": "reach_around"}
SOURCES = {"correction": "intervention"}  # who acted in an episode


def option(name: str, is_known: Callable[[str], bool]) -> str:
    """Return the present name of a typed option; what the program still knows keeps its name."""
    if is_known(name):
        return name
    for end in range(len(parts := name.split(".")), 0, -1):
        old = ".".join(parts[:end])
        if old in OPTIONS:
            _notice("option", old, OPTIONS[old])
            return ".".join([OPTIONS[old], *parts[end:]])
    return name


def current(kind: str, name: str, table: Mapping[str, str]) -> str:
    """Return the present name of what was called `name`, by one of the tables here; kind: a word for the notice."""
    if name not in table:
        return name
    _notice(kind, name, table[name])
    return table[name]


def columns(names: Iterable[str]) -> dict[str, str]:
    """Return the present name of each column -> the name it is stored by, with one notice for all old ones."""
    stored = {COLUMNS.get(name, name): name for name in names}
    old = {name: present for present, name in stored.items() if present != name}
    if old:
        _notice("dataset columns", ", ".join(old), ", ".join(old.values()))
    return stored


def value_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the present names of a vector's values, where they are all old ones; with one notice."""
    if not set(names) <= set(VALUES):
        return names
    present = tuple(VALUES[name] for name in names)
    _notice("values of state and action", ", ".join(names), ", ".join(present))
    return present


def run_renamed(old: str, new: str) -> None:
    """Run the program `python -m NEW` where `python -m OLD` was typed."""
    _notice("program", old, new)
    runpy.run_module(new, run_name="__main__", alter_sys=True)


@functools.cache
def _notice(kind: str, old: str, new: str) -> None:
    """Warn once in a process."""
    _log.warning("renamed %s: %s is now %s; the old name goes with the next release", kind, old, new)
