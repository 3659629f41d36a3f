"""Instructions as numbers of word pieces, for a fusion that learns what each means from the demonstrations alone.

The pieces are those of MiniLM's tokenizer. No network is loaded, and nothing is known of words that are not in the
data: a reworded instruction is another one.

Shapes: N instructions, L token places.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from policies.core.parts import LanguageConfig
from policies.core.registry import LANGUAGE
from policies.language.minilm import MAX_POSITIONS, SOURCES, TOKENIZER_SHA256, find_files
from policies.language.states import load_tokenizer, piece_numbers
from sim.core.options import between, one_of, option


@LANGUAGE.register("word_pieces")
@dataclass(frozen=True)
class WordPiecesConfig(LanguageConfig):
    """Numbers of word pieces."""

    name: str = "word_pieces"
    source: str = option("package", "of the tokenizer", one_of(*SOURCES))
    max_tokens: int = option(24, "of an instruction, the two that frame it counted", between(3, MAX_POSITIONS))
    vocabulary = 30522

    @property
    def width(self) -> int:
        return 1

    def build(self) -> "WordPieces":
        return WordPieces(self)


class WordPieces:
    """The checked tokenizer."""

    def __init__(self, config: WordPiecesConfig):
        """WeightsError when it is missing or another."""
        self.max_tokens = config.max_tokens
        self._tokenizer = load_tokenizer(find_files(config.source)[1])

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits; equal ones mean the same tokenizer and L."""
        return hashlib.sha256(f"{TOKENIZER_SHA256} {self.max_tokens}".encode()).hexdigest()[:12]

    def encode(self, instructions: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return float32 numbers (N, L, 1), zero at unused places; bool mask (N, L), True at pieces.

        InstructionError for an instruction that is empty or has more than L pieces.
        """
        numbers = np.zeros((len(instructions), self.max_tokens, 1), np.float32)
        mask = np.zeros((len(instructions), self.max_tokens), bool)
        for row, instruction in enumerate(instructions):
            ids = piece_numbers(self._tokenizer, instruction, self.max_tokens)
            numbers[row, : len(ids), 0] = ids
            mask[row, : len(ids)] = True
        return numbers, mask
