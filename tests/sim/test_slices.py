"""Slices: what decides the outcome comes out on top, with the counts of the episodes."""

import numpy as np
import pytest
from fr3 import FR3

from sim.episode.slices import Slice, axes, parts_of, slices
from sim.randomize.ranges import RandomizeConfig, draw
from sim.tasks.base import TASKS

RANGES = RandomizeConfig()


def draws(n: int) -> list[dict]:
    rng = np.random.default_rng(0)
    return [
        {**TASKS.get("pick_place").draw_layout(rng, RANGES).to_record(), **draw(rng, RANGES, FR3, 3, 3)}
        for _ in range(n)
    ]


def test_the_axis_that_decides_is_the_worst():
    episodes = draws(300)
    dark = np.quantile([one["light_strength"] for one in episodes], 1 / 3)
    found = slices(episodes, [one["light_strength"] >= dark for one in episodes], FR3)
    assert (found[0].axis, found[0].n, found[0].successes) == ("light_strength", 100, 0)
    assert found[0].value.startswith("0.4")


def test_colours_and_counts_are_slices_of_their_own():
    episodes = draws(300)
    found = slices(episodes, [not one["object_colours"].startswith("white") for one in episodes], FR3)
    assert (found[0].axis, found[0].value, found[0].successes) == ("object_colour", "white", 0)
    assert {one.value for one in found if one.axis == "objects"} == {"1", "2", "3"}


def test_every_axis_covers_all_episodes():
    found = slices(draws(300), [True] * 300, FR3)
    for axis in {one.axis for one in found}:
        assert sum(one.n for one in found if one.axis == axis) == 300, axis


def test_only_the_named_object_counts():
    names = axes(draws(1)[0], FR3)
    assert "object_mass_kg" in names and not any(name.startswith("object_mass_kg ") for name in names)
    assert {"front_pos_m x", "front_pos_m y", "front_pos_m z"} <= set(names) and "instruction" not in names


def test_values_of_a_list_are_named_by_what_they_belong_to():
    """Two objects and three things nobody asked for: lengths alone would call them x, y, z or the cameras."""
    drawn = {
        "object_xy_m": [-0.3, 0.1, -0.4, 0.2], "target_xy_m": [-0.5, 0.0], "distractor_xy_m": [1.0, 2.0, 3.0, 4.0],
        "distractor_yaw_rad": [0.1, 0.2], "light_tint": [1.0, 0.9, 0.8], "light_strengths": [0.2, 0.3, 0.4],
        "exposure": [1.0, 1.1], "white_balance": [1.0, 1.1, 1.2, 1.3], "joint_damping": [1.0] * 6,
    }  # fmt: skip
    found = axes(drawn, FR3)
    assert (found["object_xy_m x"], found["object_xy_m y"]) == (-0.3, 0.1)  # the named object's alone
    assert (found["target_xy_m x"], found["target_xy_m y"]) == (-0.5, 0.0)
    assert [name for name in found if name.startswith("distractor_xy_m")] == [f"distractor_xy_m {i}" for i in range(4)]
    assert {"distractor_yaw_rad 0", "distractor_yaw_rad 1", "light_strengths 2", "light_tint blue"} <= set(found)
    assert (found["exposure front"], found["exposure wrist"], found["white_balance wrist red"]) == (1.0, 1.1, 1.2)
    assert "joint_damping j6" in found and len(found) == 28  # 2 + 2 + 4 + 2 + 3 + 3 + 2 + 4 + 6


def test_every_drawn_list_that_is_named_has_as_many_values_as_names():
    drawn = draws(1)[0]
    for name, parts in parts_of(FR3).items():
        if name not in ("object_xy_m", "target_xy_m"):
            assert len(drawn[name]) == len(parts), name


def test_a_slice_states_its_interval():
    assert str(Slice("cubes", "3", 100, 80)) == "cubes 3: 80% of 100 (71% to 87%)"
    assert Slice("cubes", "3", 100, 80).interval == pytest.approx((0.7112, 0.8666), abs=1e-4)  # Wilson's formula


def test_nothing_played_has_no_slices():
    assert slices([], [], FR3) == []


def test_a_task_without_objects_is_sliced_by_its_named_target():
    layout = {"object_colours": "", "object_scale": [], "drawer_open_m": [0.08, 0.0], "target_colours": "red,blue"}
    assert axes(layout, FR3) == {"object_colour": "", "drawer_open_m": 0.08, "target_colour": "red"}
