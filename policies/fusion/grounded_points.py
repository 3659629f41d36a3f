"""Points as the whole prefix: found by a frozen, pretrained fusion, or given as the simulator's ground truth.

A narrow, grounded passage: the head learns actions from G points and the state. Few demonstrations
teach it more than a wide prefix would, and they cannot unteach what grounding pretraining taught.
A training step costs only the head's time: a frame's points are computed once.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from policies.core.inputs import Inputs
from policies.core.parts import POINT_SCALE_M, Fusion, FusionConfig, LanguageConfig, Prefix, VisionConfig
from policies.core.registry import FUSIONS
from policies.core.spec import Needs, PolicySpec
from policies.fusion.keypoint_fusion import KeypointFusionConfig
from sim.core.options import at_least, block, option

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
    """One token made of the points of the inputs."""

    condenses = True
    prefix_tokens = 1

    def __init__(self, spec: PolicySpec, width: int):
        super().__init__()
        self.width = width
        self.token = PointToken(len(spec.points), width)

    def forward(self, inputs: Inputs) -> Prefix:
        assert inputs.points is not None
        return Prefix(self.token(inputs.points[..., :3]))

    def fit_points(self, points: Tensor) -> None:
        self.token.center.copy_(points.nanmean(0).nan_to_num())


# ---- the simulator's ground truth --------------------------------------------------------------


@FUSIONS.register("true_points")
@dataclass(frozen=True)
class TruePointsConfig(FusionConfig):
    """The simulator's true points; there are none on hardware."""

    name: str = "true_points"
    width: int = option(128, "of the token", at_least(1))

    def build(self, spec: PolicySpec, vision: VisionConfig | None, language: LanguageConfig | None) -> "TruePoints":
        return TruePoints(spec, self.width)


class TruePoints(PointFusion):
    """Ground truth instead of images and words."""

    needs = Needs(ground_truth=True)


# ---- found by a frozen fusion ------------------------------------------------------------------


@FUSIONS.register("grounded_points")
@dataclass(frozen=True)
class GroundedPointsConfig(FusionConfig):
    """The points that a pretrained fusion finds, which is frozen."""

    name: str = "grounded_points"
    width: int = option(128, "of the token", at_least(1))
    finder: FusionConfig = block(KeypointFusionConfig, "that finds the points, pretrained and frozen")

    def build(self, spec: PolicySpec, vision: VisionConfig | None, language: LanguageConfig | None) -> "GroundedPoints":
        return GroundedPoints(spec, self.width, self.finder.build(spec, vision, language))


class GroundedPoints(PointFusion):
    """Images and words to points, by a fusion whose weights stay as they are."""

    gives = frozenset({"tokens", "points"})
    requires_pretrained = True

    def __init__(self, spec: PolicySpec, width: int, finder: Fusion):
        super().__init__(spec, width)
        self.needs = finder.needs
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
        return Inputs(inputs.state, points=points)

    def frozen_weights(self) -> dict[str, Tensor]:
        return self.finder.state_dict()

    def forward(self, inputs: Inputs) -> Prefix:
        assert inputs.points is not None
        points, errors = inputs.points[..., :3], inputs.points[..., 3:]
        return Prefix(super().forward(inputs).tokens, points, errors[..., 0] if errors.numel() else None)

    def load_pretrained(self, root: Path) -> dict:
        return self.finder.load_pretrained(root)
