"""A policy as a function: a look and what is under way in, a chunk of actions out.

Shapes: T steps of a chunk, D action dimension, G grounded points.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from policies.core.indicator import Indicator
from policies.core.inputs import Inputs
from policies.core.interface import Decision, Policy
from policies.core.subtasks import SUBTASKS
from policies.models.chunk_critic import ChunkCritic
from policies.models.noise_actor import NoiseActor
from policies.models.watch import Watch
from policies.processing.observation import ObservationProcessor
from policies.runtime.episode_context import EpisodeContext
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.core.estimate import Estimate
from sim.tasks.steps import possible_steps

POINT, WORLD = "grounding.", "_pos_w"  # of the columns of points: what the world frame's begin and end with
GroundTruth = Callable[[], Mapping[str, np.ndarray]]  # column of grounded points -> (3,) m


@dataclass(frozen=True)
class Conditioning:
    """What a policy acts under."""

    indicator: Indicator = Indicator.POSITIVE
    guidance: float = 1.0  # RECAP's beta


@dataclass(frozen=True)
class Decided:
    """What came of one look."""

    chunk: np.ndarray  # (T, D) absolute targets: rad, gripper opening 0..1
    points_m: torch.Tensor | None = None  # (1, G, 3)
    estimates: list[Estimate] = field(default_factory=list)  # where the named things are in the world
    value: float | None = None  # of what is seen, where a watch is kept
    subtask: str = ""  # that it is about, where the policy names it or is told one step at a time


class Decider:
    """A policy with its frozen encoders, and the critic that chooses among its samples where it has one."""

    def __init__(
        self, policy: Policy, conditioning: Conditioning, ground_truth: GroundTruth | None = None,
        critic: ChunkCritic | None = None, noise_actor: NoiseActor | None = None, watch: Watch | None = None,
    ):  # fmt: skip
        """ground_truth: of the simulation that it acts in, for a policy that needs it. UserError without.

        noise_actor: decides which noise chunks are made of; watch: values what is seen.
        """
        if policy.needs.ground_truth and ground_truth is None:
            raise UserError("this policy acts on the simulator's ground truth, which hardware does not have")
        if noise_actor and conditioning.guidance != 1.0:
            raise UserError(
                f"guidance={conditioning.guidance:g} of a policy whose noise an actor chooses (algorithm=dsrl), "
                "expected 1: it learned to choose for unguided chunks"
            )
        self.policy, self.spec, self.conditioning = policy, policy.spec, conditioning
        self.processor = ObservationProcessor(policy)
        self._truth = ground_truth if policy.needs.ground_truth else None
        self.critic, self.noise_actor, self.watch = critic, noise_actor, watch

    def decide(
        self, observation: Observation, commanded: np.ndarray, under_way: Sequence[np.ndarray],
        generator: torch.Generator, context: EpisodeContext | None = None, seen: Inputs | None = None,
    ) -> Decided:  # fmt: skip
        """Decide a chunk. commanded: (D,) the command that the arm shows the effect of; under_way: (D,) each, what
        follows it already; generator: of the actions' noise; context: of the episode, None: this is its first look;
        seen: by an earlier look, which is decided on with the present state."""
        present = Inputs(torch.tensor(observation.state[None]), touch=self.processor.touch(observation))
        inputs = self.see(observation, context) if seen is None else present.on(seen)
        if context:
            inputs = context.join(inputs)
        if self.policy.given_steps:
            inputs.commanded = torch.from_numpy(commanded)[None]
            inputs.under_way = torch.from_numpy(np.reshape(under_way, (1, len(under_way), self.spec.action_dim)))
        if self.critic:
            inputs = Inputs.concatenate([inputs] * self.critic.sizes.samples)
        decision = self._from_policy(inputs, generator)
        points_m = None if decision.points is None else decision.points[:1]
        chunk = decision.chunk[self._best(inputs, decision.chunk)].numpy()
        subtask = self._subtask(decision, inputs, observation.instruction)
        return Decided(chunk, points_m, self._estimates(decision), self._value(inputs), subtask)

    def see(self, observation: Observation, context: EpisodeContext | None = None) -> Inputs:
        """Return the inputs of one look, B = 1."""
        truth = self._truth() if self._truth else None
        if context is None:
            return self.processor.observe(observation, truth)
        return self.processor.observe(observation, truth, context.target, context.step)

    @torch.no_grad()
    def _from_policy(self, inputs: Inputs, generator: torch.Generator) -> Decision:
        how = self.conditioning
        if not self.noise_actor:
            return self.policy.act(inputs, generator, how.indicator, how.guidance)
        steered = self.noise_actor(self._embedding(inputs, self.noise_actor.sizes.features))
        noise = self.noise_actor.noise(steered, generator)
        return self.policy.steer(inputs, noise, how.indicator)

    @torch.no_grad()
    def _best(self, inputs: Inputs, chunk: torch.Tensor) -> int:
        """Return which of the chunks (B, T, D) is played."""
        if not self.critic:
            return 0
        return self.critic.best(self._embedding(inputs, self.critic.sizes.features), inputs.state, chunk)

    @torch.no_grad()
    def _value(self, inputs: Inputs) -> float | None:
        return self.watch.value(self._embedding(inputs, self.watch.sizes.features)[:1]) if self.watch else None

    @staticmethod
    def _subtask(decision: Decision, inputs: Inputs, instruction: str) -> str:
        """Return what the chunk is about: as the policy named it, else the step that it was told."""
        if decision.subtask is not None:
            return SUBTASKS[int(decision.subtask[0])]
        return "" if inputs.step is None else possible_steps(instruction)[int(inputs.step[0])]

    def _embedding(self, inputs: Inputs, features: int) -> torch.Tensor:
        """Return (B, F), what a network beside the policy sees; an older one does not see the last, which is how far
        the arm is behind its command."""
        seen = self.policy.embedding(inputs)
        return seen[:, :features] if self.policy.given_steps else seen

    def _estimates(self, decision: Decision) -> list[Estimate]:
        """Return where the named things are in the world, and how sure that is."""
        if decision.points is None or decision.errors is None:
            return []
        found = zip(self.spec.points, decision.points[0].numpy(), decision.errors[0].tolist(), strict=True)
        names = ((name.removeprefix(POINT).removesuffix(WORLD), *one) for name, *one in found if name.endswith(WORLD))
        return [Estimate(*one) for one in names]
