"""Sentences for a scene: the one that belongs to it, and one that names something which is not there."""

import re
from collections.abc import Collection

import numpy as np

from policies.scenes.labels import BOTH_ROLES, Thing
from sim.envs.simulation import Simulation
from sim.scene.placement import COLOURS
from sim.tasks.instructions import NOUNS, PHRASE, WORD_KINDS


def sentence_of(world: Simulation, rng: np.random.Generator, subtask_share: float) -> tuple[str, int | None]:
    """Return the instruction and None, or, in this share of a long task's scenes, that of one step and its number."""
    steps = world.params.layout.subtasks
    if steps is None or rng.random() >= subtask_share:
        own = steps.index(world.instruction) if steps and world.instruction in steps else None
        return world.instruction, own
    step = int(rng.integers(len(steps)))
    return steps[step], step


def foil(
    sentence: str, here: list[Thing], named: Thing, rng: np.random.Generator, held_out: Collection[str] = ()
) -> tuple[str, np.ndarray]:
    """Return the sentence with a colour that makes it name nothing here, and which roles then have no answer (2,).

    named: the object of the sentence, the target where it has none. held_out: pairs of colour and kind that no foil
    names: what only ever stands for an absent thing is learned to be absent. "" where no colour is left or the
    sentence names no colour.
    """
    phrases = list(PHRASE.finditer(sentence))
    taken = {f"{thing.colour} {thing.kind}" for thing in here} | set(held_out)
    for k in rng.permutation(len(phrases)):
        found = phrases[k]
        kinds = WORD_KINDS[found[2]]
        missing = [colour for colour in sorted(COLOURS) if not any(f"{colour} {kind}" in taken for kind in kinds)]
        if missing:
            changed = f"{sentence[: found.start()]}{rng.choice(missing)} {found[2]}{sentence[found.end() :]}"
            return changed, _absent(found, len(phrases), named)
    return "", np.zeros(2, bool)


def names_pair(sentence: str, pairs: Collection[str]) -> bool:
    """Return whether a sentence names one of these pairs of colour and kind, by any word for the kind."""
    return any(f"{found[1]} {kind}" in pairs for found in PHRASE.finditer(sentence) for kind in WORD_KINDS[found[2]])


def _absent(found: re.Match, phrases: int, named: Thing) -> np.ndarray:
    """Return which roles rest on a phrase: where one of BOTH_ROLES is all that is named, both do."""
    is_named = found[1] == named.colour and found[2] in NOUNS[named.kind]
    if phrases == 1:
        return np.array([bool({*BOTH_ROLES} & {*WORD_KINDS[found[2]]}), True])
    return np.array([is_named, not is_named])
