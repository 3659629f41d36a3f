"""What frozen language models share: an instruction's pieces, and the states of each, computed once.

Shapes: N instructions, L token places, T tokens of one instruction (T <= L), W width of a state.
"""

import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from sim.core.errors import UserError

MOST_KEPT = 20_000  # instructions, 0.3 GB of 384 numbers a token: who serves a policy is asked more and more of them


class InstructionError(UserError, ValueError):
    """An instruction that cannot be encoded."""


def load_tokenizer(path: Path) -> Tokenizer:
    """Return the tokenizer of a file, without the padding and the silent truncation that the file may ask for."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def check_sentence(instruction: str) -> None:
    """InstructionError when an instruction is empty."""
    if not instruction.strip():
        raise InstructionError(f"instruction {instruction!r} is empty, expected a sentence")


def check_length(instruction: str, tokens: int, max_tokens: int) -> None:
    """InstructionError when an instruction has more tokens than there are places for."""
    if tokens > max_tokens:
        raise InstructionError(
            f"instruction {textwrap.shorten(instruction, 80)!r} has {tokens} tokens, "
            f"expected at most {max_tokens}; shorten it or raise max_tokens"
        )


def _piece_numbers(tokenizer: Tokenizer, instruction: str, max_tokens: int) -> list[int]:
    """Return the numbers of an instruction's pieces. InstructionError when it is empty or has more of them."""
    check_sentence(instruction)
    ids = tokenizer.encode(instruction).ids
    check_length(instruction, len(ids), max_tokens)
    return ids


class FrozenStates:
    """Token states of instructions from a network that is never trained further."""

    def __init__(self, network: Callable[[Tensor], Tensor], tokenizer: Tokenizer, width: int, max_tokens: int) -> None:
        """network: ids (1, T) -> states (1, T, W). max_tokens: L, which counts the tokens that frame a sentence."""
        self.width, self.max_tokens = width, max_tokens
        self._network, self._tokenizer = network, tokenizer
        self._states: dict[str, np.ndarray] = {}

    def encode(self, instructions: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return float32 states (N, L, W), zero at unused places; bool mask (N, L), True at tokens.

        Raises InstructionError naming an instruction that is empty or has more than L tokens.
        """
        tokens = np.zeros((len(instructions), self.max_tokens, self.width), np.float32)
        mask = np.zeros((len(instructions), self.max_tokens), bool)
        for row, instruction in enumerate(instructions):
            states = self._states_of(instruction)
            tokens[row, : len(states)] = states
            mask[row, : len(states)] = True
        return tokens, mask

    def _states_of(self, instruction: str) -> np.ndarray:
        """States (T, W), computed at most once for each of the last MOST_KEPT instructions."""
        if instruction not in self._states:
            if len(self._states) == MOST_KEPT:
                del self._states[next(iter(self._states))]
            self._states[instruction] = self._compute(instruction)
        return self._states[instruction]

    @torch.inference_mode()
    def _compute(self, instruction: str) -> np.ndarray:
        """States (T, W): alone and unpadded, so that no other row can change a digit."""
        ids = _piece_numbers(self._tokenizer, instruction, self.max_tokens)
        return self._network(torch.tensor([ids]))[0].float().numpy()  # a model may be stored in bfloat16
