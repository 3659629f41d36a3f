"""A checkpoint's policy for one client of a server.

Shapes: H, W image height and width, D action dimension, t steps that are under way.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from policies.core.spec import Needs
from policies.models.checkpoint import CheckpointMetadata
from policies.remote.keys import ServerKeys
from policies.remote.metadata import ServerMetadata
from policies.remote.protocol import OURS
from policies.runtime.agent import chunk_spec
from policies.runtime.decider import Decider
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.core.options import MAX_SEED

KEYS = ServerKeys()  # under which a request carries an observation
MAX_WORDS = 2000  # letters of an instruction


class PolicySession:
    """Decides on a client's observations. A client that says no seed is drawn noise from seed 0 when it connects."""

    def __init__(self, decider: Decider):
        self._decider = decider
        self._needs: Needs = decider.policy.needs
        self._generator = torch.Generator().manual_seed(0)

    def infer(self, request: Any) -> dict[str, Any]:
        """Return the chunk (T, D) as `actions`: absolute joint targets, rad, gripper opening 0..1."""
        if not isinstance(request, Mapping):
            raise UserError(f"the request is a {type(request).__name__}, expected a map")
        observation, own = self._observation(request), request.get(OURS, {})
        if "seed" in own:
            self._generator = torch.Generator().manual_seed(_seed(own["seed"]))
        width = self._decider.spec.action_dim
        commanded = _array(own, "commanded", (width,)) if "commanded" in own else observation.state
        steps = _array(own, "under_way", (None, width)) if "under_way" in own else np.zeros((0, width), np.float32)
        decided = self._decider.decide(observation, commanded, self._given(steps), self._generator)
        estimates = [
            {"name": one.name, "pos_w": one.pos_w, "within_m": float(one.within_m)} for one in decided.estimates
        ]
        return {"actions": decided.chunk.astype(np.float32), OURS: {"estimates": estimates}}

    def _given(self, steps: np.ndarray) -> list[np.ndarray]:
        longest = self._decider.policy.given_steps
        if longest and len(steps) > longest:
            raise UserError(f"{len(steps)} steps are under way, the policy takes {longest}")
        return list(steps)

    def _observation(self, request: Mapping[str, Any]) -> Observation:
        """Return what a request shows. UserError when it lacks something, or has it of another shape."""
        size = self._decider.spec.image_size
        images = {}
        for camera in self._decider.processor.cameras:
            images[camera] = _array(request, KEYS.image_key(camera), (*size, 3), np.uint8)
        state = _array(request, str(KEYS.state), (self._decider.spec.state_dim,))
        prompt = request.get(KEYS.prompt, "")
        if self._needs.instruction and not (isinstance(prompt, str) and 0 < len(prompt) <= MAX_WORDS):
            raise UserError(f"the request has no {KEYS.prompt!r}, expected what to do, up to {MAX_WORDS} letters")
        return Observation(images, state, prompt, 0.0)


def _array(request: Mapping[str, Any], key: str, shape: tuple[int | None, ...], dtype: type = np.float32) -> np.ndarray:
    """Return a value of the request as an array. UserError; None in a shape is any number."""
    if key not in request:
        raise UserError(f"the request has no {key!r}, expected {dtype.__name__} of shape {shape}")
    value = request[key]
    found = f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
    same = isinstance(value, np.ndarray) and value.ndim == len(shape) and value.dtype.kind in "iuf"
    same = same and all(want in {None, have} for want, have in zip(shape, value.shape, strict=True))
    if not same or (dtype is np.uint8 and value.dtype != np.uint8) or not np.isfinite(value).all():
        raise UserError(f"{key!r} is {found}, expected finite numbers, {dtype.__name__} of shape {shape}")
    return np.array(value, dtype)


def _seed(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value <= MAX_SEED:
        raise UserError(f"the request's seed is {str(value)[:40]}, expected 0 to {MAX_SEED}")
    return value


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
        given_steps=chunks.given_steps,
        tasks=metadata.tasks,
        indicator=conditioning.indicator.name.lower(),
        guidance=conditioning.guidance,
        weights=weights,
        seeds=metadata.provenance.get("seeds", []),
        splits=metadata.provenance.get("splits", []),
    )
