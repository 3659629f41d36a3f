"""Held-out splits: disjoint from training by what is drawn, reachable, and never collected from."""

import re

import numpy as np
import pytest

from rl.correct import CorrectConfig
from sim.collect import CollectConfig
from sim.core.config import load
from sim.core.errors import UserError
from sim.envs import simulation
from sim.envs.simulation import Simulation, SimulationConfig
from sim.randomize.episode_params import EpisodeParams
from sim.randomize.splits import AXES, PARTS, SplitConfig
from sim.view import ViewConfig

WIDE = ["randomize=full", "randomize.shapes=[cube,bowl,mug,can]", "randomize.paraphrase=0.5"]
ANY = SplitConfig("any")


def drawn_episodes(part: str, seeds: range, task: str = "pick_place") -> list[EpisodeParams]:
    ranges = load("view", ViewConfig, WIDE).randomize
    world = Simulation(SimulationConfig(task, randomize=ranges, split=SplitConfig(part)))
    return [world.draw(seed) for seed in seeds]


@pytest.fixture(scope="module")
def drawn() -> dict[str, list[EpisodeParams]]:
    return {part: drawn_episodes(part, range(12)) for part in PARTS}


@pytest.mark.parametrize("task", ["pick_place", "stack", "sort"])
def test_training_shows_nothing_that_is_held_out(task):
    distractors = 0
    for one in (params.to_record() for params in drawn_episodes("train", range(25), task)):
        things = list(zip(one["object_colours"].split(","), one["object_shapes"].split(","), strict=True))
        beside = list(zip(one["distractor_colours"].split(","), one["distractor_shapes"].split(","), strict=True))
        distractors += one["distractors"]
        things += beside
        assert not {"bowl", "screwdriver"} & {shape for _, shape in things}
        assert not {("yellow", "cube"), ("red", "mug"), ("green", "can"), ("blue", "bottle")} & set(things)
        assert not {"move", "want", "shift", "bring"} & set(one["instruction"].split())
        assert one["table_texture"] not in (3, 7, 11, 15)
        begun = np.reshape([*one["object_xy_m"], *one["target_xy_m"]], (-1, 1, 2))
        circles = np.array([(-0.36, 0.13), (-0.30, -0.15)])
        assert (np.linalg.norm(begun - circles, axis=-1) >= 0.045).all()
    assert distractors > 10  # they were there to be looked at


@pytest.mark.parametrize("axis", AXES)
def test_a_held_out_part_differs_from_training_in_its_axis_alone(drawn, axis):
    training = SplitConfig("train")
    for one in drawn[axis]:
        assert getattr(training, f"_in_{axis}")(one)
        assert not any(getattr(training, f"_in_{other}")(one) for other in AXES if other != axis)


def test_the_parts_share_no_episode(drawn):
    for part in ("train", *AXES):
        for other in ("train", *AXES):
            if other != part:
                assert not any(SplitConfig(other).admits(one) for one in drawn[part]), (part, other)
        assert all(ANY.admits(one) for one in drawn[part])


def test_the_same_seed_is_the_same_episode(drawn):
    assert drawn["places"][:3] == drawn_episodes("places", range(3))


def test_held_out_parts_are_never_collected_from():
    for part in (*AXES, "any"):
        with pytest.raises(UserError, match=f"split.part='{part}': training draws from 'train' alone"):
            CollectConfig(split=SplitConfig(part))
        with pytest.raises(UserError, match="training draws from 'train' alone"):
            CorrectConfig(split=SplitConfig(part))


def test_wrong_ones_are_named():
    with pytest.raises(UserError, match="unknown part 'place'.*did you mean 'places'"):
        SplitConfig("place")
    with pytest.raises(UserError, match="places=.*x, y, radius"):
        SplitConfig(places=(0.1, 0.2))


@pytest.mark.parametrize("part", ["pairs", "shapes"])
def test_parts_of_objects_are_refused_where_a_task_has_none(part):
    """However many distractors there are to decide it, and before anything is played."""
    ranges = load("view", ViewConfig, ["randomize=hard"]).randomize
    with pytest.raises(UserError, match=f"split.part='{part}' holds out objects .*, and task 'reach' has none; "):
        SimulationConfig("reach", randomize=ranges, split=SplitConfig(part))


@pytest.mark.parametrize(
    ("task", "words"), [("place_in_turn", "plate"), ("place_in_turn", "then"), ("pick_place", "pick up")]
)
def test_words_are_held_out_whatever_stands_around_them(task, words):
    """Beside a comma or a full stop, and two words together; a part of a word is none."""
    split, world = SplitConfig(wordings=(words,)), Simulation(SimulationConfig(task, split=ANY))
    drawn = [world.draw(seed) for seed in range(60)]
    inside = [f" {words} " in re.sub(r"[,.;]", " ", f" {one.layout.instruction} ").lower() for one in drawn]
    assert any(inside) and [split._in_wordings(one) for one in drawn] == inside
    assert not any(SplitConfig(wordings=(words[1:],))._in_wordings(one) for one in drawn)


def test_a_split_that_no_episode_belongs_to_says_so(monkeypatch):
    monkeypatch.setattr(simulation, "MAX_DRAWS", 200)
    world = Simulation(SimulationConfig("reach_around", split=SplitConfig("places")))  # its pillar stands in no circle
    with pytest.raises(UserError, match="no episode of reach_around in 200 draws belongs to split 'places'"):
        world.draw(0)


@pytest.mark.parametrize(
    ("task", "part", "message"),
    [
        ("pick_place", "shapes", r"\(bowl, screwdriver\), and task 'pick_place' draws cube; expected one of them in "),
        ("insert_peg", "pairs", r"\(cube, mug, can, bottle\), and task 'insert_peg' draws peg; expected "),
    ],
)
def test_objects_that_a_task_never_draws_are_told_at_once(task, part, message):
    with pytest.raises(UserError, match=message):
        SimulationConfig(task, split=SplitConfig(part))
