"""Frozen image encoder: EfficientNet-Lite0 up to stride 16, as two feature maps per image.

Maps and not the pooled vector, because a pooled vector has lost where things are. The trunk is
exported once from torch to ONNX and run by onnxruntime, several times faster than eager torch on a
CPU core. Weights: a pinned package or, by configuration, a timm model of the Hugging Face hub.

Shapes: N images, H and W pixels, C8 channels of the fine map at stride 8 (Lite0: 4 x 24 of stride 4
below it and 40 of its own), C16 of the coarse map at stride 16 (112).
"""

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from policies.core.parts import VisionConfig
from policies.core.registry import VISION
from policies.pretrained.weights import WeightsError, atomic_file, cache_dir
from policies.vision.sources import Trunk, build_trunk, find_weights, map_channels
from sim.core.errors import UserError
from sim.core.options import Each, option

SOURCE = Each(lambda value: value == "package" or value.startswith("timm:"), "package or timm:MODEL")
# Raise it whenever the exported graph changes: as part of the fingerprint it retires old caches.
GRAPH_VERSION = 2
STRIDE = 16
# Small chunks keep the activations of a long encode in the processor's cache.
CHUNK = 8


def export_onnx(trunk: Trunk, target: Path) -> None:
    """Write the trunk as ONNX, atomically; batch, height and width (multiples of 16) stay free."""
    sample = torch.zeros(2, 96, 128, 3, dtype=torch.uint8)
    axes = {"images": [0, 1, 2], "stride8": [0, 2, 3], "stride16": [0, 2, 3]}
    with atomic_file(target) as part, warnings.catch_warnings():
        # The tracing exporter is called deprecated, but its successor takes half a minute instead
        # of half a second here, and did not end in minutes for timm's efficientnet_lite0.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            trunk,
            (sample,),
            part,
            input_names=["images"],
            output_names=["stride8", "stride16"],
            dynamic_axes=axes,
            dynamo=False,
        )
        check_export(trunk, part)


def check_export(trunk: Trunk, path: Path) -> None:
    """Raise WeightsError unless the graph agrees with torch at a size it was not traced at.

    A trace freezes what a network computes in Python from the size of its input.
    """
    images = np.random.default_rng(0).integers(0, 256, (1, 112, 80, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = [maps.numpy() for maps in trunk(torch.from_numpy(images))]
    found = run_graph(open_session(path, threads=1), images)
    for maps, wanted in zip(found, expected, strict=True):
        if maps.shape != wanted.shape or np.abs(maps - wanted).max() > 1e-3 * np.abs(wanted).max():
            raise WeightsError("the ONNX graph of this network differs from torch; use another one")


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Return a CPU session whose threads sleep between calls, so that processes do not slow each other."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_graph(session: onnxruntime.InferenceSession, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both float32 maps of uint8 images (N, H, W, 3)."""
    stride8, stride16 = session.run(None, {"images": np.ascontiguousarray(images)})
    return np.asarray(stride8), np.asarray(stride16)


class ImageError(UserError, ValueError):
    """Images that cannot be encoded."""


def check_images(images: np.ndarray) -> None:
    """ImageError unless `images` is uint8 (N, H, W, 3), H and W multiples of 16, not 0."""
    expected = f"expected uint8 (N, H, W, 3) with H and W multiples of {STRIDE}"
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ImageError(f"images are {images.dtype} {images.shape}, {expected}")
    if 0 in images.shape[1:3] or images.shape[1] % STRIDE or images.shape[2] % STRIDE:
        raise ImageError(f"images are {images.shape[1]}x{images.shape[2]} pixels, {expected}")


@VISION.register("efficientnet")
@dataclass(frozen=True)
class EfficientNetConfig(VisionConfig):
    """EfficientNet-Lite0 of the pinned package, or another network of timm."""

    name: str = "efficientnet"
    source: str = option("package", "of the weights", SOURCE)
    sha256: str | None = option(None, "of the weight file; timm needs it")

    @property
    def channels(self) -> tuple[int, ...]:
        return map_channels(self.source)

    def build(self, threads: int = 1) -> "FrozenVision":
        return FrozenVision(self.source, threads, self.sha256)


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
        self.source, self._weights = source, weights
        identity = f"{source} {digest} {GRAPH_VERSION}"
        self._fingerprint = hashlib.sha256(identity.encode()).hexdigest()[:12]
        graph = cache_dir() / f"vision-{digest[:8]}-v{GRAPH_VERSION}-{self._fingerprint}.onnx"
        if not graph.is_file():
            export_onnx(build_trunk(source, weights), graph)
        self._session = open_session(graph, threads)
        self.channels = tuple(output.shape[1] for output in self._session.get_outputs())

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits; equal ones mean the same weights and graph."""
        return self._fingerprint

    def module(self) -> Trunk:
        """Return the network in torch, uint8 images to maps: what the graph was exported from."""
        return build_trunk(self.source, self._weights)

    def encode(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return float32 maps (N, C8, H/8, W/8) and (N, C16, H/16, W/16) of uint8 RGB (N, H, W, 3).

        ImageError for another dtype or shape. May be called from several threads at once.
        """
        check_images(images)
        count, height, width, _ = images.shape
        stride8 = np.empty((count, self.channels[0], height // 8, width // 8), np.float32)
        stride16 = np.empty((count, self.channels[1], height // 16, width // 16), np.float32)
        for start in range(0, count, CHUNK):
            part = slice(start, start + CHUNK)
            stride8[part], stride16[part] = run_graph(self._session, images[part])
        return stride8, stride16
