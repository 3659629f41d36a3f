"""A checkpoint's policy for one client of a server.

Shapes: T steps of a chunk, D action dimension.
"""

from typing import Any

import numpy as np
import torch

from policies.core.interface import Policy
from policies.models.checkpoint import CheckpointMetadata
from policies.remote.metadata import ServerMetadata
from policies.remote.protocol import OURS
from policies.remote.requests import RequestReader, array, own_of, seed_of
from policies.runtime.agent import chunk_spec
from policies.runtime.decider import Decider
from policies.runtime.episode_context import EpisodeContext
from sim.core.errors import UserError


class PolicySession:
    """Decides on a client's observations.

    A seed begins an episode. A client that has said none yet, as openpi's do, is drawn noise from seed 0 on, and does
    not tell where its episodes begin: each look is one of its own, so that nothing of an earlier scene is acted on.
    """

    def __init__(self, decider: Decider):
        self._decider = decider
        spec, needs = decider.spec, decider.policy.needs
        self._reader = RequestReader(decider.processor.cameras, spec.image_size, spec.state_dim, needs.instruction)
        self._generator, self._context = torch.Generator().manual_seed(0), EpisodeContext(decider.policy)
        self._seeded = False  # whether the client tells its episodes

    def infer(self, request: Any) -> dict[str, Any]:
        """Return the chunk (T, D) as `actions`: absolute joint targets, rad, gripper opening 0..1."""
        observation = self._reader.observation(request)
        own = own_of(request)
        if "seed" in own:
            self._generator, self._seeded = torch.Generator().manual_seed(seed_of(own)), True
        if "seed" in own or not self._seeded:
            self._context.begin()
        width = self._decider.spec.action_dim
        commanded = array(own, "commanded", (width,)) if "commanded" in own else observation.state
        steps = array(own, "under_way", (None, width)) if "under_way" in own else np.zeros((0, width), np.float32)
        decided = self._decider.decide(observation, commanded, self._given(steps), self._generator, self._context)
        estimates = [  # no arrays: openpi's ActionChunkBroker takes each array of an answer for one row a step
            {"name": one.name, "pos_w": one.pos_w.tolist(), "within_m": float(one.within_m)}
            for one in decided.estimates
        ]
        own_answer = {"estimates": estimates, "subtask": decided.subtask}
        return {"actions": decided.chunk.astype(np.float32), OURS: own_answer}

    def _given(self, steps: np.ndarray) -> list[np.ndarray]:
        longest = self._decider.policy.given_steps
        if longest and len(steps) > longest:
            raise UserError(f"{len(steps)} steps are under way, the policy takes {longest}")
        return list(steps)


def check_served(policy: Policy) -> None:
    """UserError for a policy that acts on what no request holds."""
    if policy.needs.touch:
        raise UserError("a policy with policy.touch=true cannot be served: a request holds no touch")
    if policy.needs.depth:
        raise UserError("a policy with policy.depth=true cannot be served: a request holds no depth")


def metadata_of(decider: Decider, metadata: CheckpointMetadata, weights: str) -> ServerMetadata:
    """Return what a server says of the policy. weights: their sha256."""
    spec, chunks, conditioning = decider.spec, chunk_spec(decider.policy), decider.conditioning
    return ServerMetadata(
        robot=spec.robot,
        control_hz=spec.control_hz,
        cameras=decider.processor.cameras,
        image_size=spec.image_size,
        action_dim=spec.action_dim,
        chunk=chunks.chunk,
        execute=chunks.execute,
        ensemble=chunks.ensemble,
        memory=chunks.memory,
        given_steps=chunks.given_steps,
        tasks=metadata.tasks,
        indicator=conditioning.indicator.name.lower(),
        guidance=conditioning.guidance,
        weights=weights,
        seeds=metadata.provenance.get("seeds", []),
        splits=metadata.provenance.get("splits", []),
    )
