"""One sentence: which task's grammar has it, with what it leaves out put in from what was named before.

A policy reads one sentence at a time, so that "it" and "the drawer" must say which thing they mean.
"""

import difflib
import functools
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sim.scene.placement import COLOURS
from sim.scene.shapes import SHAPES
from sim.tasks.base import TASKS, Task, single_step_tasks
from sim.tasks.instructions import NOUNS, PHRASE, SYNONYMS, WORD_KINDS, WORDS, thing

IT = re.compile(r"\bit\b", re.IGNORECASE)
BARE = re.compile(rf"\bthe ({WORDS})\b", re.IGNORECASE)  # a thing without its colour
TOO = "_too"  # the end of a name in a template: another word for the same thing
EXAMPLE = {"object": ("red", "cube"), "target": "blue"}  # in a form that is told as an example


@dataclass(frozen=True)
class Understood:
    """A sentence that a policy of this task understands by itself."""

    sentence: str
    task: str


def understood(sentence: str) -> Understood | None:
    """Return the sentence with the task whose grammar has it, None where none has."""
    task = next((name for name in single_step_tasks() if any(form.fullmatch(sentence) for form in _forms(name))), None)
    return None if task is None else Understood(sentence, task)


def understood_after(piece: str, named: Sequence[str]) -> Understood | None:
    """Return what a piece of an instruction means. named: the things named before it, "red cube", the last one last."""
    return next(filter(None, map(understood, _readings(piece, named))), None)


def named_in(text: str) -> list[str]:
    """Return the things that a text names by colour and kind, in order."""
    return [found[0] for found in PHRASE.finditer(text.lower())]


def nearest_form(piece: str) -> str:
    """Return the sentence of a registered task that is most like a piece of an instruction."""
    return max(_examples(), key=lambda one: difflib.SequenceMatcher(None, one, piece.lower()).ratio())


def _readings(piece: str, named: Sequence[str]) -> Iterator[str]:
    """Yield the piece, then with colours put in, then with the last thing named for an "it", then the one before."""
    yield piece
    coloured = BARE.sub(lambda found: _last_of_kind(found, named), piece)
    yield coloured
    for one in reversed(named):
        for found in IT.finditer(coloured):
            yield f"{coloured[: found.start()]}the {one}{coloured[found.end() :]}"


def _last_of_kind(bare: re.Match, named: Sequence[str]) -> str:
    """Return "the red drawer" for "the drawer" where that is the last drawer named, else what stands there."""
    kinds = {*WORD_KINDS[bare[1].lower()]}
    return next((f"the {one}" for one in reversed(named) if kinds & {*WORD_KINDS[one.split()[1]]}), bare[0])


@functools.cache
def _forms(task: str) -> tuple[re.Pattern, ...]:
    """Return patterns of every sentence of a task."""
    return tuple(re.compile(_pattern(template, task), re.IGNORECASE) for template in templates_of(task))


@functools.cache
def _examples() -> tuple[str, ...]:
    tasks = map(TASKS.get, single_step_tasks())
    return tuple(_example(template, task) for task in tasks for template in task.sentences)


def templates_of(task: str) -> tuple[str, ...]:
    """Return every template of a task's sentences."""
    found = TASKS.get(task)
    return (*found.sentences, *found.grammar)


def things_in(template: str) -> list[str]:
    """Return the names of things in a template's braces, in order."""
    return [name for _, name, *_ in string.Formatter().parse(template) if name and name not in SYNONYMS]


def _pattern(template: str, task: str) -> str:
    parts = string.Formatter().parse(template)
    return "".join(re.escape(words) + _alternatives(name, task) for words, name, *_ in parts)


def _alternatives(name: str | None, task: str) -> str:
    """Return what may stand for a name in a template's braces, as a pattern."""
    if not name:
        return ""
    if name in SYNONYMS:
        return f"(?:{'|'.join(map(re.escape, SYNONYMS[name]))})"
    nouns = {word for kind in kinds_of(name, task) for word in NOUNS[kind]}
    return f"(?:{'|'.join(COLOURS)}) (?:{'|'.join(sorted(nouns))})"


def kinds_of(name: str, task: str) -> tuple[str, ...]:
    """Return what kinds of things a name in a task's templates may stand for."""
    found = TASKS.get(task)
    return (found.target_kind,) if name.removesuffix(TOO) == "target" else found.object_shapes or tuple(SHAPES)


def _example(template: str, task: Task) -> str:
    colour, shape = EXAMPLE["object"]
    kind = task.object_shapes[0] if task.object_shapes else shape
    names = {"object": thing(colour, kind), "target": thing(EXAMPLE["target"], task.target_kind)}
    return template.format(**names, **{f"{name}{TOO}": one for name, one in names.items()})
