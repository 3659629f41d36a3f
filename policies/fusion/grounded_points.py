"""Points as the whole prefix: found by a frozen, pretrained fusion, or given as the simulator's ground truth.

A narrow, grounded passage: the head learns actions from G points and the state. Few demonstrations
teach it more than a wide prefix would, and they cannot unteach what grounding pretraining taught.
A training step costs only the head's time: a frame's points are computed once.
Where a policy learns several tasks, a few numbers read from the instruction tell them apart; too few to name things.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from policies.core.inputs import Inputs
from policies.core.parts import (
    POINT_SCALE_M,
    Fusion,
    FusionConfig,
    LanguageConfig,
    Prefix,
    VisionConfig,
    check_reads_words,
)
from policies.core.registry import FUSIONS
from policies.core.spec import Needs, PolicySpec
from policies.fusion.aim import Aim
from policies.fusion.keypoint_fusion import KeypointFusionConfig, TextPooler
from sim.core.errors import UserError
from sim.core.options import at_least, block, option
from sim.robots.robot import ROBOTS

SENTENCE = "numbers that the instruction is read into, to tell tasks apart; 0: it is not read"
SEEN_FROM_TOOL = "_t"  # the end of such a point's name
LARGEST = 10.0  # of a normalized coordinate: what left the table is somewhere far away


class PointToken(nn.Module):
    """Points in metres to one token."""

    center: Tensor

    def __init__(self, points: int, width: int):
        super().__init__()
        self.linear = nn.Linear(3 * points, width)
        self.register_buffer("center", torch.zeros(points, 3))  # m

    def forward(self, points: Tensor) -> Tensor:
        """(B, G, 3) m, nan where unknown -> (B, 1, W)."""
        normalized = ((points - self.center) / POINT_SCALE_M).nan_to_num().clamp(-LARGEST, LARGEST)
        return self.linear(normalized.flatten(1))[:, None]


class PointFusion(Fusion):
    """One token made of the points and of what it takes to reach them, one of the words that are read."""

    condenses = tells_points = True

    def __init__(self, spec: PolicySpec, width: int, sentence: int, language: LanguageConfig | None):
        """sentence: numbers that the instruction is read into, 0: it is not read. UserError without a language part."""
        super().__init__()
        if sentence and language is None:
            raise UserError(f"policy.fusion.sentence={sentence} needs a language part; add policy.language.name=minilm")
        self.width, self.keeps_words, self.prefix_tokens = width, sentence > 0, 1 + (sentence > 0)
        self.token = PointToken(len(spec.points), width)
        self.from_tool = [i for i, name in enumerate(spec.points) if name.endswith(SEEN_FROM_TOOL)]
        self.aim = Aim(ROBOTS.get(spec.robot)(), len(self.from_tool), width) if self.from_tool else None
        if sentence and language:
            self.text, self.text_token = TextPooler(language.width, 1, sentence), nn.Linear(sentence, width)

    def forward(self, inputs: Inputs) -> Prefix:
        assert inputs.points is not None
        points = inputs.points[..., :3]
        tokens = self.token(points)
        if self.aim:
            tokens = tokens + self.aim(inputs.state, points[:, self.from_tool], inputs.turn)[:, None]
        if self.keeps_words:
            assert inputs.words is not None and inputs.word_mask is not None
            tokens = torch.cat([tokens, self.text_token(self.text(inputs.words, inputs.word_mask))], 1)
        return Prefix(tokens)

    def fit_points(self, points: Tensor) -> None:
        self.token.center.copy_(points.nanmean(0).nan_to_num())


# ---- the simulator's ground truth --------------------------------------------------------------


@FUSIONS.register("true_points")
@dataclass(frozen=True)
class TruePointsConfig(FusionConfig):
    """The simulator's true points; there are none on hardware."""

    name: str = "true_points"
    width: int = option(128, "of a token", at_least(1))
    sentence: int = option(0, SENTENCE, at_least(0))

    def build(self, spec: PolicySpec, vision: VisionConfig | None, language: LanguageConfig | None) -> "TruePoints":
        if self.sentence:
            check_reads_words(self, language)
        return TruePoints(spec, self.width, self.sentence, language)


class TruePoints(PointFusion):
    """Ground truth instead of what images show."""

    def __init__(self, spec: PolicySpec, width: int, sentence: int, language: LanguageConfig | None):
        super().__init__(spec, width, sentence, language)
        self.needs = Needs(ground_truth=True, instruction=self.keeps_words)


# ---- found by a frozen fusion ------------------------------------------------------------------


@FUSIONS.register("grounded_points")
@dataclass(frozen=True)
class GroundedPointsConfig(FusionConfig):
    """The points that a pretrained fusion finds, which is frozen."""

    name: str = "grounded_points"
    width: int = option(128, "of a token", at_least(1))
    sentence: int = option(0, SENTENCE, at_least(0))
    finder: FusionConfig = block(KeypointFusionConfig, "that finds the points, pretrained and frozen")

    def build(self, spec: PolicySpec, vision: VisionConfig | None, language: LanguageConfig | None) -> "GroundedPoints":
        if self.sentence:
            check_reads_words(self, language)
        finder = build_finder(self.finder, spec, vision, language)
        return GroundedPoints(spec, self.width, self.sentence, language, finder)


def build_finder(
    config: FusionConfig, spec: PolicySpec, vision: VisionConfig | None, language: LanguageConfig | None
) -> Fusion:
    """Build what finds points. UserError for a fusion that does not, or that is told them itself."""
    finder = config.build(spec, vision, language)
    if "points" not in finder.gives or finder.tells_points:
        raise UserError(
            f"policy.fusion.finder.name={config.name} finds no points by itself; expected a fusion that does, as "
            "policy.fusion.finder.name=keypoints"
        )
    return finder


class GroundedPoints(PointFusion):
    """Images and words to points, by a fusion whose weights stay as they are."""

    gives = frozenset({"tokens", "points"})
    requires_pretrained = True

    def __init__(
        self, spec: PolicySpec, width: int, sentence: int, language: LanguageConfig | None, finder: Fusion
    ):  # fmt: skip
        super().__init__(spec, width, sentence, language)
        self.needs, self.plays_steps = finder.needs, "errors" in finder.gives
        self.finder = finder.requires_grad_(requires_grad=False).eval()

    def train(self, mode: bool = True) -> "GroundedPoints":  # noqa: FBT001, FBT002 (torch's signature)
        """Set the mode of all but the finder, which is frozen."""
        super().train(mode)
        self.finder.eval()
        return self

    @torch.no_grad()
    def condense(self, inputs: Inputs) -> Inputs:
        found = self.finder(inputs)
        points = found.points if found.errors is None else torch.cat([found.points, found.errors[..., None]], -1)
        words = (inputs.words, inputs.word_mask) if self.keeps_words else (None, None)
        return Inputs(inputs.state, {}, *words, points=points, turn=found.turn)

    def frozen_weights(self) -> dict[str, Tensor]:
        return self.finder.state_dict()

    def forward(self, inputs: Inputs) -> Prefix:
        assert inputs.points is not None
        points, errors = inputs.points[..., :3], inputs.points[..., 3:]
        return Prefix(super().forward(inputs).tokens, points, errors[..., 0] if errors.numel() else None)

    def load_pretrained(self, root: Path) -> dict:
        card = self.finder.load_pretrained(root)
        if not card and self.frozen_weights():
            raise UserError(f"{root} has no weights for the finder, which would stay random: choose another finder")
        return card
