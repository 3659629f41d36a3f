"""The small vision-language-action policy: prefix, state, advantage indicator, action tokens.

    pictures, words -> Fusion -> prefix | state | indicator -> FlowExpert -> action chunk

Joint targets are predicted relative to the joints measured at the chunk's start, the gripper's
absolutely; both are normalized per step and dimension. Nothing here knows how many joints there are.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from policies.fusion.keypoint_fusion import Fusion, FusionConfig
from policies.heads.advantage_conditioning import Indicator, drop
from policies.heads.flow import FlowConfig, FlowExpert

POINT_SCALE_M = 0.1  # grounded points are learned in units of this


@dataclass(frozen=True)
class VlaConfig:
    """What defines the network; `cameras`, `state_dim` and `action_dim` come from the embodiment."""

    cameras: tuple[str, ...] = ("front", "wrist")
    state_dim: int = 7
    action_dim: int = 7
    chunk: int = 16
    execute: int = 8
    indicator_dropout: float = 0.3
    grounding_weight: float = 0.5
    fusion: FusionConfig = field(default_factory=FusionConfig)
    flow: FlowConfig = field(default_factory=FlowConfig)


@dataclass
class Batch:
    """Training samples. B batch, T chunk, D action dimension, L words."""

    maps: dict[str, tuple[Tensor, Tensor]]  # camera -> fine (B, 136, h, w), coarse (B, 112, h/2, w/2)
    words: Tensor  # (B, L, 384)
    word_mask: Tensor  # (B, L) bool
    state: Tensor  # (B, D) as measured
    actions: Tensor  # (B, T, D) absolute targets
    valid: Tensor  # (B, T) bool: within the episode and what an expert wants
    indicator: Tensor  # (B,) int64
    points: Tensor  # (B, G, 3) grounding labels in m; nan where unknown


class SmallVla(nn.Module):
    """Policy network with its normalization constants as buffers."""

    point_center: Tensor
    action_mean: Tensor
    action_std: Tensor

    def __init__(self, config: VlaConfig):
        super().__init__()
        self.config = config
        width = config.fusion.width
        self.fusion = Fusion(config.fusion, config.cameras, config.state_dim)
        tokens = self.fusion.prefix_tokens + 2  # and the state, and the indicator
        self.expert = FlowExpert(config.flow, config.chunk, config.action_dim, tokens, width)
        self.state_token = nn.Linear(3 * config.state_dim, width)
        self.indicator_token = nn.Embedding(len(Indicator), width)
        points = config.fusion.grounding_points
        self.register_buffer("point_center", torch.zeros(points, 3))
        self.register_buffer("action_mean", torch.zeros(config.chunk, config.action_dim))
        self.register_buffer("action_std", torch.ones(config.chunk, config.action_dim))

    # ---- training ------------------------------------------------------------------------------

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Flow matching plus grounding, averaged over the batch, and both as numbers."""
        indicator = drop(batch.indicator, generator, self.config.indicator_dropout)
        context, points = self.context(batch.maps, batch.words, batch.word_mask, batch.state, indicator)
        flow = self.expert.loss(self.normalize(batch.actions, batch.state), batch.valid, context, generator).mean()
        grounding = self.grounding_loss(points, batch.points)
        total = flow + self.config.grounding_weight * grounding
        return total, {"flow": flow.item(), "grounding": grounding.item()}

    def grounding_loss(self, points: Tensor, labels: Tensor) -> Tensor:
        """L1 between predicted and labelled points where labels are known, in POINT_SCALE_M."""
        known = labels.isfinite()
        wanted = (labels - self.point_center) / POINT_SCALE_M
        error = (points - wanted.nan_to_num()).abs() * known
        return error.sum() / known.sum().clamp(min=1)

    # ---- acting --------------------------------------------------------------------------------

    def context(self, maps, words: Tensor, mask: Tensor, state: Tensor, indicator: Tensor) -> tuple[Tensor, Tensor]:
        """Everything the actions depend on, (B, N, W), in the field's order; and the grounded points."""
        prefix, points = self.fusion(maps, words, mask, state)
        pose = torch.cat([state, state.sin(), state.cos()], -1)
        tokens = [prefix, self.state_token(pose)[:, None], self.indicator_token(indicator)[:, None]]
        return torch.cat(tokens, 1), points

    @torch.no_grad()
    def act(self, maps, words: Tensor, mask: Tensor, state: Tensor, noise: Tensor, indicator: Indicator,
            guidance: float = 1.0) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Absolute chunk (B, T, D) and grounded points (B, G, 3) in m, for one look at the world."""
        told = torch.full((len(state),), int(indicator))
        context, points = self.context(maps, words, mask, state, told)
        unconditional = None
        if guidance != 1.0:
            unconditional = context.clone()
            unconditional[:, -1] = self.indicator_token.weight[Indicator.UNKNOWN]
        chunk = self.expert.sample(context, noise, unconditional, guidance)
        return self.denormalize(chunk, state), self.points_m(points)

    def points_m(self, points: Tensor) -> Tensor:
        """(B, G, 3) learned units -> metres, world frame."""
        return points * POINT_SCALE_M + self.point_center

    # ---- normalization -------------------------------------------------------------------------

    def _origin(self, state: Tensor) -> Tensor:
        """(B, 1, D): joints are relative to the measured ones, the gripper (last) is absolute."""
        origin = state[:, None].clone()
        origin[..., -1] = 0.0
        return origin

    def normalize(self, actions: Tensor, state: Tensor) -> Tensor:
        return (actions - self._origin(state) - self.action_mean) / self.action_std

    def denormalize(self, chunk: Tensor, state: Tensor) -> Tensor:
        return chunk * self.action_std + self.action_mean + self._origin(state)

    def fit_normalization(self, actions: Tensor, valid: Tensor, state: Tensor, points: Tensor) -> None:
        """Set the constants from samples (as in `Batch`)."""
        relative = actions - self._origin(state)
        weight = valid[..., None].float()
        count = weight.sum(0).clamp(min=1)
        mean = (relative * weight).sum(0) / count
        std = (((relative - mean) ** 2 * weight).sum(0) / count).sqrt()
        self.action_mean.copy_(mean)
        self.action_std.copy_(std.clamp(min=0.01))
        self.point_center.copy_(points.nanmean(0).nan_to_num())
