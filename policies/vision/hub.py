"""Frozen vision transformers of the Hugging Face hub: SigLIP, DINOv2, CLIP, by transformers' own classes.

Images are scaled to the side that the network was trained on; its patches' last states are one map. Slow without a
GPU, and large: 224 pixels make 14x14 cells of 768 numbers, 0.3 MB a frame and camera in the feature cache.

Shapes: N images, H and W pixels, C channels, n patches a side.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from policies.core.parts import VisionConfig
from policies.core.registry import VISION
from policies.pretrained.hub import (
    PREPROCESSOR,
    HubModel,
    KnownByFiles,
    checked_digest,
    gpu_or_cpu,
    hub_config,
    image_settings,
    load_network,
    settings_digest,
)
from policies.pretrained.weights import WeightsError
from sim.core.options import option

CLASSES = {
    "siglip_vision_model": "SiglipVisionModel",
    "clip_vision_model": "CLIPVisionModel",
    "dinov2": "Dinov2Model",
    "dinov2_with_registers": "Dinov2WithRegistersModel",
}
BATCH = 16


@VISION.register("hub_vision")
@dataclass(frozen=True)
class HubVisionConfig(HubModel, VisionConfig):
    """Which network."""

    name: str = "hub_vision"
    source: str = option("google/siglip-base-patch16-224", "a model of the hub, or a folder that holds one")

    @property
    def channels(self) -> tuple[int, ...]:
        return (hub_config(self.folder).hidden_size,)

    def build(self, threads: int = 1) -> "HubVision":
        return HubVision(self)


class Patches(nn.Module):
    """uint8 images (N, H, W, 3) to the last states of their patches as one map (N, C, n, n)."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, side: int, patch: int, mean: list[float], std: list[float]):
        """side: px that images are scaled to; patch: px of a patch; mean and std: of colours, 0..1."""
        super().__init__()
        self.network, self.side, self.patches = network, side, side // patch
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> tuple[Tensor]:
        x = images.permute(0, 3, 1, 2).float() / 255.0
        x = F.interpolate(x, (self.side, self.side), mode="bicubic", antialias=True).clamp(0.0, 1.0)
        states = self.network(pixel_values=(x - self.mean) / self.std).last_hidden_state
        patches = states[:, -(self.patches**2) :]  # tokens of the whole image come before them
        return (patches.transpose(1, 2).unflatten(2, (self.patches, self.patches)),)


def load_patches(folder: Path) -> Patches:
    """Return the network of a folder. WeightsError when it is of no known class, or its images are not described."""
    config = hub_config(folder)
    if config.model_type not in CLASSES:
        raise WeightsError(f"{folder} holds a {config.model_type}, expected one of {', '.join(sorted(CLASSES))}")
    given = image_settings(folder)
    side = given.get("crop_size") or given.get("size")
    side = side.get("height") if isinstance(side, dict) else side  # older files hold the number alone
    if not isinstance(side, int):
        raise WeightsError(f"{folder / PREPROCESSOR} does not say how images are scaled")
    network = load_network(folder, CLASSES[config.model_type])
    return Patches(network, side, config.patch_size, given["image_mean"], given["image_std"]).eval()


class HubVision(KnownByFiles):
    """One map of an image, by a network that is never trained further, on a GPU where there is one."""

    def __init__(self, config: HubVisionConfig):
        folder = config.folder
        digest = checked_digest(folder, config.sha256)
        self._device = gpu_or_cpu()
        self._patches = load_patches(folder).to(self._device)
        self._identity = f"{digest} {self._patches.side}"
        self._settings = settings_digest(folder, image_settings(folder))

    def module(self) -> Patches:
        """Return a copy of the network in torch, uint8 images to its map, on the CPU."""
        return copy.deepcopy(self._patches).cpu()

    @torch.inference_mode()
    def encode(self, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return a float32 map (N, C, n, n) of uint8 RGB (N, H, W, 3)."""
        parts = torch.from_numpy(np.require(images, requirements="W")).split(BATCH)
        maps = (self._patches(part.to(self._device))[0] for part in parts)
        return (np.concatenate([one.float().cpu().numpy() for one in maps]),)  # may be stored in bfloat16
