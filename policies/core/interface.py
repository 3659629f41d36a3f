"""The interface of every policy, whatever its network: loss, actions, an embedding for the value.

Training, acting, RECAP and the robot know a policy by this alone. Its configuration is registered in
`policies.core.registry.POLICIES` and builds it.

Shapes: B batch, D state and action dimension, T chunk, F embedding width, G grounded points.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from policies.core.indicator import Indicator
from policies.core.inputs import Batch, Inputs
from policies.core.parts import LanguageConfig, VisionConfig
from policies.core.registry import POLICIES
from policies.core.spec import Needs, PolicySpec
from sim.core.errors import UserError
from sim.core.options import at_least, option
from sim.core.registry import Choice


@dataclass
class Decision:
    """What a policy decides on one look."""

    chunk: Tensor  # (B, T, D) absolute targets: rad, gripper opening 0..1
    points: Tensor | None = None  # (B, G, 3) m: where it found the named things
    errors: Tensor | None = None  # (B, G) m: how far off those may be, as `policies.core.parts.Prefix` has it
    subtask: Tensor | None = None  # (B,) int64: what it is about to do, in `policies.core.subtasks.SUBTASKS`


@dataclass(frozen=True)
class PolicyConfig(Choice):
    """Chooses a policy; subclasses add their parts and sizes."""

    registry = POLICIES
    name: str = ""
    chunk: int = option(16, "steps predicted", at_least(1))
    execute: int = option(8, "steps played before looking again", at_least(1))
    ensemble: float | None = option(
        None, "decay of ACT's average of the chunks that reach a step; null: the newest alone", at_least(0.0)
    )
    vision: VisionConfig | None = None
    language: LanguageConfig | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.execute <= self.chunk:
            raise UserError(f"policy.execute={self.execute}, expected 1 to policy.chunk, which is {self.chunk}")

    def build(self, spec: PolicySpec) -> "Policy":
        """Build the policy with random weights. UserError when parts do not fit."""
        raise NotImplementedError


class Policy(nn.Module):
    """A policy's network with its normalization constants as buffers."""

    def __init__(self, config: PolicyConfig, spec: PolicySpec):
        super().__init__()
        self.config, self.spec = config, spec

    @property
    def needs(self) -> Needs:
        """What it looks at besides the state."""
        raise NotImplementedError

    @property
    def given_steps(self) -> int:
        """How many first steps of a chunk may be given as `Inputs.under_way`; 0: chunks start from measured joints."""
        return 0

    @property
    def condenses(self) -> bool:
        """Whether `condense` leaves no maps, so that training needs only its small result."""
        return False

    @property
    def keeps_words(self) -> bool:
        """Whether `condense` leaves words, so that training needs them."""
        return True

    @property
    def plays_steps(self) -> bool:
        """Whether it is told the steps of a long instruction, one at a time."""
        return False

    @property
    def memory(self) -> int:
        """How many earlier looks it decides on as well, each `execute` steps before the next."""
        return 0

    @property
    def look_age(self) -> int:
        """How many steps the look that it decides on may be older than the state."""
        return 0

    @property
    def remembers_target(self) -> bool:
        """Whether the target is where the episode's best look saw it, see `policies.core.target_memory`."""
        return False

    @property
    def names_subtasks(self) -> bool:
        """Whether it names the sub-task that it is about, and is taught to by true ones."""
        return False

    def condense(self, inputs: Inputs) -> Inputs:
        """Return the inputs of the trained network: what no training changes is computed once a frame."""
        return inputs

    def keep_target(self, inputs: Inputs) -> Tensor:
        """Return (B, 8), what is remembered of a look's target, see `policies.models.remembered_target`."""
        raise NotImplementedError

    def with_target(self, inputs: Inputs, kept: Tensor) -> Inputs:
        """Return a look with a target that was kept."""
        raise NotImplementedError

    def frozen_weights(self) -> dict[str, Tensor]:
        """Return what the result of `condense` depends on, by name."""
        return {}

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, averaged over the batch, and its parts by name, detached."""
        raise NotImplementedError

    def losses(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return the loss (B,) of each sample's chunk under its indicator: the smaller, the likelier the chunk."""
        raise NotImplementedError

    def act(
        self, inputs: Inputs, generator: torch.Generator, indicator: Indicator = Indicator.POSITIVE,
        guidance: float = 1.0,
    ) -> Decision:  # fmt: skip
        """Return a chunk for each observation; the generator draws its noise, guidance is RECAP's beta."""
        raise NotImplementedError

    def steer(self, inputs: Inputs, noise: Tensor, indicator: Indicator = Indicator.POSITIVE) -> Decision:
        """Return the chunks that noise (B, T, D) becomes, with gradient where the head has one.

        UserError where the head does not make chunks of noise.
        """
        raise NotImplementedError

    def embedding(self, inputs: Inputs) -> Tensor:
        """Return (B, F), what the value sees: everything the actions depend on but the indicator."""
        raise NotImplementedError

    @property
    def requires_pretrained(self) -> bool:
        """Whether it is useless without the weights of `load_pretrained`."""
        return False

    def load_pretrained(self, root: Path) -> dict:
        """Load weights of grounding pretraining; return their card, {} where this policy has none to load."""
        return {}

    def fit_normalization(self, actions: Tensor, valid: Tensor, start: Tensor, points: Tensor) -> None:
        """Set normalization constants from N samples, shaped as in `Batch`; start (N, D): what chunks start from."""
        raise NotImplementedError

    def action_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that make actions of what was seen."""
        raise NotImplementedError

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that learn at a reduced rate, `optim.pretrained_rate`; none that begin random."""
        return []
