"""Circles of estimates in images: around the thing, as wide as the estimate, red where nothing was found."""

import numpy as np
import pytest
from playing import SMALL

from sim.core.estimate import Estimate
from sim.envs.regions import UNSURE, draw_regions
from sim.envs.simulation import Simulation, SimulationConfig
from sim.randomize.ranges import nominal

RADIUS_M, SCALE = 0.05, 6


@pytest.fixture(scope="module")
def world():
    one = Simulation(SimulationConfig("pick_place", nominal(), SMALL))
    one.reset(3)
    yield one
    one.close()


def drawn(world: Simulation, within_m: float) -> tuple[np.ndarray, np.ndarray]:
    """The image with a circle about the cube, and which pixels it changed."""
    black = np.zeros((SCALE * SMALL.height, SCALE * SMALL.width, 3), np.uint8)
    at_w = world.data.xpos[world.scene.objects[0]]
    image = draw_regions(black, world, "front", [Estimate("object", at_w, within_m)])
    assert not black.any()
    return image, image.any(-1)


def test_a_circle_is_about_the_thing(world):
    _, changed = drawn(world, RADIUS_M)
    rows, columns = np.nonzero(changed)
    geoms = world.segment("front")
    seen = np.argwhere(np.isin(geoms, world.scene.object_geoms[0])).mean(0) * SCALE
    middle = np.array([rows.min() + rows.max(), columns.min() + columns.max()]) / 2
    np.testing.assert_allclose(middle, seen, atol=8)
    far_m = np.linalg.norm(world.data.cam_xpos[world.scene.cameras["front"]] - world.data.xpos[world.scene.objects[0]])
    focal = SCALE * SMALL.height / 2 / np.tan(np.deg2rad(world.scene.model.cam_fovy[world.scene.cameras["front"]]) / 2)
    np.testing.assert_allclose(columns.max() - columns.min(), 2 * RADIUS_M * focal / far_m, rtol=0.15)


def test_what_was_not_found_is_red(world):
    image, changed = drawn(world, 1.0)
    assert {tuple(colour) for colour in image[changed]} == {UNSURE}
    image, changed = drawn(world, RADIUS_M)
    assert UNSURE not in {tuple(colour) for colour in image[changed]}
