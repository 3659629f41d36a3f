"""Held-out splits: colour-object pairs, shapes, wordings, textures and places that no demonstration shows.

Which ones is fixed by configuration (`conf/split/`); an episode belongs to a split by its drawn values alone.
The named things decide whether an episode shows something held out of an axis; where nothing held out is wanted, no
other thing may show it either.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from sim.core.errors import UserError, nearest
from sim.core.options import Options, between, one_of, option, shown
from sim.randomize.episode_params import EpisodeParams
from sim.scene.fixtures import TABLE_TEXTURES
from sim.scene.layout import Layout
from sim.scene.placement import COLOURS
from sim.scene.shapes import SHAPES

AXES = ("pairs", "shapes", "wordings", "textures", "places")
OF_OBJECTS = ("pairs", "shapes")
PARTS = ("train", "any", *AXES)
T = TypeVar("T")


class ColouredShape:
    """A check: a colour and a shape, of each of the texts."""

    expected = "COLOUR SHAPE, e.g. red cube"

    def __call__(self, name: str, value: tuple[str, ...]) -> None:
        for pair in value:
            for part, choices in zip(pair.partition(" ")[::2], (COLOURS, SHAPES), strict=True):
                if part not in choices:
                    raise UserError(nearest(part, choices, f"name in {name}"))


class Circles:
    """A check: flat list of circles."""

    expected = "x, y, radius in m of each circle"

    def __call__(self, name: str, value: tuple[float, ...]) -> None:
        if len(value) % 3 or any(radius <= 0.0 for radius in value[2::3]):
            raise UserError(f"{name}={shown(value)}, expected {self.expected}")


@dataclass(frozen=True)
class SplitConfig(Options):
    """What is held out, and which part of the episodes is wanted."""

    part: str = option(
        "train", "train: nothing held out; an axis: what is held out of it and nothing of the others; any: no matter",
        one_of(*PARTS),
    )  # fmt: skip
    pairs: tuple[str, ...] = option(
        ("yellow cube", "red mug", "green can", "blue bottle"), "held out: of colour and shape", ColouredShape()
    )
    shapes: tuple[str, ...] = option(("bowl", "screwdriver"), "held out", one_of(*SHAPES))
    wordings: tuple[str, ...] = option(
        ("move", "want", "shift", "bring"), "held out: words of an instruction, or several"
    )
    textures: tuple[int, ...] = option(
        (3, 7, 11, 15), "held out: images of the table, counted from 1", between(1, len(TABLE_TEXTURES))
    )
    places: tuple[float, ...] = option((-0.36, 0.13, 0.045, -0.30, -0.15, 0.045), "held out: circles", Circles())

    def check_objects(self, task: str, shapes: Sequence[str]) -> None:
        """Raise UserError where a part that holds out objects is wanted of a task that has none of those.

        shapes: that the task's objects are drawn from; none where it has no objects.
        """
        if self.part not in OF_OBJECTS:
            return
        held_out = self.shapes if self.part == "shapes" else [pair.partition(" ")[2] for pair in self.pairs]
        if not set(shapes) & set(held_out):
            has = f"draws {', '.join(shapes)}" if shapes else "has none"
            raise UserError(
                f"split.part={self.part!r} holds out objects ({', '.join(dict.fromkeys(held_out))}), and task {task!r} "
                f"{has}; expected one of them in randomize.shapes, where the task takes it, or train, any, "
                f"{' or '.join(axis for axis in AXES if axis not in OF_OBJECTS)}"
            )

    def check_training(self) -> None:
        """Raise UserError unless what is collected for training holds nothing that is held out."""
        if self.part != "train":
            raise UserError(
                f"split.part={self.part!r}: training draws from 'train' alone; the rest is for policies.evaluate"
            )

    def admits(self, params: EpisodeParams) -> bool:
        """Return whether an episode belongs to the wanted part."""
        if self.part == "any":
            return True
        held_out = {axis for axis in AXES if getattr(self, f"_in_{axis}")(params)}
        return held_out == (set() if self.part == "train" else {self.part})

    def _in_pairs(self, params: EpisodeParams) -> bool:
        layout = params.layout
        colours = (*layout.object_colours, *layout.distractor_colours)
        things = zip(colours, _shapes(layout), strict=True)
        return any(f"{colour} {shape}" in self.pairs for colour, shape in self._decisive("pairs", [*things]))

    def _in_shapes(self, params: EpisodeParams) -> bool:
        return any(shape in self.shapes for shape in self._decisive("shapes", _shapes(params.layout)))

    def _decisive(self, axis: str, things: Sequence[T]) -> Sequence[T]:
        """Return the things of an episode, the named one first, that decide whether it is held out of `axis`."""
        return things[:1] if self.part == axis else things

    def _in_wordings(self, params: EpisodeParams) -> bool:
        return any(
            re.search(rf"\b{re.escape(words)}\b", params.layout.instruction, re.IGNORECASE) for words in self.wordings
        )

    def _in_textures(self, params: EpisodeParams) -> bool:
        return params.randomization.table_texture in self.textures

    def _in_places(self, params: EpisodeParams) -> bool:
        """Return whether one of the task's things begins in a held-out circle; distractors may stand there."""
        circles = np.reshape(self.places, (-1, 3))
        kinds = params.layout.object_xy_m, params.layout.target_xy_m
        begun = [xy for kind in kinds for xy in self._decisive("places", kind)]
        return any(np.hypot(*(xy - circle[:2])) < circle[2] for xy in begun for circle in circles)


def _shapes(layout: Layout) -> tuple[str, ...]:
    """Return the shapes of the task's objects, then of the distractors."""
    return (*layout.object_shapes, *layout.distractor_shapes)
