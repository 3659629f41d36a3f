"""A reader learned anew from what another one asks for, of sentences that name nothing held out.

A pair of colour and kind that sentences only ever named where it was absent is called absent for good; a reader that
has never read of it puts its query together from those of the colour and of the kind. And a word for no kind that it
knows asks for a thing of any kind, of the colour that is named (`policies.eye_training.unknown`).

Shapes: B sentences, R = 2 roles.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from policies.eye.queries import Reader
from policies.eye_training.descent import Log, descend
from policies.eye_training.unknown import Unknown
from policies.scenes.sentences import names_pair

BATCH, STEPS = 96, 2000
UNKNOWN_SHARE = 0.4  # of a batch
TOGETHER = 256  # sentences
Words = Callable[[list[str]], tuple[Tensor, Tensor]]


def refit_reader(
    fresh: Reader, old: Reader, sentences: Sequence[str], words: Words, held_out: Sequence[str],
    unknown: Sequence[Unknown] = (), log: Log | None = None,
) -> Reader:  # fmt: skip
    """Train `fresh` to ask for what `old` asks for; return it.

    words: sentences to token states (B, L, W) and mask. held_out: pairs of colour and kind; what names one is left out.
    unknown: sentences that ask for the mean of others.
    """
    rng = np.random.default_rng(0)
    kept = sorted(text for text in sentences if not names_pair(text, held_out))

    def asked(texts: list[str]) -> Tensor:
        return torch.cat([_asked(old.eval(), words(list(some))) for some in _parts(texts)]).detach()

    wanted = list(zip(kept, asked(kept), strict=True))
    scale = torch.stack([one for _, one in wanted]).std((0, 1)) + 1e-3
    means = [(text, mean) for one in unknown for mean in [asked([*one.by_kind]).mean(0)] for text in one.by_unknown]

    def losses() -> dict[str, Tensor]:
        share = round(UNKNOWN_SHARE * BATCH) if means else 0
        drawn = {"unlike": _draw(wanted, BATCH - share, rng), "unknown": _draw(means, share, rng)}
        off = {name: _off(fresh, some, words, scale) for name, some in drawn.items() if some}
        return {name: one.square().mean() for name, one in off.items()}

    descend(fresh.train(), losses, STEPS, log, warm_up=0.1)
    return fresh.eval()


def _draw(some: list[tuple[str, Tensor]], count: int, rng: np.random.Generator) -> list[tuple[str, Tensor]]:
    return [some[row] for row in rng.choice(len(some), min(count, len(some)), replace=False)] if some else []


def _off(reader: Reader, some: list[tuple[str, Tensor]], words: Words, scale: Tensor) -> Tensor:
    return (_asked(reader, words([text for text, _ in some])) - torch.stack([one for _, one in some])) / scale


def _parts(texts: Sequence[str]) -> list[np.ndarray]:
    return np.array_split(np.array(texts, object), max(len(texts) // TOGETHER, 1))


def _asked(reader: Reader, words: tuple[Tensor, Tensor]) -> Tensor:
    """Return all that a reader gives, (B, R, .)."""
    with torch.set_grad_enabled(reader.training):
        vector = reader.vectors(*words)
        return torch.cat([reader.out(vector), vector], -1)
