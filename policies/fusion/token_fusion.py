"""What fusions over tokens share: a few tokens are read out of all, and where the named things are is found from them.

The grounded points are learned from ground truth alone, as in `keypoint_fusion`. Few demonstrations do not teach what
words mean, and the papers' fusions begin as large pretrained models, not with random weights. So a fusion may have a
finder, a pretrained and frozen one of another kind, whose points it hands on instead of its own: those it memorizes in
the scenes of its training, and a head that is told both trusts them. Its tokens memorize those scenes as well, so in
half of the training samples the finder's points are all that the head is told.

Insulated, the actions' loss trains the head and not the tokens that it reads (knowledge insulation, Driess et al. 2025,
arXiv 2505.23705): they learn from ground truth, points and sub-task. Else few demonstrations are memorized.

Shapes: B batch, R tokens gathered, N tokens read, D state dimension, G grounded points, W token width.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from policies.core.attention import HEAD_WIDTH
from policies.core.inputs import Inputs
from policies.core.parts import POINT_SCALE_M, Fusion, FusionConfig, LanguageConfig, Prefix, VisionConfig
from policies.core.spec import Needs, PolicySpec
from policies.fusion.grounded_points import GroundedPoints, PointToken, build_finder
from policies.fusion.pretrained_fusion import load_fusion
from policies.fusion.subtask import SubtaskToken
from sim.core.errors import UserError
from sim.core.options import at_least, multiple_of, option

HIDDEN = 256  # of what finds the points
FINDER_ALONE = 0.5  # of the training samples


@dataclass(frozen=True)
class TokenFusionConfig(FusionConfig):
    """Sizes that these fusions share."""

    width: int = option(128, "of a token", multiple_of(HEAD_WIDTH, HEAD_WIDTH, 4096))
    subtask: bool = option(False, "the sub-task is named before the actions, which follow from it")
    insulated: bool = option(False, "actions do not train the tokens: points and sub-task do")
    finder: FusionConfig | None = option(
        None, "pretrained and frozen, which finds the points; null: the fusion itself does"
    )

    def encoders(
        self, vision: VisionConfig | None, language: LanguageConfig | None
    ) -> tuple[VisionConfig, LanguageConfig]:
        """Return both, UserError when one is missing."""
        if vision is None or language is None:
            raise UserError(f"fusion {self.name!r} needs a language part and a vision part")
        return vision, language


@dataclass(frozen=True)
class ReadoutConfig(TokenFusionConfig):
    """Sizes of fusions whose tokens are learned ones behind all others."""

    layers: int = option(2, "that mix the tokens", at_least(1))
    readouts: int = option(8, "learned tokens that gather what the head needs", at_least(1))


class TokenFusion(Fusion):
    """Inputs to a few tokens, which a subclass gathers, and grounded points found from them."""

    needs = Needs(images=True, instruction=True)
    gives = frozenset({"tokens", "points"})

    def __init__(
        self, config: TokenFusionConfig, spec: PolicySpec, vision: VisionConfig, language: LanguageConfig, tokens: int
    ):  # fmt: skip
        """tokens: R, of what is gathered."""
        super().__init__()
        if config.insulated and config.finder and not config.subtask:
            raise UserError(
                f"fusion {config.name!r} is insulated and has a finder: nothing would train its tokens; expected "
                "policy.fusion.subtask=true or policy.fusion.insulated=false"
            )
        self.found = None
        if config.finder:
            finder = build_finder(config.finder, spec, vision, language)
            self.found = GroundedPoints(spec, config.width, 0, None, finder)
        else:
            self.points = nn.Sequential(
                nn.Linear(tokens * config.width + 3 * spec.state_dim, HIDDEN), nn.SiLU(),
                nn.Linear(HIDDEN, 3 * len(spec.points)),
            )  # fmt: skip
            self.point_token = PointToken(len(spec.points), config.width)
        self.requires_pretrained = self.tells_points = self.found is not None
        self.config, self.width = config, config.width
        self.gathered, self.prefix_tokens = tokens, tokens + 1 + config.subtask
        self.subtask = SubtaskToken(tokens, spec.state_dim, config.width) if config.subtask else None
        if self.subtask:
            self.gives = frozenset({*self.gives, "subtask"})

    def gather(self, inputs: Inputs) -> Tensor:
        """Return tokens (B, R, W)."""
        raise NotImplementedError

    def forward(self, inputs: Inputs) -> Prefix:
        read = self.gather(inputs)
        found = self.found(inputs) if self.found else self._find(read, inputs)
        tokens = [read.detach() if self.config.insulated else read, found.tokens]
        if not self.subtask:
            return replace(found, tokens=torch.cat(tokens, 1))
        token, logits = self.subtask(read, inputs)
        return replace(found, tokens=torch.cat([*tokens, token], 1), subtask=logits)

    def _find(self, read: Tensor, inputs: Inputs) -> Prefix:
        """Return the points that the fusion itself finds, and the token of them."""
        found = self.points(torch.cat([read.flatten(1), inputs.pose], 1)).unflatten(1, (-1, 3))
        points = found * POINT_SCALE_M + self.point_token.center
        # Actions must not train where the points are: that is learned from ground truth alone.
        return Prefix(self.point_token(points.detach()), points)

    def drop(self, tokens: Tensor, generator: torch.Generator) -> Tensor:
        if not self.found or self.config.insulated:
            return tokens
        looks = tokens.unflatten(1, (-1, self.prefix_tokens))
        kept = torch.rand(len(tokens), generator=generator).to(tokens) >= FINDER_ALONE
        read, found = looks.tensor_split([self.gathered], 2)
        return torch.cat([read * kept[:, None, None, None], found], 2).flatten(1, 2)

    def condense(self, inputs: Inputs) -> Inputs:
        """Return the inputs with the finder's points, which no training changes."""
        if not self.found:
            return inputs
        found = self.found.condense(inputs)
        return replace(inputs, points=found.points, turn=found.turn)

    def frozen_weights(self) -> dict[str, Tensor]:
        return self.found.frozen_weights() if self.found else {}

    def fit_points(self, points: Tensor) -> None:
        if self.found:
            self.found.fit_points(points)
        else:
            self.point_token.center.copy_(points.nanmean(0).nan_to_num())

    def load_pretrained(self, root: Path) -> dict:
        return self.found.load_pretrained(root) if self.found else load_fusion(self, self.config, root)

    def pretrained_parameters(self) -> list[nn.Parameter]:
        if self.found:  # which alone was pretrained, and is frozen
            return []
        parts = filter(None, (self.points, self.point_token, self.subtask))
        others = {id(parameter) for part in parts for parameter in part.parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in others]


class ReadoutFusion(TokenFusion):
    """Learned tokens behind all others gather what the head needs."""

    def __init__(self, config: ReadoutConfig, spec: PolicySpec, vision: VisionConfig, language: LanguageConfig):
        super().__init__(config, spec, vision, language, config.readouts)
        self.readouts = nn.Parameter(torch.randn(config.readouts, config.width))
        self.norm = nn.LayerNorm(config.width)

    def with_readouts(self, tokens: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens (B, N, W), and where there is one (B, N), with the learned ones behind."""
        learned = self.readouts.expand(len(tokens), -1, -1)
        return torch.cat([tokens, learned], 1), torch.cat([there, there.new_ones(learned.shape[:2])], 1)

    def read_out(self, tokens: Tensor) -> Tensor:
        """Return what the learned tokens have become, (B, R, W)."""
        return self.norm(tokens[:, -len(self.readouts) :])
