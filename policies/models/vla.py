"""A vision-language-action policy made of parts: a fusion's prefix, state and advantage indicator into an action head.

    maps, words -> Fusion -> prefix | depth | touch | state | indicator -> Head -> action chunk

Joint targets are predicted relative to the joints measured at the chunk's start (`ActionNormalizer`), or, with a head
that takes given steps, to those commanded last; how far the arm lags behind the command is then a part of the state.
Nothing here knows how many joints, cameras or grounded points there are.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from policies.core.advantage_conditioning import DROPOUT, drop
from policies.core.indicator import Indicator
from policies.core.inputs import Batch, Inputs
from policies.core.interface import Decision, Policy, PolicyConfig
from policies.core.parts import (
    FusionConfig,
    HeadConfig,
    HeadShape,
    JointConfig,
    LanguageConfig,
    Prefix,
    VisionConfig,
    check_head_fits,
    grounding_loss,
)  # fmt: skip
from policies.core.registry import POLICIES
from policies.core.spec import Needs, PolicySpec
from policies.fusion.keypoint_fusion import KeypointFusionConfig
from policies.fusion.subtask import WEIGHT, subtask_loss
from policies.heads.flow import FlowConfig
from policies.language.minilm import MiniLmConfig
from policies.models.carried_points import CarriedPoints
from policies.models.depth_tokens import DepthTokens
from policies.models.look_memory import LookMemory
from policies.models.normalization import ActionNormalizer
from policies.models.remembered_target import RememberedTarget
from policies.models.touch_token import TouchToken
from policies.vision.efficientnet import EfficientNetConfig
from sim.core.errors import UserError
from sim.core.options import PROBABILITY, at_least, between, block, option

LAG_RAD = 0.1  # joints lag behind their commands by about as much in motion


@POLICIES.register("vla")
@dataclass(frozen=True)
class VlaConfig(PolicyConfig):
    """The parts of the network and how it is trained."""

    name: str = "vla"
    vision: VisionConfig | None = block(EfficientNetConfig, "frozen encoder of images")
    language: LanguageConfig | None = block(MiniLmConfig, "frozen encoder of instructions")
    fusion: FusionConfig = block(KeypointFusionConfig, "from images and words to prefix tokens")
    head: HeadConfig = block(FlowConfig, "from tokens to a chunk of actions")
    memory: int = option(
        0, "earlier looks that are decided on as well, each `execute` steps before the next", between(0, 16)
    )
    look_age: int = option(
        0, "steps that the look it decides on may be older than the state, for look_hz=; 0: they are of one time",
        between(0, 100),
    )  # fmt: skip
    remember_target: bool = option(
        False,
        "the target is where the episode's best look saw it: it stands still, and the arm comes to hide it",
    )
    touch: bool = option(
        False, "what the tool feels, as a token: gripper force, and the world's force and torque on the tool"
    )
    depth: bool = option(False, "depth images, a token for each camera, by an encoder that is trained with the rest")
    indicator_dropout: float = option(DROPOUT, "of RECAP's indicator in training", PROBABILITY)
    grounding_weight: float = option(0.5, "of the grounding loss", at_least(0.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory and self.look_age:
            raise UserError(
                f"policy.memory={self.memory} policy.look_age={self.look_age}: expected one of the two, as the looks "
                "that are remembered are of fixed times"
            )
        if self.remember_target and self.look_age:
            raise UserError(f"policy.remember_target=true policy.look_age={self.look_age}: expected one of the two")

    def build(self, spec: PolicySpec) -> "Vla":
        return Vla(self, spec)

    @property
    def words(self) -> LanguageConfig | None:
        """What gives the states of words. UserError where two parts would."""
        if not isinstance(self.vision, JointConfig):
            return self.language
        if self.language:
            raise UserError(
                f"policy.vision.name={self.vision.name} reads the instruction itself, "
                f"policy.language.name={self.language.name} would too; expected policy.language=null"
            )
        return self.vision.words


class Vla(Policy):
    """Fusion and head with the state and indicator tokens between them."""

    config: VlaConfig

    def __init__(self, config: VlaConfig, spec: PolicySpec):
        super().__init__(config, spec)
        self.fusion = config.fusion.build(spec, config.vision, config.words)
        _check_reads_both(config, self.fusion.needs)
        width = self.fusion.width
        self.looks = LookMemory(config.memory, width) if config.memory else None
        self.carried = CarriedPoints(spec) if config.look_age and self.fusion.tells_points else None
        self.touch_token = TouchToken(width) if config.touch else None
        self.depth_tokens = DepthTokens(spec.cameras, width) if config.depth else None
        tokens = (1 + config.memory) * self.fusion.prefix_tokens + config.touch + 2  # and the state, and the indicator
        tokens += len(self.depth_tokens) if self.depth_tokens else 0
        if config.remember_target and not self.fusion.plays_steps:
            raise UserError("policy.remember_target=true needs a fusion that knows its error; policy=eye has one")
        self.remembered = RememberedTarget(spec) if config.remember_target else None
        self.head = config.head.build(HeadShape(config.chunk, spec.action_dim, tokens, width))
        check_head_fits(config.head, self.head.needs, config.fusion, self.fusion.gives)
        self.state_token = nn.Linear((4 if self.given_steps else 3) * spec.state_dim, width)
        self.indicator_token = nn.Embedding(len(Indicator), width)
        self.normalizer = ActionNormalizer(config.chunk, spec.action_dim)

    @property
    def needs(self) -> Needs:
        return replace(self.fusion.needs, touch=self.config.touch, depth=self.config.depth)

    @property
    def given_steps(self) -> int:
        return self.head.given_steps

    @property
    def condenses(self) -> bool:
        return self.fusion.condenses

    @property
    def keeps_words(self) -> bool:
        return self.fusion.keeps_words

    @property
    def plays_steps(self) -> bool:
        return self.fusion.plays_steps

    @property
    def memory(self) -> int:
        return self.config.memory

    @property
    def look_age(self) -> int:
        return self.config.look_age

    @property
    def remembers_target(self) -> bool:
        return self.config.remember_target

    @property
    def names_subtasks(self) -> bool:
        return "subtask" in self.fusion.gives

    def condense(self, inputs: Inputs) -> Inputs:
        return self.fusion.condense(inputs)

    def keep_target(self, inputs: Inputs) -> Tensor:
        assert self.remembered
        return self.remembered.keep(inputs)

    def with_target(self, inputs: Inputs, kept: Tensor) -> Inputs:
        assert self.remembered
        return self.remembered(inputs, kept)

    def frozen_weights(self) -> dict[str, Tensor]:
        return self.fusion.frozen_weights()

    # ---- training ------------------------------------------------------------------------------

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the head's loss, grounding of the points that the fusion learns to find, naming of the sub-task."""
        inputs, indicator = batch.inputs, drop(batch.indicator, generator, self.config.indicator_dropout)
        prefix = self._prefix(inputs)
        total = self._chunk_losses(self.fusion.drop(prefix.tokens, generator), batch, indicator, generator).mean()
        parts = {self.config.head.name: total.detach()}
        if prefix.points is not None:
            grounding = grounding_loss(prefix.points, batch.points)
            parts["grounding"] = grounding.detach()
            if not self.fusion.tells_points:  # else the points are found by what is frozen
                total = total + self.config.grounding_weight * grounding
        if prefix.subtask is not None and inputs.subtask is not None:
            naming = subtask_loss(prefix.subtask, inputs.subtask)
            parts["subtask"] = naming.detach()
            total = total + WEIGHT * naming
        return total, parts

    def losses(self, batch: Batch, generator: torch.Generator) -> Tensor:
        tokens = self._prefix(without_subtask(batch.inputs)).tokens
        return self._chunk_losses(tokens, batch, batch.indicator, generator)

    def _chunk_losses(self, prefix: Tensor, batch: Batch, indicator: Tensor, generator: torch.Generator) -> Tensor:
        context = self.context(prefix, batch.inputs, indicator)
        actions = self.normalizer.normalize(batch.actions, self._start(batch.inputs))
        return self.head.loss(actions, batch.valid, context, generator)

    def fit_normalization(self, actions: Tensor, valid: Tensor, start: Tensor, points: Tensor) -> None:
        self.normalizer.fit(actions, valid, start)
        self.head.fit(self.normalizer.normalize(actions, start), valid)
        self.fusion.fit_points(points)

    @property
    def requires_pretrained(self) -> bool:
        return self.fusion.requires_pretrained

    def load_pretrained(self, root: Path) -> dict:
        return self.fusion.load_pretrained(root)

    def action_parameters(self) -> list[nn.Parameter]:
        return list(self.head.parameters())

    def pretrained_parameters(self) -> list[nn.Parameter]:
        return [] if self.fusion.begins_random else self.fusion.pretrained_parameters()

    # ---- acting --------------------------------------------------------------------------------

    def _prefix(self, inputs: Inputs) -> Prefix:
        """Return what the fusion makes of a look, with a memory also of those before it."""
        if self.carried:
            inputs = self.carried(inputs)
        return self.looks(self.fusion, inputs) if self.looks else self.fusion(inputs)

    def context(self, prefix: Tensor, inputs: Inputs, indicator: Tensor) -> Tensor:
        """Return everything the actions depend on, (B, N, W): prefix (B, P, W), depth, touch, state, indicator (B,)."""
        tokens = [*self._sensed(inputs), self.state_token(self._state(inputs)), self.indicator_token(indicator)]
        return torch.cat([prefix, torch.stack(tokens, 1)], 1)

    def _sensed(self, inputs: Inputs) -> list[Tensor]:
        """Return tokens (B, W) of what is sensed beside images and joints: depth, touch."""
        tokens = self.depth_tokens(inputs.depth) if self.depth_tokens else []
        if self.touch_token:
            assert inputs.touch is not None
            tokens = [*tokens, self.touch_token(inputs.touch)]
        return tokens

    def _start(self, inputs: Inputs) -> Tensor:
        """(B, D): what chunks start from."""
        return inputs.commanded if self.given_steps and inputs.commanded is not None else inputs.state

    def _state(self, inputs: Inputs) -> Tensor:
        """(B, 3 D) the pose, (B, 4 D) with how far it is behind the command."""
        if not self.given_steps:
            return inputs.pose
        lag = self._start(inputs) - inputs.state
        return torch.cat([inputs.pose, lag[:, :-1] / LAG_RAD, lag[:, -1:]], -1)

    def _given(self, inputs: Inputs) -> tuple[Tensor, ...]:
        """What the head is handed of the steps that are under way."""
        if not self.given_steps or inputs.under_way is None or not inputs.under_way.shape[1]:
            return ()
        return (self.normalizer.normalize(inputs.under_way, self._start(inputs)),)

    @torch.no_grad()
    def act(
        self, inputs: Inputs, generator: torch.Generator, indicator: Indicator = Indicator.POSITIVE,
        guidance: float = 1.0,
    ) -> Decision:  # fmt: skip
        prefix, context = self._context(inputs, indicator)
        unconditional = None
        if guidance != 1.0:
            unconditional = context.clone()
            unconditional[:, -1] = self.indicator_token.weight[Indicator.UNKNOWN]
        chunk = self.head.sample(context, generator, unconditional, guidance, *self._given(inputs))
        return self._decision(chunk, inputs, prefix)

    def steer(self, inputs: Inputs, noise: Tensor, indicator: Indicator = Indicator.POSITIVE) -> Decision:
        prefix, context = self._context(inputs, indicator)
        return self._decision(self.head.from_noise(context, noise, *self._given(inputs)), inputs, prefix)

    def _decision(self, chunk: Tensor, inputs: Inputs, prefix: Prefix) -> Decision:
        """Return a decision of a normalized chunk and what the prefix found."""
        subtask = None if prefix.subtask is None else prefix.subtask.argmax(1)
        actions = self.normalizer.denormalize(chunk, self._start(inputs))
        return Decision(actions, prefix.points, prefix.errors, subtask)

    def _context(self, inputs: Inputs, indicator: Indicator) -> tuple[Prefix, Tensor]:
        """Return the fusion's prefix, and everything the actions depend on under one indicator."""
        prefix = self._prefix(without_subtask(inputs))
        conditioned = torch.full((len(inputs),), int(indicator), device=inputs.state.device)
        return prefix, self.context(prefix.tokens, inputs, conditioned)

    def embedding(self, inputs: Inputs) -> Tensor:
        prefix = self._prefix(without_subtask(inputs))
        points = [] if prefix.points is None else [prefix.points.flatten(1)]
        felt = [] if self.touch_token is None or inputs.touch is None else [self.touch_token(inputs.touch)]
        far = self.depth_tokens(inputs.depth) if self.depth_tokens and inputs.depth else []
        return torch.cat([prefix.tokens.flatten(1), *points, *felt, *far, self._state(inputs)], 1)


def without_subtask(inputs: Inputs) -> Inputs:
    """Return the inputs without the true sub-task: acting follows from the one that the policy names itself."""
    return replace(inputs, subtask=None)


def _check_reads_both(config: VlaConfig, needs: Needs) -> None:
    """UserError where a joint encoder would have to read a picture of the goal, or words alone."""
    if isinstance(config.vision, JointConfig) and (needs.goal or (needs.instruction and not needs.images)):
        raise UserError(
            f"policy.vision.name={config.vision.name} reads images and instruction together, fusion "
            f"{config.fusion.name!r} needs {'a picture of the goal' if needs.goal else 'words alone'}; expected "
            "policy.vision.name=hub_vision policy.language.name=hub_text"
        )


def with_head(policy: Vla, head: HeadConfig) -> Vla:
    """Return a policy of the same parts, weights and normalization, but a new head with random weights."""
    changed = Vla(replace(policy.config, head=head), policy.spec)
    kept = {name: value for name, value in policy.state_dict().items() if not name.startswith("head.")}
    changed.load_state_dict({**changed.state_dict(), **kept})
    return changed
