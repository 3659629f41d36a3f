"""Labelled looks on disk as batches.

Shapes: B looks, C cameras, R = 2 roles, K arm points, T things.
"""

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from policies.core.inputs import TensorGroup
from policies.core.parts import LanguageEncoder
from policies.processing.features import array_path, open_rows
from policies.scenes.labels import BOTH_ROLES, CELLS, COLOUR_NAMES, FIRST_THING, KINDS, THINGS
from policies.scenes.looks import CHUNK, SIDE
from policies.scenes.sentences import PHRASE, WORD_KINDS
from sim.core.contract import TURN_NAMES
from sim.core.files import write_atomic
from sim.scene.placement import COLOURS
from sim.tasks.instructions import thing

RGB = np.array([COLOURS[name] for name in COLOUR_NAMES], np.float32)


@dataclass
class LookBatch(TensorGroup):
    """Looks with their labels."""

    images: Tensor  # (B, C, SIDE, SIDE, 3) uint8
    state: Tensor  # (B, D)
    words: Tensor  # (B, L, W) of the sentence
    word_mask: Tensor
    foil_words: Tensor  # (B, L, W) of the sentence that names something absent; the sentence where there is none
    foil_mask: Tensor
    phrase_words: Tensor  # (B, L, W) of one thing on the table
    phrase_mask: Tensor
    absent: Tensor  # (B, R) bool: of the foil
    pixels: Tensor  # (B, C, R, 2)
    arm_pixels: Tensor  # (B, C, K, 2)
    shown: Tensor  # (B, C, N) int64: what each cell shows, as in `policies.scenes.labels`
    phrase: Tensor  # (B,) int64: which of those the phrase names
    named: Tensor  # (B, R) int64: which of those the sentence names, 0: none that has a phrase
    rgb: Tensor  # (B, THINGS + FIRST_THING, 3) of each of those, 0..1
    points_b: Tensor  # (B, R, 3) m
    points_t: Tensor
    turn: Tensor  # (B, R, 4) `sim.core.contract.TURN_COLUMNS`
    first: Tensor  # (B,) bool
    held: Tensor


class LookTable:
    """Rows of a folder that `ChunkWriter` filled."""

    def __init__(
        self, folder: Path, chunks: int, cameras: int, state_dim: int, landmarks: int, language: LanguageEncoder
    ):
        rows = CHUNK * chunks
        shapes: dict[str, tuple[tuple[int, ...], str]] = {
            "images": ((cameras, SIDE, SIDE, 3), "u1"), "cells": ((cameras, CELLS, CELLS), "u1"),
            "state": ((state_dim,), "f4"), "absent": ((2,), "?"), "first": ((), "?"), "held": ((), "?"),
            "pixels": ((cameras, 2, 2), "f4"), "arm_pixels": ((cameras, landmarks, 2), "f4"),
            "points_b": ((2, 3), "f4"), "points_t": ((2, 3), "f4"), "things": ((THINGS, 2), "u1"),
            "turn": ((2, len(TURN_NAMES)), "f4"),
            "camera_pos_w": ((cameras, 3), "f4"), "camera_rotation_w": ((cameras, 3, 3), "f4"),
            "camera_fovy_deg": ((cameras,), "f4"),
        }  # fmt: skip
        self.rows = {name: open_rows(array_path(folder, name), (rows, *s), d) for name, (s, d) in shapes.items()}
        lines = [json.loads((folder / f"sentences-{i:06d}.json").read_text()) for i in range(chunks)]
        self.sentences = [pair for chunk in lines for pair in chunk]
        self.words = WordTable(language, folder, {text for pair in self.sentences for text in pair if text})

    def __len__(self) -> int:
        return len(self.sentences)

    def batch(self, rows: np.ndarray, rng: np.random.Generator) -> LookBatch:
        """Return these looks, each with one thing on its table named by the words alone."""
        get = {name: np.ascontiguousarray(array[rows]) for name, array in self.rows.items()}
        sentences = [self.sentences[row][0] for row in rows]
        foils = [self.sentences[row][1] or self.sentences[row][0] for row in rows]
        chosen = [int(rng.integers((things[:, 0] > 0).sum())) for things in get["things"]]
        phrases = [_phrase(things[i], rng) for things, i in zip(get["things"], chosen, strict=True)]
        named = [named_things(s, t) for s, t in zip(sentences, get["things"], strict=True)]
        rgb = np.zeros((len(rows), FIRST_THING + THINGS, 3), np.float32)
        rgb[:, FIRST_THING:] = RGB[get["things"][..., 1]]
        tensors = {name: torch.from_numpy(array) for name, array in get.items()}
        keep = ("images", "state", "absent", "pixels", "arm_pixels", "points_b", "points_t", "turn", "first", "held")
        return LookBatch(
            **{name: tensors[name] for name in keep},
            **dict(zip(("words", "word_mask"), self.words(sentences), strict=True)),
            **dict(zip(("foil_words", "foil_mask"), self.words(foils), strict=True)),
            **dict(zip(("phrase_words", "phrase_mask"), self.words(phrases), strict=True)),
            shown=tensors["cells"].flatten(2).long(),
            phrase=torch.tensor(chosen) + FIRST_THING,
            named=torch.tensor(np.array(named)),
            rgb=torch.from_numpy(rgb),
        )


def named_things(sentence: str, things: np.ndarray) -> list[int]:
    """Return the cell values of the object and the target that a sentence names, 0 for what it does not name.

    things (THINGS, 2): 1 + kind and colour, objects before targets before distractors.
    """
    matches = list(PHRASE.finditer(sentence))
    wanted = [(COLOUR_NAMES.index(match[1]), WORD_KINDS[match[2]]) for match in matches]
    found = [i for i, (kind, colour) in enumerate(things) if kind and any(_is(kind, colour, *one) for one in wanted)]
    if len(found) != len(wanted) or not found:
        return [0, 0]
    first, last = found[0] + FIRST_THING, found[-1] + FIRST_THING
    alone = len(found) == 1 and KINDS[things[found[0], 0] - 1] not in BOTH_ROLES
    return [0 if alone else first, last]


def _is(kind: int, colour: int, wanted_colour: int, kinds: tuple[str, ...]) -> bool:
    return colour == wanted_colour and KINDS[kind - 1] in kinds


def _phrase(one: np.ndarray, rng: np.random.Generator) -> str:
    return "the " + thing(COLOUR_NAMES[one[1]], KINDS[one[0] - 1], int(rng.integers(2)))


class WordTable:
    """Token states of every sentence, computed once and kept in half precision."""

    def __init__(self, language: LanguageEncoder, folder: Path, sentences: set[str]):
        phrases = {"the " + thing(colour, kind, i) for colour in COLOUR_NAMES for kind in KINDS for i in (0, 1)}
        self._index = {text: i for i, text in enumerate(sorted(sentences | phrases))}
        digest = hashlib.sha256("\n".join(self._index).encode()).hexdigest()[:12]
        path = folder / f"words-{language.fingerprint}-{digest}.npz"
        if not path.is_file():
            states, mask = language.encode(list(self._index))
            buffer = io.BytesIO()
            np.savez(buffer, states=states.astype(np.float16), mask=mask)
            write_atomic(path, buffer.getvalue())
        with np.load(path) as file:
            self._states, self._mask = file["states"], file["mask"]

    def __call__(self, sentences: list[str]) -> tuple[Tensor, Tensor]:
        rows = [self._index[text] for text in sentences]
        mask = self._mask[rows]
        longest = int(mask.sum(1).max())
        return torch.from_numpy(self._states[rows][:, :longest].astype(np.float32)), torch.from_numpy(mask[:, :longest])
