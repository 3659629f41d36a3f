"""Instructions as numbers of word pieces, for a fusion that learns what each means from the demonstrations alone.

The pieces are those of MiniLM's tokenizer. No network is loaded, and nothing is known of words that are not in the
data: a reworded instruction is another one.

Shape: L token places.
"""

import hashlib
from dataclasses import dataclass

from policies.core.parts import LanguageConfig
from policies.core.registry import LANGUAGE
from policies.language.minilm import MAX_POSITIONS, SOURCES, TOKENIZER_SHA256, find_files
from policies.language.states import FrozenStates, load_tokenizer
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


class WordPieces(FrozenStates):
    """The checked tokenizer; a piece's state is its number."""

    def __init__(self, config: WordPiecesConfig):
        """WeightsError when the tokenizer is missing or another."""
        tokenizer = load_tokenizer(find_files(config.source)[1])
        super().__init__(lambda ids: ids[..., None].float(), tokenizer, config.width, config.max_tokens)

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits; equal ones mean the same tokenizer and L."""
        return hashlib.sha256(f"{TOKENIZER_SHA256} {self.max_tokens}".encode()).hexdigest()[:12]
