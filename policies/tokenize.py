"""`python -m policies.tokenize data=DIR [scales=[2,5,10,20]] [bins=[16,64,256]]`

How many tokens an action chunk takes and what is lost of it: FAST at several scales beside bins of each number.
Byte pairs and bins are trained on four fifths of the episodes and measured on the others.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.table import Table
from torch import Tensor

from policies.core.parts import HeadShape
from policies.heads.bins import BinsConfig, BinsHead
from policies.heads.byte_pairs import PAD
from policies.heads.fast import FastConfig, FastHead
from policies.models.normalization import ActionNormalizer
from policies.processing.data import EpisodeTable, Source
from sim.core.console import table as as_table
from sim.core.errors import UserError
from sim.core.options import EACH_ONCE, NOT_EMPTY, Options, at_least, between, option
from sim.core.program import run_program

LARGEST = 20  # of a coefficient, in standard deviations
MAX_CHUNKS = 2000  # that are measured

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TokenizeConfig(Options):
    """Options of the program."""

    data: str = option("runs/demos", "a dataset")
    chunk: int = option(16, "steps of a chunk", at_least(1))
    scales: tuple[float, ...] = option(
        (2.0, 5.0, 10.0, 20.0), "of FAST's coefficients", NOT_EMPTY, EACH_ONCE, between(0.1, 25)
    )
    bins: tuple[int, ...] = option((16, 64, 256), "of each number", NOT_EMPTY, EACH_ONCE, at_least(2))


def read_chunks(config: TokenizeConfig) -> tuple[Tensor, Tensor, ActionNormalizer]:
    """Return normalized chunks (N, T, D) to train on and to measure with, and how they were normalized."""
    table = EpisodeTable(Source(Path(config.data)))
    rows = np.random.default_rng(0).permutation(len(table.frame))
    actions, valid = table.windows(rows, config.chunk)
    rows, actions = rows[valid.all(1)], torch.from_numpy(actions[valid.all(1)])
    held_out = torch.from_numpy(table.episode[rows] % 5 == 4)
    if held_out.all() or not held_out.any():
        raise UserError(
            f"{config.data} has {len(table.lengths)} episodes, expected five of {config.chunk} steps or more"
        )
    state = torch.from_numpy(table.state[rows])
    normalizer = ActionNormalizer(config.chunk, actions.shape[-1])
    normalizer.fit(
        actions[~held_out], torch.ones(len(actions[~held_out]), config.chunk, dtype=torch.bool), state[~held_out]
    )
    chunks = normalizer.normalize(actions, state)
    return chunks[~held_out], chunks[held_out][:MAX_CHUNKS], normalizer


def measure(head: BinsHead | FastHead, chunks: tuple[Tensor, Tensor], normalizer: ActionNormalizer) -> dict:
    """Return tokens and bits of a chunk and the error of joints, root mean square, after training on the first."""
    train, test = chunks
    head.fit(train, torch.ones(train.shape[:2], dtype=torch.bool))
    tokens = head.tokens(test)
    error_rad = ((head.actions(tokens) - test) * normalizer.std)[..., :-1]
    count = (tokens != PAD).sum(1).float().mean().item()
    vocabulary = head.config.vocabulary if isinstance(head, FastHead) else head.config.bins
    return {
        "tokens": count,
        "bits": count * math.log2(vocabulary),
        "rms_mrad": 1e3 * error_rad.square().mean().sqrt().item(),
    }


def rows(config: TokenizeConfig) -> list[dict]:
    """Return a line for each tokenizer."""
    train, test, normalizer = read_chunks(config)
    shape = HeadShape(config.chunk, train.shape[-1], context_tokens=1, width=1)
    heads: Sequence[tuple[str, BinsHead | FastHead]] = [
        *((f"{n} bins", BinsConfig(bins=n).build(shape)) for n in config.bins),
        *(
            (f"FAST, scale {s:g}", FastConfig(scale=s, limit=math.ceil(LARGEST * s)).build(shape))
            for s in config.scales
        ),
    ]
    return [{"tokenizer": name, **measure(head, (train, test), normalizer)} for name, head in heads]


def main(config: TokenizeConfig) -> None:
    """Measure every tokenizer and print the table."""
    table, found = Table("tokens of a chunk", "tokens", "bits", "error of joints, rms"), rows(config)
    for row in found:
        table.add_row(row["tokenizer"], f"{row['tokens']:.1f}", f"{row['bits']:.0f}", f"{row['rms_mrad']:.2f} mrad")
    _log.info("tokens of a chunk", extra=as_table("tokens", table, rows=found))


if __name__ == "__main__":
    run_program("tokenize", TokenizeConfig, main, __doc__)
