"""What is touched first: by the expert what is asked for, in every task; by a planner of the wrong thing another."""

import numpy as np
import pytest

from policies.evaluation.first_touch import HANDLED, OTHER, FirstTouch, summary
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.episode.loop import run_episode
from sim.expert.imperfections import CLEAN
from sim.expert.scripted import Expert
from sim.guard.clearance import guarded
from sim.scene.layout import put_object
from sim.tasks.base import TASKS

UNTOUCHED = {"reach", "reach_around"}  # the tool only comes near


def play(task: str, seed: int, spoil=lambda world: None) -> tuple[bool, FirstTouch]:
    """Play an expert's episode; spoil: changes the world after the expert has planned."""
    env = SimEnv(SimulationConfig(task))
    expert, touch = Expert(env, CLEAN), FirstTouch(env.world)
    reset = expert.reset

    def spoilt(observation, seed):
        reset(observation, seed)
        spoil(env.world)

    expert.reset = spoilt
    result = run_episode(env, expert, guarded(env.robot), seed, touch)
    return result.success, touch


@pytest.mark.parametrize("task", TASKS.names())
def test_the_expert_touches_first_what_is_asked_for(task):
    for seed in (0, 1):
        success, touch = play(task, seed)
        assert success and touch.first == ("" if task in UNTOUCHED else HANDLED)


def exchange(world) -> None:
    """Put the named object and another in each other's places."""
    scene, data, layout = world.scene, world.data, world.params.layout
    for i, xy in enumerate(layout.object_xy_m[1::-1]):
        put_object(scene, data, i, [*xy, scene.slots[i].half_height_m])


def test_another_thing_in_the_place_of_the_named_one_is_touched_first():
    world = SimEnv(SimulationConfig()).world
    seed = next(seed for seed in range(50) if len(world.draw(seed).layout.object_xy_m) == 2)
    assert play("pick_place", seed)[1].row() == {"first_touched": HANDLED, "other_things": 1}
    assert play("pick_place", seed, exchange)[1].row() == {"first_touched": OTHER, "other_things": 1}


def test_other_things_are_of_the_kind_that_is_handled():
    for task in TASKS.names():
        env = SimEnv(SimulationConfig(task))
        for seed in range(4):
            env.reset(seed)
            state, layout = env.world.scene_state, env.world.params.layout
            handled, others = env.world.task.handled_bodies(state), env.world.task.other_bodies(state)
            assert not np.intersect1d(handled, others).size
            if task == "press_button":
                assert len(others) == len(layout.target_colours) - 1
            if task in ("pick_place", "push", "stack"):
                assert len(others) == len(layout.object_shapes) - 1


def test_episodes_without_another_thing_do_not_count():
    row = {"first_touched": OTHER, "other_things": 0}
    assert summary([row])["wrong_first_rate"] is None
    rows = [row, {"first_touched": OTHER, "other_things": 2}, {"first_touched": "", "other_things": 1}]
    assert summary(rows) == {"wrong_first": 1, "wrong_first_n": 2, "wrong_first_rate": 0.5}
