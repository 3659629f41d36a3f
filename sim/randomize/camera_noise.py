"""What a real camera does to an image: motion blur, exposure, white balance, gamma, sensor noise, JPEG.

`degrade` is pure: the same image, noise and noise seed give the same bytes, so that a replayed or newly rendered
episode shows the very noise that was recorded.
"""

import io
import zlib
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from PIL import Image
from scipy.special import ndtri

from sim.core.errors import UserError

MAX_BLUR_PX = 24.0
KERNEL_UNITS = 256  # weights of a blur are counted in these: integers are fast, and flat areas stay as they are
FEW = 0.1  # of the largest weight in a streak; pixels that weigh less are left out
LEVELS = 256


@dataclass(frozen=True)
class CameraNoise:
    """How one camera degrades its images in one episode. As it is by default it changes nothing."""

    exposure: float = 1.0  # factor on the image's levels
    gamma: float = 1.0  # exponent on levels of 0..1, after exposure and white balance; above 1 darkens middle tones
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)  # factors on red, green, blue
    read_noise: float = 0.0  # standard deviation in levels of 0..255
    blur_px: float = 0.0  # length of the streak that a point leaves
    blur_rad: float = 0.0  # its direction, from image right towards image bottom
    jpeg_quality: int = 0  # 1..95 as libjpeg counts; 0: not compressed

    def __post_init__(self) -> None:
        gains = tuple(float(gain) for gain in self.white_balance)
        object.__setattr__(self, "white_balance", gains)
        factors = {"exposure": self.exposure, "gamma": self.gamma}
        for name, value in (factors | {f"white_balance[{i}]": gain for i, gain in enumerate(gains)}).items():
            _check(name, value, 0.0 < value < np.inf, "a finite value above 0")
        _check("read_noise", self.read_noise, 0.0 <= self.read_noise < np.inf, "a finite value, at least 0")
        _check("white_balance", gains, len(gains) == 3, "a factor each for red, green and blue")
        _check("blur_px", self.blur_px, 0.0 <= self.blur_px <= MAX_BLUR_PX, f"0 to {MAX_BLUR_PX:g}")
        _check("blur_rad", self.blur_rad, bool(np.isfinite(self.blur_rad)), "a finite angle")
        _check("jpeg_quality", self.jpeg_quality, self.jpeg_quality in range(96), "0 (none) or 1 to 95")


def _check(name: str, value: object, right: object, expected: str) -> None:
    if not right:
        raise UserError(f"noise.{name}={value}: expected {expected}")


def noise_rng(seed: int, camera: str, frame: int) -> np.random.Generator:
    """Return the generator of one image's noise: that of `camera` at policy period `frame` of the episode `seed`."""
    return np.random.default_rng([seed, zlib.crc32(camera.encode()), frame])


def degrade(image: np.ndarray, noise: CameraNoise, rng: np.random.Generator) -> np.ndarray:
    """Return an image, uint8 (H, W, 3), with the noise; a new array unless the noise changes nothing.

    In the order in which light meets them: blur, tone (exposure, white balance, gamma), noise, compression.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an image of {image.dtype} {image.shape}: expected uint8 (H, W, 3)")
    if noise.blur_px > 0.0:
        image = _blurred(image, noise.blur_px, noise.blur_rad)
    noisy = noise.read_noise > 0.0
    if noisy or _changes_tone(noise):
        levels = _toned(image, noise)
        image = _with_noise(levels, noise.read_noise, rng) if noisy else np.rint(levels).astype(np.uint8)
    return _compressed(image, noise.jpeg_quality) if noise.jpeg_quality else image


def _changes_tone(noise: CameraNoise) -> bool:
    return (noise.exposure, noise.gamma, *noise.white_balance) != (1.0, 1.0, 1.0, 1.0, 1.0)


def _toned(image: np.ndarray, noise: CameraNoise) -> np.ndarray:
    """Return (H, W, 3) float32 levels within 0..255."""
    curves = _tone_curves(noise.exposure, noise.gamma, noise.white_balance)
    return np.take(curves, image + _channel_start(image.shape), mode="clip")  # numpy is fastest in this mode


@lru_cache(maxsize=8)
def _channel_start(shape: tuple[int, ...]) -> np.ndarray:
    """Return each pixel's start in the curves, uint16 of `shape`; written out, adding is five times faster."""
    return np.broadcast_to(LEVELS * np.arange(3, dtype=np.uint16), shape).copy()


@lru_cache(maxsize=64)
def _tone_curves(exposure: float, gamma: float, white_balance: tuple[float, float, float]) -> np.ndarray:
    """Return (3 * 256,) float32: what becomes of each level of red, then green, then blue."""
    light = np.outer(white_balance, exposure * np.arange(LEVELS) / (LEVELS - 1))
    curves = (LEVELS - 1) * np.minimum(light, 1.0) ** gamma
    return curves.ravel().astype(np.float32)


def _with_noise(levels: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Add normal noise of standard deviation `sigma`, rounded and clipped."""
    draw = np.take(_normal_quantiles(), rng.integers(0, 1 << 16, levels.shape, np.uint16), mode="clip")
    draw *= np.float32(sigma)
    draw += levels
    np.rint(draw, out=draw)
    return np.clip(draw, 0, LEVELS - 1, out=draw).astype(np.uint8)


@cache
def _normal_quantiles() -> np.ndarray:
    """Return (65536,) float32. Picked by 16 random bits, normal up to 4.3 sigma, four times faster than drawn."""
    return ndtri((np.arange(1 << 16) + 0.5) / (1 << 16)).astype(np.float32)


def _blurred(image: np.ndarray, length_px: float, angle_rad: float) -> np.ndarray:
    """Return the mean along a straight streak centred on each pixel; the border's pixels go on beyond it."""
    height, width, _ = image.shape
    taps = _streak(length_px, angle_rad)
    reach = max(max(abs(row), abs(column)) for row, column, _ in taps)
    wide = _bordered(image, reach)
    total = np.full(image.shape, KERNEL_UNITS // 2, np.uint16)
    for row, column, units in taps:
        top, left = reach + row, reach + column
        total += np.uint16(units) * wide[top : top + height, left : left + width]
    return (total // KERNEL_UNITS).astype(np.uint8)


def _bordered(image: np.ndarray, reach: int) -> np.ndarray:
    """Return (H + 2 reach, W + 2 reach, 3) uint16, the border's pixels repeated; np.pad takes three times as long."""
    height, width, _ = image.shape
    wide = np.empty((height + 2 * reach, width + 2 * reach, 3), np.uint16)
    wide[reach : reach + height, reach : reach + width] = image
    wide[:, :reach], wide[:, reach + width :] = wide[:, reach, None], wide[:, reach + width - 1, None]
    wide[:reach], wide[reach + height :] = wide[reach], wide[reach + height - 1]
    return wide


@lru_cache(maxsize=64)
def _streak(length_px: float, angle_rad: float) -> tuple[tuple[int, int, int], ...]:
    """Return (row, column, units) of a line through the origin, spread bilinearly; the units sum up to KERNEL_UNITS."""
    along = length_px * (np.arange(512) + 0.5 - 256) / 512
    points = np.column_stack([along * np.sin(angle_rad), along * np.cos(angle_rad)])
    reach = int(length_px / 2) + 2
    weights = np.zeros((2 * reach + 1, 2 * reach + 1))
    corner = np.floor(points).astype(int)
    part = points - corner
    for row in (0, 1):
        for column in (0, 1):
            share = np.abs(1 - row - part[:, 0]) * np.abs(1 - column - part[:, 1])
            np.add.at(weights, (corner[:, 0] + row + reach, corner[:, 1] + column + reach), share / len(points))
    weights[weights < FEW * weights.max()] = 0.0
    units = np.rint(weights * (KERNEL_UNITS / weights.sum())).astype(int)
    units[reach, reach] += KERNEL_UNITS - units.sum()
    return tuple((int(row - reach), int(column - reach), int(units[row, column])) for row, column in np.argwhere(units))


def _compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """Return the image through JPEG and back, colour at half resolution as cameras do."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.array(Image.open(file, formats=("JPEG",)))
