"""Images as they are, for a fusion that has a network of its own for them."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from policies.core.parts import VisionConfig
from policies.core.registry import VISION


@VISION.register("pixels")
@dataclass(frozen=True)
class PixelsConfig(VisionConfig):
    """No encoder: the fusion sees the pixels."""

    name: str = "pixels"

    @property
    def channels(self) -> tuple[int, ...]:
        return (3,)

    def build(self, threads: int = 1) -> "Pixels":
        return Pixels()


class Pixels:
    """Hands images on."""

    fingerprint = "pixels"

    def module(self) -> nn.Module:
        """Return the same in torch."""
        return HandOn()

    def encode(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return uint8 RGB (N, H, W, 3) unchanged; a copy of what is read-only: torch warns of that."""
        return (np.require(images, requirements="W"),)


class HandOn(nn.Module):
    """Images as the only map."""

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (images,)
