"""Press a button: the named one by half of its travel, no other; a spring brings it back."""

import mujoco
import numpy as np
import pytest
from playing_tasks import expert_episode, layouts, nominal_world, put_tool

from sim.tasks import press_button


@pytest.fixture
def world():
    """Three buttons stand on the table."""
    seed = next(seed for seed in range(99) if len(nominal_world("press_button", seed).params.layout.target_xy_m) == 3)
    return nominal_world("press_button", seed)


@pytest.mark.parametrize(
    ("depths_m", "done"),
    [
        ((0.0, 0.0, 0.0), False),
        ((0.005, 0.0, 0.0), True),
        ((0.003, 0.0, 0.0), False),
        ((0.0, 0.005, 0.0), False),
        ((0.008, 0.0, 0.005), False),
    ],
)
def test_done_is_the_named_button_pressed_and_no_other(world, depths_m, done):
    for i, depth_m in enumerate(depths_m):
        world.data.joint(f"button_{i}").qpos[0] = depth_m
    mujoco.mj_forward(world.scene.model, world.data)
    assert world.success() is done


def test_a_spring_carries_the_cap_and_brings_it_back(world):
    world.step(200)
    assert press_button.depth_m(world.scene_state, 0) == pytest.approx(0.0, abs=2e-4)
    world.data.joint("button_0").qpos[0] = 0.008
    world.step(250)
    assert press_button.depth_m(world.scene_state, 0) == pytest.approx(0.0, abs=2e-4)


def test_a_closed_hand_holds_the_button_down(world):
    x, y = world.params.layout.target_xy_m[0]
    put_tool(world, [x, y, 0.040 + 0.010 + 0.01], opening=0.0)  # 10 mm above: tips are 10 mm below the tool point
    world.step(100)
    assert not world.success()
    put_tool(world, [x, y, 0.040 + 0.010 - 0.006], opening=0.0)
    world.step(200)
    assert world.success()
    assert press_button.depth_m(world.scene_state, 0) == pytest.approx(0.006, abs=0.0015)
    # The spring: 400 N/m from a preload of 5 mm.
    assert world.data.joint("button_0").qfrc_passive[0] == pytest.approx(-400 * (0.006 + 0.005), rel=0.15)


def test_a_hand_on_the_housing_presses_nothing(world):
    x, y = world.params.layout.target_xy_m[0]
    put_tool(world, [x + 0.04, y, 0.045], opening=0.0)
    world.step(200)
    assert not world.success()


def test_layouts_name_one_button_and_keep_buttons_apart():
    drawn = layouts("press_button")
    assert {layout["targets"] for layout in drawn} == {1, 2, 3}
    for layout in drawn:
        colours = layout["target_colours"].split(",")
        xy = np.reshape(layout["target_xy_m"], (-1, 2))
        assert len(set(colours)) == len(colours) == len(xy) == layout["targets"] == len(layout["target_yaw_rad"])
        assert colours[0] in layout["instruction"]
        assert not any(colour in layout["instruction"] for colour in colours[1:])
        apart = [np.linalg.norm(a - b) for i, a in enumerate(xy) for b in xy[:i]]
        assert min(apart, default=1.0) >= 0.115


def test_the_expert_presses_it():
    result = expert_episode("press_button", 300_001)
    assert result.success and not result.guard.latched


def test_pressing_one_after_the_other_is_no_success(world):
    """The world remembers once in every policy period, as the loop has it."""

    def press(*depths_m: float) -> None:
        for i, depth_m in enumerate(depths_m):
            world.data.joint(f"button_{i}").qpos[0] = depth_m
        mujoco.mj_forward(world.scene.model, world.data)
        world.remember()

    task, state = world.task, world.scene_state
    press(0.0, 0.0005, 0.0)
    assert task.failure(state) == ""
    press(0.0, 0.002, 0.0)  # not pressed yet: who looks on can still step in
    assert task.failure(state) == "wrong button"
    press(0.005, 0.0, 0.0)
    assert world.success()
    press(0.0, 0.005, 0.0)
    press(0.005, 0.0, 0.0)
    assert not world.success()
