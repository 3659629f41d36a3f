"""Words for things that no scene shows: what a reader is to ask for when it reads one.

A reader that has read of a few kinds takes the word for another one for anything, and its thing for absent. It is told
that such a word, beside a colour, means some thing of that colour: the mean of what it asks for by each kind it knows.
The words below stand for "no kind that is known"; nothing that a scene may show is called so, held out or not.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from policies.scenes.sentences import names_pair
from sim.tasks.instructions import PHRASE, WORD_KINDS

WORDS = """
apple banana lemon orange pear peach plum lime tomato potato carrot onion pepper cucumber mushroom egg bread bun
cookie candy comb razor soap towel napkin fork knife spatula ladle whisk pan kettle goblet jug pitcher teapot thermos
wrench pliers chisel saw drill bolt nut screw nail clamp tape ruler
pen pencil eraser stapler scissors glue envelope card notebook magazine phone remote mouse keyboard camera
charger battery cable plug adapter lamp bulb candle lighter watch clock ring necklace bracelet wallet purse
key lock coin toy doll bear car truck train boat plane robot dice domino chess pawn puzzle cone pyramid prism
wheel gear spring tube pipe hose funnel lid cap cork crate basket bucket carton packet pouch sack corkscrew thimble
spool yarn glove sock shoe slipper hat scarf belt tie helmet mask flower leaf stone rock shell feather acorn
pinecone whistle flute drum bell trophy medal badge magnet compass telescope microscope syringe pill thermometer
stamp sticker statue figurine object thing item piece part
"""
UNKNOWN = tuple(WORDS.split())
MOST, EACH = 800, 4  # sentences that are changed, and words that each is changed to


@dataclass(frozen=True)
class Unknown:
    """Sentences that differ in one word alone."""

    by_unknown: tuple[str, ...]
    by_kind: tuple[str, ...]  # whose mean the former ask for


def with_unknown(sentences: Sequence[str], kinds: Sequence[str], held_out: Collection[str]) -> list[Unknown]:
    """Return sentences that name one of these kinds, by unknown words and by each of the kinds.

    held_out: pairs of colour and kind that none of them names.
    """
    rng, changed = np.random.default_rng(0), []
    for text in sentences:
        for found in PHRASE.finditer(text):
            if {*WORD_KINDS[found[2]]} & {*kinds}:
                before, after = text[: found.start(2)], text[found.end(2) :]
                known = tuple(one for kind in kinds if not names_pair(one := before + kind + after, held_out))
                unknown = tuple(before + word + after for word in rng.choice(UNKNOWN, EACH, replace=False))
                changed.append(Unknown(unknown, known))
    return [changed[row] for row in rng.permutation(len(changed))[:MOST]]
