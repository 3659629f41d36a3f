"""Instructions: a task's fixed sentences, and paraphrases from a small grammar.

A template names things in braces: `{object}` is "red cube", `{object_too}` the same with the next word for
it, "red block". In the grammar a word of SYNONYMS in braces stands for any of its synonyms.
"""

import re
from collections.abc import Sequence

import numpy as np

from sim.scene.placement import COLOURS

NOUNS: dict[str, tuple[str, ...]] = {
    "cube": ("cube", "block"), "cylinder": ("cylinder", "roll"), "can": ("can", "tin"), "bottle": ("bottle", "flask"),
    "mug": ("mug", "cup"), "bowl": ("bowl", "basin"), "screwdriver": ("screwdriver", "driver"),
    "book": ("book", "booklet"),
    "ball": ("ball", "sphere"), "plate": ("plate", "dish"), "zone": ("circle", "spot"), "button": ("button", "knob"),
    "drawer": ("drawer", "tray"), "peg": ("peg", "pin"), "bin": ("bin", "box"), "hole": ("hole", "socket"),
    "pad": ("pad", "mat"), "pillar": ("pillar", "post"), "block": ("block", "socket"), "jar": ("jar", "canister"),
    "vase": ("vase", "urn"), "glass": ("glass", "tumbler"), "pot": ("pot", "saucepan"), "hammer": ("hammer", "mallet"),
    "brush": ("brush", "paintbrush"), "marker": ("marker", "highlighter"), "torch": ("torch", "flashlight"),
    "spoon": ("spoon", "scoop"), "sponge": ("sponge", "scourer"), "brick": ("brick", "slab"),
}  # fmt: skip
SYNONYMS: dict[str, tuple[str, ...]] = {
    "put": ("put", "place", "set", "lay"),
    "stack": ("stack", "pile", "put"),
    "bring": ("bring", "move", "carry", "transfer"),
    "take": ("take", "grab", "pick up", "lift"),
    "on": ("on", "onto", "on top of"),
    "inside": ("in", "into", "inside"),
    "over": ("over", "above"),
    "push": ("push", "slide", "shift", "shove"),
    "press": ("press", "push", "hit"),
    "open": ("open", "pull open", "slide open"),
    "insert": ("insert", "stick", "push", "put"),
    "please": ("please ", "now ", "", ""),
}

WORD_KINDS = {word: tuple(kind for kind, words in NOUNS.items() if word in words) for word in sum(NOUNS.values(), ())}
WORDS = "|".join(sorted(WORD_KINDS, key=len, reverse=True))
PHRASE = re.compile(rf"\b({'|'.join(COLOURS)}) ({WORDS})\b")  # what names a thing: its colour, a word for its kind


def thing(colour: str, kind: str, word: int = 0) -> str:
    """Return "red cube"; with `word` 1 the next word for it, "red block"."""
    nouns = NOUNS.get(kind, (kind,))
    return f"{colour} {nouns[word % len(nouns)]}"


def sample_instruction(
    rng: np.random.Generator, paraphrase: float, sentences: Sequence[str], grammar: Sequence[str],
    **things: tuple[str, str],
) -> tuple[int, str]:  # fmt: skip
    """Draw the number of a wording and the sentence: of `sentences`, or with probability `paraphrase` of `grammar`.

    things: name in the templates -> (colour, kind).
    """
    names = {name: thing(*one) for name, one in things.items()}
    names |= {f"{name}_too": thing(*one, 1) for name, one in things.items()}
    if paraphrase and rng.random() < paraphrase:
        number = int(rng.integers(len(grammar)))
        words = {word: str(rng.choice(choices)) for word, choices in SYNONYMS.items()}
        names |= {name: thing(*one, int(rng.integers(2))) for name, one in things.items()}
        return len(sentences) + number, grammar[number].format(**words, **names)
    number = int(rng.integers(len(sentences)))
    return number, sentences[number].format(**names)
