"""Every registered task, by the same tests: its scene, its layouts, its words, its expert, its ledger."""

import functools
import json

import gymnasium
import mujoco
import numpy as np
import pytest
from playing import SMALL, play_expert

from sim.core.config import CONF, load
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import Simulation, SimulationConfig
from sim.randomize.episode_params import EpisodeParams
from sim.randomize.ranges import RandomizeConfig
from sim.randomize.splits import SplitConfig
from sim.scene.placement import COLOURS
from sim.tasks.base import TASKS
from sim.view import ViewConfig

SEEN = 300_000
RANDOMIZATIONS = sorted(path.stem for path in (CONF / "randomize").glob("*.yaml"))
each_task = pytest.mark.parametrize("task", TASKS.names())


@functools.cache
def ranges(name: str) -> RandomizeConfig:
    return load("view", ViewConfig, [f"randomize={name}"]).randomize


@pytest.fixture(scope="module")
def envs() -> dict[str, SimEnv]:
    return {task: SimEnv(SimulationConfig(task=task, render=SMALL)) for task in TASKS.names()}


@each_task
def test_it_offers_what_a_task_must(task):
    found = TASKS.get(task)
    assert task == found.name and found.time_limit_s > 0 and found.settle_s > 0
    assert found.max_objects >= 0 and found.max_targets >= 0
    assert found.success_text and not found.success_text.endswith(".")
    assert len(set(found.sentences)) == len(found.sentences) and found.grammar


@each_task
def test_an_episode_is_the_same_whatever_was_played_before(task):
    """Every number of the model but the looks and the friction of what the episode lacks, and how things move."""
    played, fresh = (Simulation(SimulationConfig(task=task)) for _ in range(2))
    for seed in (41, 2):
        played.reset(seed)
    fresh.reset(2)
    models = [world.scene.model for world in (played, fresh)]
    names = [name for name in dir(models[0]) if isinstance(getattr(models[0], name), np.ndarray)]
    assert {"geom_rbound", "dof_invweight0", "body_pos"} <= {*names}
    for name in {*names} - {"geom_rgba", "mat_rgba", "geom_friction"}:
        np.testing.assert_array_equal(getattr(models[0], name), getattr(models[1], name), err_msg=name)
    for world in (played, fresh):
        world.command(np.array(world.robot.home_rad) + 0.2, 0.3)
        world.step(200)
    np.testing.assert_array_equal(played.snapshot(), fresh.snapshot())


@each_task
def test_layouts_name_one_thing_of_each_kind(task):
    """What the sentence names is there once: no two things of a kind share a colour."""
    for seed in range(60):
        layout = TASKS.get(task).draw_layout(np.random.default_rng(seed), ranges("light")).to_record()
        assert json.loads(json.dumps(layout)) == layout  # plain values: they go into the ledger
        for kind in ("object", "target"):
            colours = layout[f"{kind}_colours"].split(",") if layout[f"{kind}_colours"] else []
            assert set(colours) <= set(COLOURS) and len(set(colours)) == len(colours)
            assert len(layout[f"{kind}_xy_m"]) == 2 * len(colours)
        assert layout["instruction"] and "{" not in layout["instruction"]


@each_task
def test_sentences_vary_and_leave_some_for_each_side_of_the_split(task):
    drawn = [TASKS.get(task).draw_layout(np.random.default_rng(seed), ranges("light")) for seed in range(300)]
    sides = [bool(set(SplitConfig().wordings) & set(layout.instruction.split())) for layout in drawn]
    assert len({layout.wording for layout in drawn}) >= 6
    assert any(sides) and not all(sides)


@each_task
@pytest.mark.parametrize("name", RANDOMIZATIONS)
def test_any_randomization_rebuilds_bit_for_bit(task, name):
    part = "any" if name == "hard" else "train"
    config = SimulationConfig(task=task, randomize=ranges(name), render=SMALL, split=SplitConfig(part))
    first, second = Simulation(config), Simulation(config)
    for seed in (1, 2):
        first.reset(seed)
        assert second.draw(seed) == first.params
        second.reset(seed + 50)  # nothing of another episode may be left
        record = json.loads(json.dumps(first.params.to_record()))
        second.rebuild(EpisodeParams.from_record(record, first.task.layout_type))
        assert second.params == first.params
        for world in (first, second):
            world.command(np.array(world.robot.home_rad) + 0.2, 0.3)
            world.step(100)
        assert np.array_equal(first.data.qpos, second.data.qpos), np.flatnonzero(first.data.qpos != second.data.qpos)
        assert np.array_equal(first.render("front"), second.render("front"))
    first.close()
    second.close()


@each_task
def test_nothing_is_done_at_the_start_and_nothing_moves_of_itself(envs, task):
    env = envs[task]
    for seed in range(SEEN, SEEN + 4):
        env.reset(seed)
        before = env.world.snapshot()
        still = env.observe().state
        for _ in range(10):
            assert not env.apply(still).success
        assert np.abs(env.world.snapshot() - before).max() < 4e-3
        assert all(np.isfinite(point).all() for point in env.ground_truth().values())


@each_task
def test_judging_changes_nothing(envs, task):
    """Neither the physics nor what is remembered, in a state that no episode begins with."""
    world = envs[task].world
    world.reset(SEEN)
    world.data.qpos[world.scene.object_qpos + 2] += 0.05
    mujoco.mj_forward(world.scene.model, world.data)
    kind = mujoco.mjtState.mjSTATE_INTEGRATION
    before, after = (np.empty(mujoco.mj_stateSize(world.scene.model, kind)) for _ in range(2))
    mujoco.mj_getState(world.scene.model, world.data, before, kind)
    memory, results = world.scene_state.memory, []
    for _ in range(2):
        state = world.scene_state
        results.append((world.task.is_done(state), world.task.failure(state), world.task.subtasks_done(state)))
    mujoco.mj_getState(world.scene.model, world.data, after, kind)
    assert np.array_equal(before, after) and world.scene_state.memory is memory and results[0] == results[1]


@each_task
def test_the_expert_succeeds(envs, task):
    for seed in range(SEEN, SEEN + 3):
        result = play_expert(envs[task], seed)
        assert result.success and not result.guard.latched, (seed, result)


@each_task
@pytest.mark.slow
def test_the_expert_succeeds_almost_always(task):
    env = SimEnv(SimulationConfig(task=task))
    failed = [seed for seed in range(SEEN, SEEN + 100) if not play_expert(env, seed).success]
    assert len(failed) <= 3, failed


@each_task
def test_it_is_a_gymnasium_environment(task):
    name = "FR3" + "".join(word.capitalize() for word in task.split("_")) + "-v0"
    env = gymnasium.make(name)
    observation, info = env.reset(seed=1)
    assert env.observation_space.contains(observation) and info["instruction"]
    env.close()
