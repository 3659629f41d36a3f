"""Long instructions step by step: their sentences, the step of each recorded frame, the step that is due at a look."""

import dataclasses
from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch
from fr3 import FPS, FR3
from learning import SPEC, TINY, make_demo

from policies.core.parts import NOWHERE_M
from policies.eye.trunk import SIDE
from policies.eye_training.load import load_eye
from policies.fusion.grounded_points import GroundedPointsConfig
from policies.processing.features import encode_episode, plan
from policies.processing.observation import ObservationProcessor
from policies.processing.steps import StepMemory, frame_sentences, step_due
from policies.runtime.decider import Conditioning, Decided, Decider
from sim.core.contract import Observation
from sim.core.paths import ASSETS
from sim.dataset.reader import Dataset, DatasetWriter
from sim.dataset.recorder import features
from sim.envs.simulation import Simulation, SimulationConfig
from sim.randomize.ranges import RandomizeConfig, nominal
from sim.scene import cabinet
from sim.scene.build import RenderConfig
from sim.scene.fixtures import PLATE_TOP_M
from sim.scene.layout import put_object
from sim.scene.placement import COLOURS
from sim.scene.shapes import SHAPES
from sim.tasks.base import TASKS
from sim.tasks.place_in_drawer import OPEN_ENOUGH_M
from sim.tasks.sort import Sort
from sim.tasks.steps import possible_steps, sort_step

SEEDS = 9
RED, BLUE = "put the red cube on the red plate", "put the blue cube on the blue plate"


def test_every_wording_of_sorting_has_a_step_for_each_colour():
    rng = np.random.default_rng(0)
    wordings = {Sort().sample_instruction(rng, share)[1] for share in (0.0, 1.0) for _ in range(300)}
    assert len(wordings) > 30
    for wording in wordings:
        assert possible_steps(wording) == tuple(f"put the {c} cube on the {c} plate" for c in COLOURS), wording


def test_every_wording_of_putting_into_a_drawer_has_a_step_that_opens_it():
    rng, said, task = np.random.default_rng(1), set(), TASKS.get("place_in_drawer")
    for share in (0.0, 1.0):
        for _ in range(200):
            layout = task.draw_layout(rng, RandomizeConfig(paraphrase=share, shapes=tuple(SHAPES)))
            steps = (f"open the {layout.target_colours[0]} drawer", layout.instruction)
            assert possible_steps(layout.instruction) == steps
            assert layout.subtasks == (steps[1:] if layout.drawer_open_m[0] else steps)
            said.add(layout.instruction)
    assert len(said) > 100


def test_what_one_look_is_enough_for_has_no_steps():
    rng = np.random.default_rng(2)
    for name in set(TASKS.names()) - {"sort", "place_in_drawer"}:  # place_in_turn: a planner takes it apart
        for share in (0.0, 1.0):
            for _ in range(60):
                layout = TASKS.get(name).draw_layout(rng, RandomizeConfig(paraphrase=share, shapes=tuple(SHAPES)))
                assert possible_steps(layout.instruction) == (), layout.instruction
                assert (layout.subtasks is None) != bool(TASKS.get(name).steps_of)
    assert possible_steps("sort the red cubes") == ()


def recorded(root: Path, steps: str | None, targets: list[int]) -> Dataset:
    """One episode whose target is the plate of these numbers, frame by frame."""
    episode = make_demo(0, len(targets))
    plates = np.array([[-0.3, -0.1, 0.01], [-0.3, 0.1, 0.01], [-0.4, 0.0, 0.01]], np.float32)
    columns = {**episode.columns, "grounding.target_pos_w": plates[targets]}
    metadata = episode.metadata | ({"draw/subtasks": steps} if steps else {})
    with DatasetWriter(root, features(FR3, (32, 32)), FPS, FR3.name) as writer:
        writer.commit(dataclasses.replace(episode, columns=columns, metadata=metadata))
    return Dataset(root)


def test_a_frame_is_told_the_step_whose_target_the_label_shows(tmp_path):
    long = recorded(tmp_path / "long", f"{RED};{BLUE}", [2, 2, 2, 0, 0, 2, 0])
    assert frame_sentences(long, 0, by_step=True) == [RED, RED, RED, BLUE, BLUE, RED, BLUE]
    assert frame_sentences(long, 0, by_step=False) == [long.instruction(0)] * 7
    short = recorded(tmp_path / "short", None, [0, 1])
    assert frame_sentences(short, 0, by_step=True) == [short.instruction(0)] * 2


def test_steps_that_are_done_in_another_order_are_told_as_they_are_due(tmp_path):
    """The second cube is sorted before the first, as where something stands in the first one's way."""
    world = Simulation(SimulationConfig("sort", nominal()))
    world.reset(7)
    state, shown = world.scene_state, []
    for cube in (None, 1, 0):
        if cube is not None:
            on_w = state.target_pos_w(cube) + [0.0, 0.0, PLATE_TOP_M + state.half_height_m(cube)]
            put_object(world.scene, world.data, cube, on_w, 0.0)
        mujoco.mj_forward(world.scene.model, world.data)
        shown.append(world.ground_truth()["grounding.target_pos_w"])
    episode, drawn = make_demo(0, 3), world.params.to_record()
    columns = {**episode.columns, "grounding.target_pos_w": np.array(shown, np.float32)}
    metadata = {**episode.metadata, **{f"draw/{name}": drawn[name] for name in ("subtasks", "target_xy_m")}}
    with DatasetWriter(tmp_path / "sorted", features(FR3, (32, 32)), FPS, FR3.name) as writer:
        writer.commit(dataclasses.replace(episode, columns=columns, metadata=metadata))
    first, _, third = world.params.layout.subtasks
    assert frame_sentences(Dataset(tmp_path / "sorted"), 0, by_step=True) == [first, first, third]


def looks(*steps: tuple[float, float, float, float]) -> torch.Tensor:
    """Points of steps (y of the object, horizontal distance of its target, distance from the tool, error), m."""
    points = torch.zeros(len(steps), 4, 4)
    for i, (y, away, reach, error) in enumerate(steps):
        points[i, :, 3] = error
        points[i, 0, 1], points[i, 1, 1] = y, y + away
        points[i, 2, 2] = reach
    return points


ABSENT = (-0.2, 0.3, 0.2, NOWHERE_M)


@pytest.mark.parametrize(
    ("points", "opening", "due"),
    [
        (looks(ABSENT, (0.1, 0.2, 0.3, 0.01), (-0.1, 0.2, 0.3, 0.01)), 1.0, 2),  # the arm's left is -y
        (looks(ABSENT, (0.1, 0.2, 0.3, 0.01), (-0.1, 0.03, 0.3, 0.01)), 1.0, 1),  # the first is done
        (looks(ABSENT, (0.1, 0.2, 0.01, 0.01), (-0.1, 0.2, 0.3, 0.01)), 0.5, 1),  # held
        (looks(ABSENT, (0.1, 0.2, 0.01, 0.01), (-0.1, 0.2, 0.3, 0.01)), 1.0, 1),  # under an open gripper
        (looks((0.1, 0.2, 0.01, NOWHERE_M), (-0.1, 0.2, 0.3, 0.01)), 0.5, 1),  # nothing there can be held
        (looks(ABSENT, (0.1, 0.01, 0.3, 0.01), (-0.1, 0.01, 0.3, 0.01)), 1.0, 2),  # all done
    ],
)
def test_the_cube_that_is_due(points, opening, due):
    assert step_due([sort_step(colour) for colour in list(COLOURS)[: len(points)]], points, opening) == due


OPENS = ("open the red drawer", "put the blue cube in the red drawer")


def drawer_looks(opening_m: float, cube_from_tool_m: float = 0.3, handle_error_m: float = 0.01) -> torch.Tensor:
    """Points of a drawer that is so far open, as the task's own: the floor is of one that is open far enough."""
    handle = cabinet.BAR_X_M + opening_m
    floor = cabinet.PANEL_BACK_M + max(opening_m, OPEN_ENOUGH_M) / 2
    top = -cabinet.DEPTH_M / 2
    points = looks((handle, top - handle, 0.2, 0.01), (0.3, floor - 0.3, cube_from_tool_m, 0.01))
    points[0, 0, 3] = handle_error_m
    return points


@pytest.mark.parametrize(
    ("points", "opening", "before", "due"),
    [
        (drawer_looks(0.0), 1.0, None, 0),
        (drawer_looks(0.0), 0.1, 0, 0),  # the handle is held
        (drawer_looks(0.03), 0.1, 0, 0),  # being pulled
        (drawer_looks(OPEN_ENOUGH_M), 0.1, 0, 1),
        (drawer_looks(0.08), 1.0, None, 1),  # the least that a drawer begins open
        (drawer_looks(cabinet.PULL_M, 0.01), 0.4, 1, 1),
        (drawer_looks(0.0, 0.01), 0.4, 0, 1),  # the cube is held
        (drawer_looks(0.05), 1.0, 1, 1),  # it was open, and is seen a little less so
        (drawer_looks(0.05), 1.0, 0, 0),
        (drawer_looks(0.01), 1.0, 1, 0),  # closed again
        (drawer_looks(0.0, handle_error_m=NOWHERE_M), 1.0, None, 1),  # no handle is seen
        (drawer_looks(0.0, handle_error_m=NOWHERE_M), 1.0, 0, 0),  # as before
    ],
)
def test_a_drawer_is_opened_before_something_is_put_into_it(points, opening, before, due):
    assert step_due(OPENS, points, opening, before) == due


def test_a_cube_is_gone_on_with_until_it_is_there_or_another_is_held():
    memory, told = StepMemory(), [sort_step(colour) for colour in list(COLOURS)[:2]]
    left, right = (-0.1, 0.2, 0.3, 0.01), (0.1, 0.2, 0.3, 0.01)
    shown = [
        (looks(left, right), 1.0, 0),
        (looks(left, (0.1, 0.2, 0.1, 0.01)), 1.0, 0),  # the tool comes near the other on its way
        (looks(ABSENT, right), 1.0, 1),
        (looks(left, right), 1.0, 1),
        (looks((-0.1, 0.2, 0.01, 0.01), right), 0.5, 0),  # the other is held
        (looks((-0.1, 0.02, 0.3, 0.01), right), 1.0, 1),  # and there
    ]
    assert [memory.see("sort", told, points, opening) for points, opening, _ in shown] == [due for *_, due in shown]
    assert memory.see("sort again", told, looks(left, right), 1.0) == 0  # another instruction begins anew


def test_the_shipped_eye_names_the_step_that_the_simulator_names():
    world = Simulation(SimulationConfig("sort", nominal(), render=RenderConfig(height=SIDE, width=SIDE)))
    decider, right = Decider(load_eye(ASSETS / "eye", FR3), Conditioning()), 0
    for seed in range(SEEDS):
        world.reset(950_300 + seed)
        layout = world.params.layout
        finish(world, seed % 3)
        seen, expected = look(world, layout.instruction), layout.subtasks[seed % 3]
        steps = possible_steps(seen.instruction)
        images = {camera: image[None] for camera, image in seen.images.items()}
        points = decider.processor.inputs(images, np.repeat(seen.state[None], len(steps), 0), steps).points
        told = dataclasses.replace(seen, instruction=expected)
        alone = decider.processor.observe(told).points[0]
        torch.testing.assert_close(points[steps.index(expected)], alone, atol=1e-5, rtol=0)
        if steps[step_due(steps, points, float(seen.state[-1]))] == expected:
            right += 1
            torch.testing.assert_close(decider.processor.observe(seen).points[0], alone, atol=1e-5, rtol=0)
            decided, beside = decide(decider, seen), decide(decider, told)
            np.testing.assert_allclose(decided.chunk, beside.chunk, atol=1e-4)
            assert (decided.subtask, beside.subtask) == (expected, "")
    assert right >= SEEDS - 1


def finish(world: Simulation, steps: int) -> None:
    """Do the first steps: cube `i` stands on plate `i`, 10 mm off its middle."""
    state = world.scene_state
    for i in range(steps):
        on_w = state.target_pos_w(i) + [0.01, 0.0, PLATE_TOP_M + state.half_height_m(i)]
        put_object(world.scene, world.data, i, on_w, 0.0)
    mujoco.mj_forward(world.scene.model, world.data)


def look(world: Simulation, instruction: str) -> Observation:
    images = {camera: world.render(camera) for camera in FR3.camera_names}
    return Observation(images, world.state().astype(np.float32), instruction, 0.0)


def decide(decider: Decider, seen: Observation) -> Decided:
    return decider.decide(seen, seen.state, [], torch.Generator().manual_seed(1))


@pytest.mark.parametrize("by_step", [False, True])
def test_features_are_of_the_step_that_each_frame_is_told(tmp_path, by_step, monkeypatch):
    dataset = recorded(tmp_path / "long", f"{RED};{BLUE}", [0] * 20 + [1] * 3)
    policy = dataclasses.replace(TINY, fusion=GroundedPointsConfig(width=16, finder=TINY.fusion)).build(SPEC)
    policy.fusion.plays_steps = by_step
    processor, told = ObservationProcessor(policy), []
    made = processor.inputs

    def inputs(images, state, instructions):
        told.extend(instructions)
        return made(images, state, instructions)

    monkeypatch.setattr(processor, "inputs", inputs)
    encode_episode(dataset, processor, 0)
    assert told == ([RED] * 20 + [BLUE] * 3 if by_step else [dataset.instruction(0)] * 23)
    # A cache of other steps, or of the whole instruction, is not taken for it.
    other = recorded(tmp_path / "other", f"{BLUE};{RED}", [0] * 20 + [1] * 3)
    same = plan(dataset, processor).episodes == plan(other, processor).episodes
    assert same != by_step and len(plan(dataset, processor).episodes[0]) == 4  # with a digest of what is told
