"""Reach: the hand over the named plate, near its middle and low."""

import mujoco
import numpy as np
import pytest
from playing_tasks import expert_episode, layouts, nominal_world, put_tool

from sim.tasks.base import TASKS


@pytest.fixture(scope="module")
def world():
    """Three plates lie on the table."""
    seed = next(seed for seed in range(99) if len(nominal_world("reach", seed).params.layout.target_xy_m) == 3)
    return nominal_world("reach", seed)


@pytest.mark.parametrize(
    ("plate", "aside_m", "height_m", "done"),
    [
        (0, 0.0, 0.03, True),
        (0, 0.023, 0.05, True),
        (0, 0.028, 0.03, False),
        (0, 0.0, 0.065, False),
        (1, 0.0, 0.03, False),
    ],
)
def test_done_is_low_over_the_middle_of_the_named_plate(world, plate, aside_m, height_m, done):
    x, y = world.params.layout.target_xy_m[plate]
    put_tool(world, [x + aside_m * 0.6, y + aside_m * 0.8, height_m])
    mujoco.mj_forward(world.scene.model, world.data)
    assert world.success() is done


def test_layouts_name_one_plate_and_keep_plates_apart():
    drawn = layouts("reach")
    assert {layout["targets"] for layout in drawn} == {1, 2, 3}
    for layout in drawn:
        colours = layout["target_colours"].split(",")
        xy = np.reshape(layout["target_xy_m"], (-1, 2))
        assert len(set(colours)) == len(colours) == len(xy) == layout["targets"]
        assert colours[0] in layout["instruction"]
        assert not any(colour in layout["instruction"] for colour in colours[1:])
        apart = [np.linalg.norm(a - b) for i, a in enumerate(xy) for b in xy[:i]]
        assert min(apart, default=1.0) >= 0.115
    assert {layout["wording"] for layout in drawn} == set(range(len(TASKS.get("reach").sentences)))


def test_the_expert_gets_there():
    result = expert_episode("reach", 300_001)
    assert result.success and not result.guard.latched
