"""The camera's faults: nothing when neutral, the statistics and colours that were asked for, the same noise again."""

import time

import numpy as np
import pytest

from sim.core.errors import UserError
from sim.randomize.camera_noise import CameraNoise, degrade, noise_rng

ALL_ON = CameraNoise(1.1, 0.9, (1.1, 1.0, 0.9), read_noise=2.0, blur_px=4.0, blur_rad=0.6, jpeg_quality=70)


def shown(image: np.ndarray, noise: CameraNoise, seed: int = 0) -> np.ndarray:
    return degrade(image, noise, noise_rng(seed, "front", 3))


def flat(level, size: int = 96) -> np.ndarray:
    return np.full((size, size, 3), level, np.uint8)


@pytest.fixture(scope="module")
def picture():
    """A smooth wave with a bright square on it."""
    y, x = np.mgrid[:96, :96] / 96
    image = 110 + 60 * np.stack([np.sin(6 * x), np.cos(5 * y), np.sin(4 * (x + y))], axis=-1)
    image[30:50, 40:60] = (230, 200, 40)
    return image.astype(np.uint8)


def test_a_neutral_lens_changes_no_bit(picture):
    np.testing.assert_array_equal(shown(picture, CameraNoise()), picture)


def test_it_leaves_the_picture_it_was_given(picture):
    before = picture.copy()
    shown(picture, ALL_ON)
    np.testing.assert_array_equal(picture, before)


# ---- tone ----------------------------------------------------------------------------------------


def test_exposure_white_balance_and_gamma_by_hand():
    noise = CameraNoise(exposure=1.2, gamma=2.0, white_balance=(1.0, 0.5, 2.0))
    # 100 * 1.2 = 120; 60; 240 of 255, squared as parts of 255
    assert shown(flat(100), noise)[0, 0].tolist() == [round(120**2 / 255), round(60**2 / 255), round(240**2 / 255)]


def test_what_is_too_bright_clips_to_white():
    assert (shown(flat(200), CameraNoise(exposure=1.5)) == 255).all()


def test_a_white_balance_is_undone_by_its_inverse(picture):
    warm = shown(picture, CameraNoise(white_balance=(1.1, 1.0, 0.8)))
    np.testing.assert_allclose(shown(warm, CameraNoise(white_balance=(1 / 1.1, 1.0, 1 / 0.8))), picture, atol=1)


# ---- noise ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "read"), [(128, 3.0), (60, 2.0), (180, 5.0)])
def test_noise_has_the_mean_and_variance_asked_for(level, read):
    noise = shown(flat(level, 300), CameraNoise(read_noise=read)).astype(float) - level
    variance = read**2 + 1 / 12  # and that of rounding
    assert noise.mean() == pytest.approx(0.0, abs=4 * np.sqrt(variance / noise.size))
    assert noise.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / noise.size))


def test_noise_is_normal_and_no_pixel_knows_another():
    noise = shown(flat(128, 300), CameraNoise(read_noise=8.0)).astype(float) - 128
    for sigmas, share in ((1.0, 0.6827), (2.0, 0.9545)):  # of a normal distribution
        inside = (np.abs(noise) < 8.0 * sigmas).mean() + (np.abs(noise) == 8.0 * sigmas).mean() / 2
        assert inside == pytest.approx(share, abs=0.004)
    for one, other in ((noise[1:], noise[:-1]), (noise[:, 1:], noise[:, :-1]), (noise[..., 0], noise[..., 1])):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] == pytest.approx(0.0, abs=0.012)


def test_the_same_picture_of_an_episode_has_the_same_noise(picture):
    def noisy(*where) -> np.ndarray:
        return degrade(picture, ALL_ON, noise_rng(*where))

    first = noisy(12, "front", 7)
    np.testing.assert_array_equal(noisy(12, "front", 7), first)
    for other in ((13, "front", 7), (12, "wrist", 7), (12, "front", 8)):
        assert (noisy(*other) != first).mean() > 0.5


# ---- motion blur ---------------------------------------------------------------------------------


@pytest.mark.parametrize("length_px", [2.0, 5.0, 12.0])
@pytest.mark.parametrize("angle_deg", [0, 30, 90, 135, -60])
def test_a_point_becomes_a_streak_of_that_length_and_direction(length_px, angle_deg):
    image = flat(0, 65)
    image[32, 32] = 255
    streak = shown(image, CameraNoise(blur_px=length_px, blur_rad=np.deg2rad(angle_deg)))[..., 0].astype(float)
    assert streak.sum() == pytest.approx(255, rel=0.06)
    rows, columns = np.mgrid[:65, :65] - 32
    along = columns * np.cos(np.deg2rad(angle_deg)) + rows * np.sin(np.deg2rad(angle_deg))
    across = -columns * np.sin(np.deg2rad(angle_deg)) + rows * np.cos(np.deg2rad(angle_deg))
    mean = np.average(along, weights=streak)
    spread = np.average((along - mean) ** 2, weights=streak)
    assert mean == pytest.approx(0.0, abs=0.15)
    assert np.sqrt(12 * spread) == pytest.approx(length_px, abs=0.6)  # of a uniform streak
    assert np.average(across**2, weights=streak) < 0.35


def test_blur_keeps_flat_areas_and_their_mean(picture):
    np.testing.assert_array_equal(shown(flat(137), CameraNoise(blur_px=7.3, blur_rad=1.0)), flat(137))
    blurred = shown(picture, CameraNoise(blur_px=6.0, blur_rad=0.4)).astype(float)
    assert blurred.mean() == pytest.approx(picture.mean(), abs=0.5)
    edge = np.s_[35:45, 36:44, 0]
    assert (
        np.abs(np.diff(blurred[edge], axis=1)).max() < 0.4 * np.abs(np.diff(picture[edge].astype(float), axis=1)).max()
    )


# ---- compression ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("quality", "step"), [(10, 80 / 8), (50, 16 / 8), (95, 2 / 8)])
def test_jpeg_of_a_flat_grey_picture_is_off_by_half_a_step_at_most(quality, step):
    """`step`: the standard's first luminance quantizer, 16, scaled by libjpeg's quality, over the gain of the DCT."""
    offsets = []
    for level in range(100, 140):
        compressed = shown(flat(level, 16), CameraNoise(jpeg_quality=quality))
        assert np.ptp(compressed) == 0
        offsets.append(abs(int(compressed[0, 0, 0]) - level))
    assert step / 2 - 1 <= max(offsets) <= step / 2 + 0.5


def test_jpeg_loses_more_at_a_lower_quality(picture):
    errors = [np.abs(shown(picture, CameraNoise(jpeg_quality=q)).astype(float) - picture).mean() for q in (10, 40, 90)]
    assert errors[0] > 1.5 * errors[1] > 1.5 * errors[2] > 0
    assert errors[2] < 2.0


# ---- bad input, speed ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"exposure": 0.0}, r"noise\.exposure=0\.0: expected a finite value above 0"),
        ({"gamma": float("nan")}, r"noise\.gamma=nan"),
        ({"white_balance": (1.0, -0.2, 1.0)}, r"noise\.white_balance\[1\]=-0\.2"),
        ({"white_balance": (1.0, 1.0)}, "a factor each for red, green and blue"),
        ({"read_noise": -1.0}, r"noise\.read_noise=-1\.0: expected a finite value, at least 0"),
        ({"blur_px": 30.0}, r"noise\.blur_px=30\.0: expected 0 to 24"),
        ({"blur_rad": float("inf")}, r"noise\.blur_rad=inf"),
        ({"jpeg_quality": 100}, r"noise\.jpeg_quality=100: expected 0 \(none\) or 1 to 95"),
    ],
)
def test_a_lens_that_no_camera_has_is_named(values, message):
    with pytest.raises(UserError, match=message):
        CameraNoise(**values)


@pytest.mark.parametrize("image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32)])
def test_only_rgb_bytes_are_pictures(image):
    with pytest.raises(ValueError, match=r"expected uint8 \(H, W, 3\)"):
        shown(image, ALL_ON)


def test_all_effects_take_less_than_a_picture_does(picture):
    """Half a millisecond on a quiet core; four times that where others compute too."""
    rng, took_s = noise_rng(0, "front", 0), []
    for _ in range(60):
        start = time.perf_counter()
        degrade(picture, ALL_ON, rng)
        took_s.append(time.perf_counter() - start)
    assert min(took_s) < 2e-3
