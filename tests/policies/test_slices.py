"""Slices: what decides the outcome comes out on top, with the counts of the episodes."""

from dataclasses import replace

import numpy as np
import pytest
from fr3 import FR3

from policies.evaluation.slices import Slice, axes, parts_of, slices
from sim.randomize.episode_params import EpisodeParams
from sim.randomize.randomization import draw_randomization
from sim.randomize.ranges import RandomizeConfig
from sim.scene.cabinet import DrawerLayout
from sim.tasks.base import TASKS

RANGES = RandomizeConfig()


def episodes(n: int) -> list[EpisodeParams]:
    rng, task = np.random.default_rng(0), TASKS.get("pick_place")
    return [EpisodeParams(task.draw_layout(rng, RANGES), draw_randomization(rng, RANGES, FR3, 3, 3)) for _ in range(n)]


def test_the_axis_that_decides_is_the_worst():
    played = episodes(300)
    strengths = np.array([params.randomization.light_strength for params in played])
    found = slices(played, list(strengths >= np.quantile(strengths, 1 / 3)), FR3)
    assert (found[0].axis, found[0].n, found[0].successes) == ("light_strength", 100, 0)
    assert found[0].value.startswith("0.4")


def test_colours_and_counts_are_slices_of_their_own():
    played = episodes(300)
    found = slices(played, [params.layout.object_colours[0] != "white" for params in played], FR3)
    assert (found[0].axis, found[0].value, found[0].successes) == ("object_colour", "white", 0)
    assert {one.value for one in found if one.axis == "objects"} == {"1", "2", "3"}


def test_every_axis_covers_all_episodes():
    found = slices(episodes(300), [True] * 300, FR3)
    for axis in {one.axis for one in found}:
        assert sum(one.n for one in found if one.axis == axis) == 300, axis


def test_only_the_named_object_counts():
    names = axes(episodes(1)[0], FR3)
    assert "object_mass_kg" in names and not any(name.startswith("object_mass_kg ") for name in names)
    assert {"front_pos_m x", "front_pos_m y", "front_pos_m z"} <= set(names) and "instruction" not in names


def test_values_of_a_list_are_named_by_what_they_belong_to():
    """Two objects and three things nobody asked for: lengths alone would call them x, y, z or the cameras."""
    params = episodes(1)[0]
    layout = replace(
        params.layout, object_xy_m=((-0.3, 0.1), (-0.4, 0.2)), target_xy_m=((-0.5, 0.0),),
        distractor_xy_m=((1.0, 2.0), (3.0, 4.0)), distractor_yaw_rad=(0.1, 0.2),
    )  # fmt: skip
    randomization = replace(
        params.randomization,
        light_strengths=(0.2, 0.3, 0.4),
        exposure=(1.0, 1.1),
        white_balance=((1.0, 1.1), (1.2, 1.3)),
    )
    found = axes(EpisodeParams(layout, randomization), FR3)
    assert (found["object_xy_m x"], found["object_xy_m y"]) == (-0.3, 0.1)  # the named object's alone
    assert (found["target_xy_m x"], found["target_xy_m y"]) == (-0.5, 0.0)
    assert [name for name in found if name.startswith("distractor_xy_m")] == [f"distractor_xy_m {i}" for i in range(4)]
    assert {"distractor_yaw_rad 0", "distractor_yaw_rad 1", "light_strengths 2", "light_tint blue"} <= set(found)
    assert (found["exposure front"], found["exposure wrist"], found["white_balance wrist red"]) == (1.0, 1.1, 1.2)
    assert "joint_damping j6" in found and not {"joint_damping 0", "exposure 0", "white_balance 0"} & set(found)


def test_every_drawn_list_that_is_named_has_as_many_values_as_names():
    record = episodes(1)[0].to_record()
    for name, parts in parts_of(FR3).items():
        if name not in ("object_xy_m", "target_xy_m"):
            assert len(record[name]) == len(parts), name


def test_a_slice_states_its_interval():
    assert str(Slice("cubes", "3", 100, 80)) == "cubes 3: 80% of 100 (71% to 87%)"
    assert Slice("cubes", "3", 100, 80).interval == pytest.approx((0.7112, 0.8666), abs=1e-4)  # Wilson's formula


def test_nothing_played_has_no_slices():
    assert slices([], [], FR3) == []


def test_a_task_without_objects_is_sliced_by_its_named_target():
    layout = DrawerLayout(
        instruction="open the red drawer", wording=0, target_colours=("red", "blue"), drawer_open_m=(0.08, 0.0),
        drawer_friction_n=(1.0, 2.0), drawer_damping_n_s_m=(5.0, 6.0),
    )  # fmt: skip
    randomization = draw_randomization(np.random.default_rng(0), RANGES, FR3, 0, 2)
    found = axes(EpisodeParams(layout, randomization), FR3)
    assert (found["drawer_open_m"], found["drawer_friction_n"], found["target_colour"]) == (0.08, 1.0, "red")
    assert not {"object_colour", "object_scale"} & set(found)
