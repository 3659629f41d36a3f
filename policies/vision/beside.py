"""Several frozen encoders of images side by side: each sees the whole image, a cell has the channels of all.

As OpenVLA and Prismatic look by DINOv2, which knows where things are, and SigLIP, which knows what they are called
(Karamcheti et al. 2024, arXiv 2402.07865).

Shapes: N images, C channels, h and w cells.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from policies.core.parts import JointConfig, VisionConfig
from policies.core.registry import VISION
from policies.vision.efficientnet import ImageError
from sim.core.errors import UserError
from sim.core.options import NOT_EMPTY, option


@VISION.register("beside")
@dataclass(frozen=True)
class BesideConfig(VisionConfig):
    """Which encoders."""

    name: str = "beside"
    encoders: tuple[VisionConfig, ...] = option((), "that look at every image, of one map each", NOT_EMPTY)

    @property
    def channels(self) -> tuple[int, ...]:
        found = [one.channels for one in self.encoders]
        if any(isinstance(one, JointConfig) for one in self.encoders) or any(len(one) != 1 for one in found):
            names = ", ".join(one.name for one in self.encoders)
            raise UserError(f"policy.vision.encoders are {names}, expected ones with one map, as hub_vision")
        return (sum(one for (one,) in found),)

    def build(self, threads: int = 1) -> "Beside":
        return Beside([one.build(threads) for one in self.encoders])


def _joined(fingerprints: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(fingerprints).encode()).hexdigest()[:12]


class Beside:
    """The maps of several encoders as one."""

    def __init__(self, encoders: list):
        self._encoders = encoders

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits; equal ones mean equal encoders in the same order."""
        return _joined(one.fingerprint for one in self._encoders)

    @property
    def earlier_fingerprint(self) -> str:
        """The fingerprint of their earlier ones."""
        return _joined(getattr(one, "earlier_fingerprint", one.fingerprint) for one in self._encoders)

    def module(self) -> "MapsBeside":
        """Return the networks in torch, uint8 images to their map."""
        return MapsBeside([one.module() for one in self._encoders])

    def encode(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return a float32 map (N, all C, h, w) of uint8 RGB (N, H, W, 3). ImageError where cells differ in number."""
        maps = [one.encode(images)[0] for one in self._encoders]
        if len({one.shape[2:] for one in maps}) > 1:
            cells = " and ".join(f"{one.shape[2]}x{one.shape[3]}" for one in maps)
            raise ImageError(f"policy.vision.encoders see {cells} cells of an image, expected equally many")
        return (np.concatenate(maps, 1),)


class MapsBeside(nn.Module):
    """Images to the maps of several networks as one."""

    def __init__(self, networks: list[nn.Module]):
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (torch.cat([one(images)[0] for one in self.networks], 1),)
