"""What a client sends: an observation under the keys of this project, checked before a policy sees it.

Shapes: H, W image height and width, D state dimension.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from policies.remote.keys import ServerKeys
from policies.remote.protocol import OURS
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.core.options import MAX_SEED

KEYS = ServerKeys()  # under which a request carries an observation
MAX_WORDS = 2000  # letters of an instruction


@dataclass(frozen=True)
class RequestReader:
    """Reads the observations that a policy decides on."""

    cameras: tuple[str, ...]
    image_size: tuple[int, int]  # (H, W)
    state_dim: int  # D
    needs_prompt: bool

    def observation(self, request: Any) -> Observation:
        """Return what a request shows. UserError when it lacks something, or has it of another shape."""
        if not isinstance(request, Mapping):
            raise UserError(f"the request is a {type(request).__name__}, expected a map")
        images = {}
        for camera in self.cameras:
            images[camera] = array(request, KEYS.image_key(camera), (*self.image_size, 3), np.uint8)
        state = array(request, str(KEYS.state), (self.state_dim,))
        prompt = request.get(KEYS.prompt, "")
        if self.needs_prompt and not (isinstance(prompt, str) and 0 < len(prompt) <= MAX_WORDS):
            raise UserError(f"the request has no {KEYS.prompt!r}, expected what to do, up to {MAX_WORDS} letters")
        return Observation(images, state, prompt, 0.0)


def array(request: Mapping[str, Any], key: str, shape: tuple[int | None, ...], dtype: type = np.float32) -> np.ndarray:
    """Return a value of the request as an array. UserError; None in a shape is any number."""
    if key not in request:
        raise UserError(f"the request has no {key!r}, expected {dtype.__name__} of shape {shape}")
    value = request[key]
    found = f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
    same = isinstance(value, np.ndarray) and value.ndim == len(shape) and value.dtype.kind in "iuf"
    same = same and all(want in {None, have} for want, have in zip(shape, value.shape, strict=True))
    with np.errstate(over="ignore"):  # a large float64 is none of float32
        cast = np.array(value, dtype) if same else None
    if cast is None or (dtype is np.uint8 and value.dtype != np.uint8) or not np.isfinite(cast).all():
        raise UserError(f"{key!r} is {found}, expected finite numbers, {dtype.__name__} of shape {shape}")
    return cast


def own_of(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a client of this project adds to a request. UserError."""
    own = request.get(OURS, {})
    if not isinstance(own, Mapping):
        raise UserError(f"{OURS!r} is a {type(own).__name__}, expected a map")
    return own


def seed_of(own: Mapping[str, Any]) -> int:
    """Return the seed of the episode that a client of this project begins. UserError."""
    value = own["seed"]
    if type(value) is not int or not 0 <= value <= MAX_SEED:  # True is an int too
        raise UserError(f"the request's seed is {str(value)[:40]}, expected 0 to {MAX_SEED}")
    return value
