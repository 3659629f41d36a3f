"""Randomization: every term stays in its range, uses it up and changes something; wrong ranges are refused."""

from dataclasses import fields, replace

import numpy as np
import pytest
from fr3 import FR3
from playing import SMALL

from sim.collect import CollectConfig
from sim.core.config import CONF, load, load_group
from sim.core.errors import UserError
from sim.core.records import to_record
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import Simulation, SimulationConfig
from sim.randomize.randomization import draw_randomization, with_depth
from sim.randomize.ranges import Count, RandomizeConfig, Range, bounds, nominal
from sim.randomize.splits import SplitConfig
from sim.scene.shapes import SHAPES

OBJECTS, TARGETS = 5, 3
# Where the values of a range stand in a draw when they are not called what it is.
NAMED_OTHERWISE = {
    "backdrop_value": "backdrop_rgb",
    "fill_strength": "light_strengths",
    "light_pos_m": "light_xy_m",
    "start_xy_m": "start_xyz_m",
    "start_z_m": "start_xyz_m",
    "table_value": "table_rgb",
}
PARTS = {"start_xy_m": slice(0, 2), "start_z_m": slice(2, 3)}
RANGES = [field.name for field in fields(RandomizeConfig) if field.type is Range]
GROUPS = sorted(path.stem for path in (CONF / "randomize").glob("*.yaml"))


def group(name: str, *options: str) -> RandomizeConfig:
    return load("collect", CollectConfig, [f"randomize={name}", *options]).randomize


@pytest.fixture(scope="module")
def full() -> RandomizeConfig:
    return group("full")


@pytest.fixture(scope="module")
def draws(full) -> list[dict]:
    """400 episodes' draws, of cameras that measure depth."""
    drawn = (draw_randomization(np.random.default_rng(seed), full, FR3, OBJECTS, TARGETS) for seed in range(400))
    return [to_record(with_depth(one, full, len(FR3.cameras))) for one in drawn]


@pytest.mark.parametrize("name", RANGES)
def test_full_varies_every_term_within_its_range(full, draws, name):
    low, high = getattr(full, name)
    assert low < high
    values = [np.atleast_1d(row[NAMED_OTHERWISE.get(name, name)])[PARTS.get(name, slice(None))] for row in draws]
    values = np.concatenate(values)
    assert low <= values.min() and values.max() <= high
    assert values.min() < low + 0.05 * (high - low) and values.max() > high - 0.05 * (high - low)


def test_counts_and_probabilities_are_drawn(full, draws):
    assert {row["lights"] for row in draws} == {1, 2, 3}
    assert abs(np.mean([row["shadows"] for row in draws]) - full.shadows) < 0.1
    assert abs(np.mean([row["backdrop_texture"] > 0 for row in draws]) - full.backdrop_textured) < 0.1
    assert {row["table_texture"] for row in draws} == set(range(17))


def test_the_shifted_twin_lies_outside_what_full_trains_on(full):
    shifted = load("collect", CollectConfig, ["dynamics=shifted"]).randomize
    light = group("light")
    changed = [name for name in RANGES if getattr(shifted, name) != getattr(light, name)]
    assert len(changed) >= 8
    for name in changed:
        (low, high), (train_low, train_high) = getattr(shifted, name), getattr(full, name)
        assert high <= train_low or low >= train_high, name


# ---- that each term does something -----------------------------------------------------------------


def trace(config: RandomizeConfig, *, depth: bool = False) -> list[bytes]:
    """All that an agent can notice of 12 actions in the episode of seed 3."""
    env = SimEnv(SimulationConfig(randomize=config, render=replace(SMALL, depth=depth)))
    env.reset(3)
    start = env.observe().state
    seen = []
    for step in range(12):
        looked = env.observe()
        images = (*looked.images.values(), *looked.depth.values())
        seen += [looked.state.tobytes(), *(image.tobytes() for image in images)]
        action = start.copy()
        action[:3] += 0.05 * step
        action[-1] = 0.0
        env.apply(action)
    env.close()
    return seen


@pytest.fixture(scope="module")
def neutral() -> list[bytes]:
    return trace(nominal())


# What is felt only when something is touched or held; its effect on the compiled model is looked at instead.
FELT = {
    "object_mass_kg": "body_mass", "object_inertia": "body_inertia",
    "object_friction": "geom_friction", "table_friction": "geom_friction",
    "pad_friction": "geom_friction", "gripper_force": "actuator_forcerange",
}  # fmt: skip


# What shows only beside another term: joints read after a picture that is late, lights and a wall that are there.
NEEDING = {
    "state_lead_s": {"observation_delay_s": (0.03, 0.03)},
    "fill_strength": {"lights": (3, 3)},
    "backdrop_value": {"backdrop_textured": 1e-9},
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in RANGES if name not in FELT])
def test_every_term_is_noticed(full, neutral, name):
    value = {"jpeg_quality": 50.0, "dropped_frames": 0.8}.get(name, getattr(full, name)[1])
    if name.startswith("depth_"):
        assert trace(replace(nominal(), **{name: (value, value)}), depth=True) != trace(nominal(), depth=True)
    elif name in NEEDING:
        needed = replace(nominal(), **NEEDING[name])
        assert trace(replace(needed, **{name: (value, value)})) != trace(needed)
    else:
        assert trace(replace(nominal(), **{name: (value, value)})) != neutral


@pytest.mark.parametrize("name", FELT)
def test_what_is_felt_is_in_the_model(full, name):
    models = []
    for span in (getattr(nominal(), name), (getattr(full, name)[1],) * 2):
        world = Simulation(SimulationConfig(randomize=replace(nominal(), **{name: span})))
        world.reset(3)
        models.append(getattr(world.scene.model, FELT[name]).copy())
    assert not np.array_equal(*models)


@pytest.mark.parametrize(
    "changes",
    [{"distractors": (2, 2)}, {"backdrop_textured": 1.0}, {"lights": (3, 3)}, {"shadows": 0.0}, {"table_textured": 1.0},
     {"object_textured": 1.0},
     {"shapes": ("mug",)}],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_every_choice_is_seen(neutral, changes):
    assert trace(replace(nominal(), **changes)) != neutral


@pytest.mark.parametrize("name", GROUPS)
def test_an_episode_of_any_group_is_rebuilt_bit_for_bit(name):
    config = SimulationConfig(randomize=group(name), render=SMALL)
    first, second = SimEnv(config), SimEnv(config)
    for seed in (1, 2):
        first.reset(seed)
        second.reset(seed + 50)
        second.rebuild(first.world.params)
        for _ in range(4):
            a, b = first.observe(), second.observe()
            assert np.array_equal(a.state, b.state)
            assert all(np.array_equal(a.images[camera], b.images[camera]) for camera in a.images)
            first.apply(a.state + np.float32(0.03))
            second.apply(a.state + np.float32(0.03))
    first.close()
    second.close()


# ---- wrong input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("field", [field.name for field in fields(RandomizeConfig) if field.type in (Range, Count)])
def test_a_range_beyond_what_can_be_is_refused(field):
    low, high = bounds(field)
    whole = getattr(RandomizeConfig(), field)[0].__class__
    for outside in ((whole(low) - 1, whole(high)), (whole(low), whole(high) + 1)):
        with pytest.raises(UserError, match=rf"^{field}=.*expected .* within"):
            RandomizeConfig(**{field: outside})


@pytest.mark.parametrize("field", [field.name for field in fields(RandomizeConfig) if field.type in (Range, Count)])
def test_a_range_the_wrong_way_round_is_refused(field):
    with pytest.raises(UserError, match=rf"^{field}=\[2,1\], expected \[low, high\]"):
        RandomizeConfig(**{field: (2, 1)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"front_pos_m": (-2.0, 0.0)}, "front_pos_m=.*within -0.3 and 0.3"),
        ({"shapes": ("mugg",)}, "unknown shapes 'mugg'.*did you mean 'mug'"),
        ({"shapes": ()}, "shapes=.*expected at least one"),
        ({"shadows": 1.5}, "shadows=1.5, expected from 0 to 1"),
        ({"table_textures": 99}, "table_textures=99, expected from 1 to 16"),
        ({"observation_delay_s": (0.0, 0.3)}, "observation_delay_s.*within 0 and 0.2"),
        ({"servo_gain": (-1.0, -1.0)}, "servo_gain=.*within 0.1 and 5"),
        ({"wrist_fovy_deg": (-200.0, 0.0)}, "wrist_fovy_deg=.*within -20 and 20"),
        ({"distractors": (0, 20)}, "distractors=.*within 0 and 6"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        RandomizeConfig(**changes)


def test_every_shape_of_more_than_one_task_is_in_full_shapes():
    shapes = load_group("randomize", "full_shapes", RandomizeConfig).shapes
    assert {*SHAPES} - {*shapes} == {"peg", "pillar"}


@pytest.mark.parametrize("task", ["pick_place", "insert_peg"])
def test_distractors_stand_clear_of_everything_at_any_size(task):
    ranges = replace(nominal(), distractors=(6, 6), distractor_shapes=("screwdriver", "mug", "can", "cube"))
    world, placed = Simulation(SimulationConfig(task, ranges, SMALL, SplitConfig("any"))), 0
    for seed in range(20):
        layout = world.draw(seed).layout
        reach = lambda shapes: [1.1 * SHAPES[shape].radius_m for shape in shapes]  # noqa: E731
        xy = np.array([*layout.distractor_xy_m, *layout.object_xy_m, *layout.target_xy_m])
        radius_m = [*reach(layout.distractor_shapes), *reach(layout.object_shapes), *[0.05] * len(layout.target_xy_m)]
        for i in range(len(layout.distractor_shapes)):
            for k in set(range(len(xy))) - {i}:
                assert np.hypot(*(xy[i] - xy[k])) >= max(0.085, radius_m[i] + radius_m[k])
        own = set(zip(layout.object_shapes, layout.object_colours, strict=True))
        assert not own & set(zip(layout.distractor_shapes, layout.distractor_colours, strict=True))
        placed += len(layout.distractor_shapes)
    assert placed > 40
