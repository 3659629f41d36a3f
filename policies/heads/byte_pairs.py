"""Byte-pair coding (Gage 1994; Sennrich et al. 2016) of sequences of numbers, on tensors.

The pair seen most often becomes a token of its own, again and again. Reading a sequence, the pair that became a token
first is merged first, everywhere in it.

Shapes: B sequences, L tokens of the longest, PAD behind the others; M merges; A numbers of the alphabet.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

PAD = -1


def learn_merges(rows: Tensor, alphabet: int, count: int) -> Tensor:
    """Return the merges (M, 2) that sequences (B, L) of 0 .. A - 1 teach; PAD from where no pair is seen twice."""
    merges, size, rows = torch.full((count, 2), PAD), alphabet + count, rows.clone()
    for i in range(count):
        left, right = rows[:, :-1], rows[:, 1:]
        seen = torch.bincount((left * size + right)[right != PAD], minlength=1)
        best = int(seen.argmax())
        if seen[best] < 2:
            break
        merges[i] = torch.tensor(divmod(best, size))
        found = (left == merges[i, 0]) & (right == merges[i, 1])
        changed = found.any(1)
        merged = _merge(rows[changed], found[changed], torch.tensor(alphabet + i))
        rows[changed] = torch.nn.functional.pad(merged, (0, rows.shape[1] - merged.shape[1]), value=PAD)
        rows = rows[:, : int((rows != PAD).any(0).sum())]
    return merges


def encode(rows: Tensor, merges: Tensor, alphabet: int) -> Tensor:
    """Return the tokens of sequences (B, L): number i of the alphabet is token i, merge i is token A + i."""
    size, known = alphabet + len(merges), merges[:, 0] != PAD
    never = len(merges)
    rank = torch.full((size, size), never, device=rows.device)
    rank[merges[known, 0], merges[known, 1]] = torch.arange(int(known.sum()), device=rows.device)
    while rows.shape[1] > 1:
        found = torch.where(rows[:, 1:] != PAD, rank[rows[:, :-1], rows[:, 1:]], never)
        first = found.min(1, keepdim=True).values
        if (first == never).all():
            break
        rows = _merge(rows, (found == first) & (first != never), alphabet + first)
    return rows


def expand(tokens: Iterable[int], merges: list[list[int]], alphabet: int) -> list[int]:
    """Return the numbers of the alphabet that a sequence of tokens stands for."""
    numbers, waiting = [], list(tokens)[::-1]
    while waiting:
        token = waiting.pop()
        if token < alphabet:
            numbers.append(token)
        else:
            waiting += merges[token - alphabet][::-1]
    return numbers


def _merge(rows: Tensor, found: Tensor, token: Tensor) -> Tensor:
    """Return rows (B, L) with `token` instead of each pair that begins where `found` (B, L - 1) is true."""
    place = torch.arange(found.shape[1], device=rows.device)
    before = torch.where(found, -1, place).cummax(1).values  # where the run of pairs begins, in aaaa
    taken = torch.nn.functional.pad(found & ((place - before) % 2 == 1), (1, 1))
    first, second = taken[:, 1:], taken[:, :-1]
    rows = torch.where(first, token, rows)
    kept = (rows != PAD) & ~second
    length = int(kept.sum(1).max()) if len(rows) else 0
    out = torch.full((len(rows), rows.shape[1] + 1), PAD, device=rows.device)
    out.scatter_(1, torch.where(kept, kept.cumsum(1) - 1, rows.shape[1]), torch.where(kept, rows, PAD))
    return out[:, :length]
