"""Interfaces of the parts of a policy: vision, language, fusion and head.

    images -> VisionEncoder -> maps \
    instruction -> LanguageEncoder -> words -> Fusion -> Prefix -> | state | indicator -> Head -> chunk

The encoders are frozen and work on numpy arrays; a JointEncoder is both at once, and its words know the images. Fusion
and head are trained. A part's configuration is a frozen dataclass beside it, registered by its `name`, and builds the
part.

Shapes: B batch, N images, P prefix tokens, W token width, T chunk, D action dimension, G grounded points.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from policies.core.inputs import Inputs
from policies.core.registry import FUSIONS, HEADS, LANGUAGE, VISION
from policies.core.spec import Needs, PolicySpec
from sim.core.errors import UserError
from sim.core.registry import Choice

NOWHERE_M = 1.0  # least error of a point that names nothing on the table
POINT_SCALE_M = 0.1  # grounded points are learned in units of this


# ---- frozen encoders ---------------------------------------------------------------------------


class VisionEncoder(Protocol):
    """Frozen feature maps of images."""

    fingerprint: str  # equal ones mean equal maps

    def encode(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return float32 maps (N, C, h, w), fine to coarse, of uint8 RGB (N, H, W, 3)."""
        ...


class LanguageEncoder(Protocol):
    """Frozen token states of instructions."""

    fingerprint: str

    def encode(self, instructions: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return float32 states (N, L, width) and bool mask (N, L), True at tokens. UserError for an empty one."""
        ...


class JointEncoder(Protocol):
    """Frozen states of images and instruction that were read together."""

    fingerprint: str

    def read(
        self, images: Mapping[str, np.ndarray], instructions: Sequence[str]
    ) -> tuple[dict[str, tuple[np.ndarray, ...]], np.ndarray, np.ndarray]:
        """Return each camera's maps, as VisionEncoder, and words with their mask, as LanguageEncoder, of N looks.

        images: camera -> uint8 RGB (N, H, W, 3).
        """
        ...

    def check(self, instruction: str) -> None:
        """UserError for an instruction that cannot be read."""
        ...


class VisionConfig(Choice):
    """Chooses an image encoder."""

    registry = VISION

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the maps, fine to coarse."""
        raise NotImplementedError

    def build(self, threads: int = 1) -> VisionEncoder | JointEncoder:
        """Load the encoder. UserError when its weights are missing."""
        raise NotImplementedError


class LanguageConfig(Choice):
    """Chooses an instruction encoder."""

    registry = LANGUAGE
    vocabulary: ClassVar[int] = 0  # pieces, where a token's state is its number alone, for the fusion to embed

    @property
    def width(self) -> int:
        """Width of a token state."""
        raise NotImplementedError

    def build(self) -> LanguageEncoder:
        """Load the encoder. UserError when its weights are missing."""
        raise NotImplementedError


@dataclass(frozen=True)
class ReadBeside(LanguageConfig):
    """Stands for the words' states that a joint encoder gives."""

    name: str
    states: int

    @property
    def width(self) -> int:
        return self.states


class JointConfig(VisionConfig):
    """Chooses a joint encoder: the vision part of a policy without a language part."""

    @property
    def words(self) -> ReadBeside:
        """What the fusion reads as words."""
        raise NotImplementedError

    def build(self, threads: int = 1) -> JointEncoder:
        raise NotImplementedError


# ---- fusion ------------------------------------------------------------------------------------


@dataclass
class Prefix:
    """What the actions are conditioned on besides state and indicator. What a fusion does not give is None."""

    tokens: Tensor  # (B, P, W)
    points: Tensor | None = None  # (B, G, 3) m, grounded points that the fusion found
    errors: Tensor | None = (
        None  # (B, G) m, within which each lies horizontally in 95 of 100 cases, by its own estimate
    )
    turn: Tensor | None = None  # (B, 2, 4) how object and target are turned, `sim.core.contract.TURN_COLUMNS`
    subtask: Tensor | None = None  # (B, S) logits of `policies.core.subtasks.SUBTASKS`


class Fusion(nn.Module):
    """Inputs of an observation to prefix tokens."""

    needs: Needs  # of an observation
    gives: frozenset[str] = frozenset({"tokens"})  # fields of its Prefix
    condenses: ClassVar[bool] = False  # whether `condense` leaves no maps
    keeps_words: bool = True  # whether `condense` leaves words
    plays_steps: bool = False  # whether a long instruction is played step by step, by where things are found
    tells_points: bool = False  # whether `condense` leaves points
    requires_pretrained: bool = False  # whether it is useless with random weights
    prefix_tokens: int  # P
    width: int  # W

    def __init__(self):
        super().__init__()
        self.begins_random = True  # until weights are loaded: of a pretraining or, with the whole policy, a checkpoint
        self.register_load_state_dict_post_hook(_note_weights)

    def forward(self, inputs: Inputs) -> Prefix:
        """Return the prefix of condensed inputs."""
        raise NotImplementedError

    def condense(self, inputs: Inputs) -> Inputs:
        """Return what `forward` needs of an observation. What no training changes is computed here, once a frame."""
        return inputs

    def drop(self, tokens: Tensor, generator: torch.Generator) -> Tensor:
        """Return the prefix tokens (B, P, W) with those at zero that a training sample is not to lean on."""
        return tokens

    def frozen_weights(self) -> dict[str, Tensor]:
        """Return what the result of `condense` depends on, by name."""
        return {}

    def fit_points(self, points: Tensor) -> None:
        """Set the normalization of points from ground truth (N, G, 3) m; nan where unknown."""

    def load_pretrained(self, root: Path) -> dict:
        """Load weights of grounding pretraining; return their card, {} where this fusion has none to load."""
        return {}

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that learn at a reduced rate, `optim.pretrained_rate`, where they do not begin random:
        those that grounding pretraining teaches to read images and words."""
        return []


def _note_weights(fusion: Fusion, missing: object) -> None:
    """Note that all weights of a fusion were loaded, after torch's hook of that name."""
    fusion.begins_random = False


class FusionConfig(Choice):
    """Chooses a fusion."""

    registry = FUSIONS

    def build(self, spec: PolicySpec, vision: VisionConfig | None, language: LanguageConfig | None) -> Fusion:
        """Build the fusion with random weights. UserError when it does not fit the encoders."""
        raise NotImplementedError


def check_reads_words(fusion: FusionConfig, language: LanguageConfig | None) -> None:
    """UserError when a fusion that needs a language model's states would get numbers of pieces."""
    if language and language.vocabulary:
        raise UserError(
            f"policy.language.name={language.name} gives numbers of word pieces, fusion {fusion.name!r} needs states "
            "of words; expected policy.language.name=minilm, or policy.fusion.name=transformer"
        )


def grounding_loss(points: Tensor, labels: Tensor) -> Tensor:
    """Return the L1 distance of points from ground truth, (B, G, 3) m each, where known, in POINT_SCALE_M."""
    known = labels.isfinite()
    error = (points - labels.nan_to_num()).abs() * known
    return error.sum() / (known.sum().clamp(min=1) * POINT_SCALE_M)


# ---- head --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HeadShape:
    """Dimensions of an action head."""

    chunk: int  # T
    action_dim: int  # D
    context_tokens: int  # prefix, state and indicator
    width: int


class Head(nn.Module):
    """Context tokens to a chunk of normalized actions."""

    needs: ClassVar[frozenset[str]] = frozenset({"tokens"})  # fields of the fusion's Prefix
    given_steps: int = 0  # how many first steps of a chunk `sample` may be given
    draws_chunks: bool = True  # whether one context has several chunks, of which the generator decides

    def fit(self, actions: Tensor, valid: Tensor) -> None:
        """Set what is not learned by gradient from N samples, shaped as in `loss`; before training."""

    def loss(self, actions: Tensor, valid: Tensor, context: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss (B,) of actions (B, T, D) given context (B, N, W); valid (B, T) False: not to be imitated."""
        raise NotImplementedError

    def sample(
        self, context: Tensor, generator: torch.Generator, unconditional: Tensor | None = None, guidance: float = 1.0,
        given: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Return a chunk (B, T, D). Guidance beta != 1 moves away from that of the `unconditional` context.

        given: (B, t, D) its first steps, t up to `given_steps`; a head that takes none is never handed any.
        """
        raise NotImplementedError

    def from_noise(self, context: Tensor, noise: Tensor, given: Tensor | None = None) -> Tensor:
        """Return the chunk (B, T, D) that noise (B, T, D) becomes. UserError where a chunk is not made of noise."""
        raise UserError(f"the noise of a {type(self).__name__} cannot be steered; expected policy.head.name=flow")


class HeadConfig(Choice):
    """Chooses an action head."""

    registry = HEADS

    def build(self, shape: HeadShape) -> Head:
        """Build the head with random weights."""
        raise NotImplementedError


def check_head_fits(head: HeadConfig, needs: frozenset[str], fusion: FusionConfig, gives: frozenset[str]) -> None:
    """UserError when a head needs something of the prefix that its fusion does not give."""
    if missing := sorted(needs - gives):
        raise UserError(
            f"head {head.name!r} needs {' and '.join(missing)} in the prefix, fusion {fusion.name!r} gives "
            f"{' and '.join(sorted(gives))}; choose another policy.head or policy.fusion"
        )
