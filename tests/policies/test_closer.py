"""The closer look for pixels: what it is shown, that it learns, and that the shipped eye is better for it."""

import numpy as np
import pytest
import torch
from fr3 import FR3

from policies.eye import pixel
from policies.eye.description import describe
from policies.eye.pixel import PixelView
from policies.eye.trunk import CELLS, SIDE
from policies.eye.view import Heat
from policies.eye_training import pixel as training
from policies.eye_training.load import load_eye
from policies.eye_training.pixel import Things, fit_pixels, near_cut_outs
from policies.fusion.eye import EyeFusionConfig
from policies.language.minilm import MiniLmConfig
from policies.pretrain_eye import untrained_eye
from policies.scenes.looks import CHUNK, ChunkWriter, SceneConfig
from policies.scenes.table import LookTable
from sim.core.paths import ASSETS
from sim.randomize.ranges import RandomizeConfig

FRESH = 950_000_000


def heat_at(at: np.ndarray) -> Heat:
    """Heat (B, Q) that falls off around pixels `at` (B, Q, 2) in units of the side."""
    centres = (np.stack(np.meshgrid(np.arange(CELLS), np.arange(CELLS)), -1).reshape(-1, 2) + 0.5) / CELLS
    away = CELLS * np.linalg.norm(centres - at[:, :, None], axis=-1)
    logits = np.concatenate([-3 * away, np.zeros((*at.shape[:2], 1))], -1)
    ones = torch.ones(at.shape[:2])
    return Heat(torch.tensor(logits).float(), torch.tensor(at).float(), torch.full(at.shape, -5.0), ones)


def images_of(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def test_a_cut_out_is_the_image_around_the_found_pixel_and_as_its_border_beyond_it():
    at = np.array([[[102 / SIDE, 62 / SIDE], [2 / SIDE, 190 / SIDE]]])
    image = images_of(1)
    shown = PixelView(5).cut_outs(torch.tensor(image), heat_at(at))
    padded = np.pad(image[0], ((16, 16), (16, 16), (0, 0)), mode="edge")
    for one, (x, y) in zip(shown, ((102, 62), (2, 190)), strict=True):
        there = padded[y : y + 32, x : x + 32].transpose(2, 0, 1) / 127.5 - 1
        np.testing.assert_allclose(one[:3], there, atol=1e-4)
        assert one[3].argmax() in (15 * 32 + 15, 15 * 32 + 16, 16 * 32 + 15, 16 * 32 + 16)


def test_training_shows_what_acting_does():
    """Patches and a part of the heat are kept in training; of them the same cut-outs are made."""
    at = np.random.default_rng(2).uniform(0.02, 0.98, (4, 3, 2))
    images, view, heat = images_of(4), PixelView(3), heat_at(at)
    about = torch.eye(3).expand(4, -1, -1)
    things = training._shown(np.arange(4), heat, torch.tensor(at).float(), about)
    near = near_cut_outs(view, images[:, None], 0, things, things.found)
    torch.testing.assert_close(near, view.cut_outs(torch.tensor(images), heat), atol=2e-3, rtol=0)
    assert torch.equal(things.about, about.flatten(0, 1)) and things.row.tolist() == np.repeat(np.arange(4), 3).tolist()


def test_untrained_it_leaves_all_as_it_is_and_never_moves_a_pixel_far():
    heat, images, about = heat_at(np.full((2, 3, 2), 0.4)), torch.tensor(images_of(2)), torch.rand(2, 3, 7)
    view = PixelView(7).eval()
    closer = view(images, heat, about)
    torch.testing.assert_close(closer.pixel, heat.pixel)
    torch.testing.assert_close(closer.spread, heat.spread)
    view.out[-1].bias.data[:] = 100.0
    far = view(images, heat, about).pixel - heat.pixel
    np.testing.assert_allclose(far.detach(), pixel.FARTHEST, rtol=1e-4)


def test_each_thing_is_looked_at_by_itself():
    view, images = PixelView(7).eval(), torch.tensor(images_of(2))
    torch.nn.init.normal_(view.out[-1].weight)
    at, about = np.random.default_rng(3).uniform(0.2, 0.8, (2, 3, 2)), torch.rand(2, 3, 7)
    together = view(images, heat_at(at), about).pixel
    for q in range(3):
        alone = view(images, heat_at(at[:, q : q + 1]), about[:, q : q + 1]).pixel
        torch.testing.assert_close(alone[:, 0], together[:, q], atol=1e-5, rtol=1e-5)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A hundred scenes that the shipped eye was not trained on."""
    folder = tmp_path_factory.mktemp("scenes")
    ChunkWriter(SceneConfig(("pick_place",), (RandomizeConfig(),), first_seed=FRESH), folder)(0)
    return folder


def table_of(folder, eye) -> LookTable:
    words = MiniLmConfig().build()
    return LookTable(folder, 1, len(FR3.cameras), FR3.action_dim, eye.mixer.arm.landmarks, words)


def test_it_is_learned_from_what_an_eye_finds_in_labelled_scenes(fresh, monkeypatch):
    """Of things placed 2 px aside by a known shift: it learns to bring them back, as nothing else tells it to."""
    monkeypatch.setattr(training, "STEPS", 80)
    monkeypatch.setattr(training, "BATCH", 32)
    eye = untrained_eye(EyeFusionConfig(), FR3)
    describe(eye.mixer.arm, eye.mixer.cameras, FR3)
    shift = torch.tensor([2.0, -1.0]) / SIDE
    given = training._shown

    def aside(rows, heat, true, about) -> Things:
        found = given(rows, heat, true, about)
        found.found = (found.true + shift).clamp(0.2, 0.8)
        found.true = found.found - shift
        return found

    monkeypatch.setattr(training, "_shown", aside)
    lines = []
    fit_pixels(eye, table_of(fresh, eye), np.arange(40), lambda step, parts: lines.append((step, parts["pixel"])))
    assert eye.closer is not None and not eye.closer.training
    assert [step for step, _ in lines] == [0, 0]  # what is named, the arm
    view = eye.closer.arm["front"]
    eye.closer = None
    some = next(training._things(eye, table_of(fresh, eye), np.arange(20), 0, arm=True))
    cut_outs = near_cut_outs(view, table_of(fresh, eye).rows["images"], 0, some, some.found)
    moved, _ = view.read(cut_outs, some.spread, some.about)
    assert (SIDE * (moved + shift)).abs().median() < 0.5


@torch.no_grad()
def test_the_shipped_eye_finds_pixels_better_with_it(fresh):
    eye = load_eye(ASSETS / "eye", FR3).fusion.finder
    batch = table_of(fresh, eye).batch(np.arange(CHUNK), np.random.default_rng(0))
    queries, images = eye.network.read(batch.words, batch.word_mask), {"front": batch.images[:, 0]}
    closer = eye.views(images, queries)["front"]
    eye.closer = None
    coarse = eye.views(images, queries)["front"]
    for kind, true in (("roles", batch.pixels[:, 0]), ("arm", batch.arm_pixels[:, 0])):
        inside = ((true > 0) & (true < 1)).all(-1)
        before, after = (
            SIDE * (getattr(view, kind).pixel - true)[inside].norm(dim=-1).median() for view in (coarse, closer)
        )
        assert after < 0.75 * before, kind
