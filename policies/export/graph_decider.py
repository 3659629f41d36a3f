"""A policy that its exported graph decides, as programs play it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from policies.core.inputs import Inputs
from policies.export.graph import ExportedPolicy
from policies.runtime.agent import PolicyAgent, load_decider, only_task
from policies.runtime.chunk_agent import Timing
from policies.runtime.decider import Decided, Decider
from policies.runtime.episode_context import EpisodeContext
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.tasks.steps import possible_steps


class GraphDecider(Decider):
    """A graph instead of the network; it finds in the checkpoint what belongs to it."""

    def __init__(self, decider: Decider, graph: Path):
        """decider: of the checkpoint. UserError for a graph of another policy, or a policy that cannot be exported."""
        super().__init__(decider.policy, decider.conditioning)
        self.exported = ExportedPolicy(decider, graph)

    def decide(
        self, observation: Observation, commanded: np.ndarray, under_way: Sequence[np.ndarray],
        generator: torch.Generator, context: EpisodeContext | None = None, seen: Inputs | None = None,
    ) -> Decided:  # fmt: skip
        if seen is not None:
            raise UserError("a graph decides on images, not on an earlier look; look_hz= is for a checkpoint")
        if self.policy.given_steps and len(under_way):
            raise UserError("a graph takes no steps that are under way: lead_s=0 and inference_delay_s=0 expected")
        if self.policy.plays_steps and possible_steps(observation.instruction):
            raise UserError(
                f"{observation.instruction!r} is played step by step, which a graph is not; play the checkpoint itself"
            )
        memory = context.target if context else None
        if memory:
            memory.listen(observation.instruction)
        decision = self.exported.decide(observation, commanded, self.exported.draw(generator), memory)
        return Decided(decision.chunk[0].numpy(), decision.points, self._estimates(decision))


def load_graph_agent(
    root: Path | str, indicator: str, guidance: float | None, timing: Timing, *, graph: Path
) -> PolicyAgent:
    """Return the agent of a checkpoint directory whose chunks an exported graph decides. UserError as `load_decider`,
    and for a graph that is not the checkpoint's."""
    decider, metadata = load_decider(root, indicator, guidance)
    return PolicyAgent(GraphDecider(decider, graph), timing, only_task(metadata))
