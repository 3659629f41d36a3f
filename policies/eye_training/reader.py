"""A reader learned anew from what another one asks for, of sentences that name nothing held out.

A pair of colour and kind that sentences only ever named where it was absent is called absent for good; a reader that
has never read of it puts its query together from those of the colour and of the kind.

Shapes: B sentences, R = 2 roles.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from policies.eye.queries import Reader
from policies.eye_training.descent import Log, descend
from policies.scenes.sentences import names_pair

BATCH, STEPS = 96, 2000
TOGETHER = 256  # sentences
Words = Callable[[list[str]], tuple[Tensor, Tensor]]


def refit_reader(
    fresh: Reader, old: Reader, sentences: Sequence[str], words: Words, held_out: Sequence[str], steps: int = STEPS,
    log: Log | None = None,
) -> Reader:  # fmt: skip
    """Train `fresh` to ask for what `old` asks for; return it.

    words: sentences to token states (B, L, W) and mask. held_out: pairs of colour and kind; what names one is left out.
    """
    kept = sorted(text for text in sentences if not names_pair(text, held_out))
    wanted = torch.cat([_asked(old.eval(), words(list(some))) for some in _parts(kept)]).detach()
    scale = wanted.std((0, 1)) + 1e-3
    rng = np.random.default_rng(0)

    def losses() -> dict[str, Tensor]:
        rows = rng.choice(len(kept), min(BATCH, len(kept)), replace=False)
        off = (_asked(fresh, words([kept[row] for row in rows])) - wanted[rows]) / scale
        return {"unlike": off.square().mean()}

    descend(fresh.train(), losses, steps, log, warm_up=0.1)
    return fresh.eval()


def _parts(texts: Sequence[str]) -> list[np.ndarray]:
    return np.array_split(np.array(texts, object), max(len(texts) // TOGETHER, 1))


def _asked(reader: Reader, words: tuple[Tensor, Tensor]) -> Tensor:
    """Return all that a reader gives, (B, R, .)."""
    with torch.set_grad_enabled(reader.training):
        vector = reader.vectors(*words)
        return torch.cat([reader.out(vector), vector], -1)
