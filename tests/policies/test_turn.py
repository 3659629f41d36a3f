"""How object and target are turned: the simulator's truth, the closer look of the eye, what a head is told."""

import dataclasses
import functools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import mujoco
import numpy as np
import pytest
import torch
from fr3 import FR3
from learning import SPEC

from policies.core.inputs import Inputs
from policies.core.weight_files import as_bytes
from policies.eye.description import describe
from policies.eye.network import EyeConfig
from policies.eye.trunk import SIDE
from policies.eye.turn import TurnFinder, from_tool
from policies.eye_training import card, unknown
from policies.eye_training import pixel as pixel_training
from policies.eye_training import reader as reader_training
from policies.eye_training import turn as turn_training
from policies.eye_training.load import load_eye
from policies.eye_training.mixer import fit_mixer
from policies.eye_training.turn import fit_turn, is_turned, off_deg, turn_error_deg
from policies.fusion.eye import EyeFusionConfig
from policies.fusion.grounded_points import TruePointsConfig
from policies.fusion.pretrained_fusion import save_fusion
from policies.language.minilm import MiniLmConfig
from policies.models import checkpoint
from policies.models.checkpoint import CheckpointMetadata
from policies.models.vla import VlaConfig
from policies.pretrain_eye import PretrainEyeConfig, finish, new_eye, untrained_eye
from policies.processing.features import cached_inputs, feature_arrays
from policies.processing.observation import ObservationProcessor
from policies.scenes.looks import CHUNK, ChunkWriter, SceneConfig, SceneLooker
from policies.scenes.table import LookTable
from policies.training.optim import OptimConfig
from sim.core.contract import TURN_COLUMNS, Observation
from sim.core.errors import UserError
from sim.core.paths import ASSETS
from sim.envs.simulation import Simulation, SimulationConfig
from sim.randomize.ranges import RandomizeConfig, nominal
from sim.randomize.splits import SplitConfig
from sim.tasks.base import TASKS

POINTS = VlaConfig(vision=None, language=None, fusion=TruePointsConfig(width=16))
FRESH = 950_000_000
OBJECT, TARGET = TURN_COLUMNS
PARTS = ("turn", "object_turn", "closer")  # by which an eye looks closer


def turned(angle_rad: float, alike: int = 4) -> np.ndarray:
    twice = np.array([np.cos(2 * angle_rad), np.sin(2 * angle_rad)]) * (alike == 2)
    return np.array([*twice, np.cos(4 * angle_rad), np.sin(4 * angle_rad)])


@pytest.fixture(scope="module")
def world():
    one = Simulation(SimulationConfig("insert_peg", nominal()))
    one.reset(3)
    yield one
    one.close()


def turn_of(world: Simulation, yaw_rad: float) -> np.ndarray:
    layout = dataclasses.replace(world.params.layout, target_yaw_rad=(yaw_rad,) * len(world.scene.targets))
    world.scene_state.layout = layout
    return world.ground_truth()[TARGET]


def test_quarter_turns_of_the_hole_look_alike_and_others_are_told_apart(world):
    straight = turn_of(world, 0.2)
    np.testing.assert_allclose(turn_of(world, 0.2 + np.pi / 2), straight, atol=1e-6)
    np.testing.assert_allclose(turn_of(world, 0.2 + np.pi / 4), -straight, atol=1e-6)
    assert np.linalg.norm(straight) == pytest.approx(1)


def test_the_turn_is_seen_from_the_tool(world):
    """Whose fingers are along the hole's sides where it is (.., 1, 0): MuJoCo's own axes, multiplied out."""
    rotation_w = world.data.site_xmat[world.scene.tcp_site].reshape(3, 3)
    yaw_rad = np.arctan2(rotation_w[1, 1], rotation_w[0, 1])
    np.testing.assert_allclose(turn_of(world, yaw_rad), [0, 0, 1, 0], atol=1e-3)
    found = turn_of(world, yaw_rad + 0.1)
    np.testing.assert_allclose(np.abs(found), [0, 0, np.cos(0.4), np.sin(0.4)], atol=2e-3)


@pytest.mark.parametrize("yaw_rad", [-0.7, 0.0, 0.3, 0.6])
def test_from_the_base_to_the_tool_is_what_the_simulator_says(world, yaw_rad):
    scene, data = world.scene, world.data
    joints = np.array(FR3.home_rad) + [0.3, 0.1, -0.1, 0.0, 0.0, 0.8]
    data.qpos[scene.arm_qpos] = joints
    mujoco.mj_forward(scene.model, data)
    base_w, tool_w = data.xmat[scene.base].reshape(3, 3), data.site_xmat[scene.tcp_site].reshape(3, 3)
    foot_rad = np.arctan2(base_w[1, 0], base_w[0, 0])
    rotation = torch.tensor(base_w.T @ tool_w).float()[None]
    found = from_tool(torch.tensor(turned(yaw_rad - foot_rad)).float()[None], rotation)
    assert off_deg(found, torch.tensor(turn_of(world, yaw_rad))[None])[0] < 0.5


def test_a_half_turned_drawer_looks_alike_to_the_fingers_and_one_turned_by_a_quarter_does_not():
    world = Simulation(SimulationConfig("place_in_drawer", nominal()))
    world.reset(1)
    ahead = turn_of(world, 0.2)
    np.testing.assert_allclose(turn_of(world, 0.2 + np.pi), ahead, atol=1e-6)
    np.testing.assert_allclose(turn_of(world, 0.2 + np.pi / 2), ahead * [-1, -1, 1, 1], atol=1e-6)
    world.close()


ANY, HALVES, QUARTERS = [0.0, 0.0], [1.0, 1.0], [0.0, 1.0]
TOLD = {
    "insert_peg": (QUARTERS, QUARTERS), "open_drawer": (ANY, HALVES), "pick_place": (QUARTERS, ANY),
    "place_in_turn": (QUARTERS, ANY), "push": (QUARTERS, ANY), "sort": (QUARTERS, ANY), "stack": (QUARTERS, ANY),
}  # fmt: skip


def sizes(turn: np.ndarray) -> np.ndarray:
    """Of the numbers for half turns and for quarter turns."""
    return np.hypot(*turn.reshape(2, 2).T)


@pytest.mark.parametrize("name", TASKS.names())
def test_only_what_must_be_turned_has_a_turn(name):
    world = Simulation(SimulationConfig(name, nominal()))
    world.reset(0)
    drawer = name == "place_in_drawer"  # its cube only in the step that handles it
    steps = world.params.layout.subtasks if drawer else None
    truth = world.ground_truth(told=steps[-1] if steps else "")
    for column, told in zip(TURN_COLUMNS, (QUARTERS, HALVES) if drawer else TOLD.get(name, (ANY, ANY)), strict=True):
        np.testing.assert_allclose(sizes(truth[column]), told, atol=1e-6, err_msg=column)
    world.close()


@pytest.mark.parametrize(
    ("shape", "told"), [("cube", QUARTERS), ("book", HALVES), ("screwdriver", HALVES), ("mug", HALVES), ("can", ANY)]
)
def test_an_object_is_turned_as_the_fingers_must_be(shape, told):
    """Against the tool turned until they open as the shape says they may: there the angle from its x axis is theirs."""
    world = Simulation(SimulationConfig("pick_place", replace(nominal(), shapes=(shape,)), split=SplitConfig("any")))
    world.reset(5)
    turn = world.ground_truth()[OBJECT]
    np.testing.assert_allclose(sizes(turn), told, atol=1e-6)
    scene, data, i = world.scene, world.data, scene_object(world)
    if told == ANY:
        return
    axis_w = data.xmat[scene.objects[i]].reshape(3, 3)[:, 0]
    x, y, _ = data.site_xmat[scene.tcp_site].reshape(3, 3).T @ axis_w
    np.testing.assert_allclose(turn, turned(np.arctan2(y, x), 2 if told == HALVES else 4), atol=1e-5)
    world.close()


def scene_object(world: Simulation) -> int:
    i = world.scene_state.object_at(world.task.object_pos_w(world.scene_state))
    assert i == 0 and world.scene_state.object_at(np.array([9.0, 9.0, 9.0])) is None
    return i


# ---- the closer look -------------------------------------------------------------------------------


def finder_and_look(seed: int = 0):
    torch.manual_seed(seed)
    finder = TurnFinder({"front": False, "wrist": True}).eval()
    rng = torch.Generator().manual_seed(seed)
    images = {
        name: torch.randint(0, 256, (2, SIDE, SIDE, 3), generator=rng, dtype=torch.uint8) for name in finder.views
    }
    pixels = {name: torch.full((2, 2), 0.5) for name in images}
    return finder, images, pixels, {name: torch.ones(2) for name in images}, torch.eye(3).expand(2, 3, 3)


def test_it_looks_at_the_place_and_nowhere_else():
    finder, images, pixels, _, _ = finder_and_look()
    for name, view in finder.views.items():
        before = view(images[name], pixels[name])[0]
        elsewhere = images[name].clone()
        elsewhere[:, :, :40] = 0
        torch.testing.assert_close(view(elsewhere, pixels[name])[0], before)
        moved, by = torch.roll(images[name], (12, -8), (1, 2)), torch.tensor([-8 / SIDE, 12 / SIDE])
        view.out[0].weight.data[:, -2:] = 0  # it may know where in the image it looks
        still = view(images[name], pixels[name])[0]
        torch.testing.assert_close(view(moved, pixels[name] + by)[0], still, atol=1e-4, rtol=1e-4)
        assert (view(moved, pixels[name])[0] - still).abs().max() > 1e-3


def test_a_camera_that_does_not_see_the_target_counts_for_nothing():
    finder, images, pixels, presence, rotation = finder_and_look()
    presence["wrist"] = torch.zeros(2)
    alone = finder(images, pixels, presence, rotation)
    torch.testing.assert_close(finder({**images, "wrist": images["wrist"] * 0}, pixels, presence, rotation), alone)
    torch.testing.assert_close(finder({"front": images["front"]}, pixels, presence, rotation), alone)
    nothing = {name: torch.zeros(2) for name in images}
    assert not finder(images, pixels, nothing, rotation).any()


def test_degrees_between_turns():
    turns = torch.tensor(np.array([turned(np.deg2rad(angle)) for angle in (0, 10, 50, 89)]))
    np.testing.assert_allclose(off_deg(turns, turns[:1].expand(4, 4)), [0, 10, 40, 1], atol=1e-4)
    halves = torch.tensor(np.array([turned(np.deg2rad(angle), alike=2) for angle in (0, 10, 50, 179)]))
    np.testing.assert_allclose(off_deg(halves, halves[:1].expand(4, 4)), [0, 10, 50, 1], atol=1e-4)


def test_a_turn_that_nothing_looks_for_is_no_right_one():
    turns = torch.tensor(np.array([turned(0.3), np.zeros(4)]), dtype=torch.float32)
    off = off_deg(turns, torch.tensor(np.array([turned(0.3)] * 2), dtype=torch.float32))
    assert off[0] == pytest.approx(0, abs=1e-3) and np.isnan(off[1])


def test_a_card_leaves_out_what_no_camera_shows(monkeypatch):
    monkeypatch.setattr(card, "turn_error_deg", lambda eye, table, rows, r: np.array([1.0, np.nan, 3.0, np.nan]))
    table = SimpleNamespace(rows={"turn": np.ones((4, 2, 4)), "first": np.array([True, True, True, False])})
    errors = card.turn_errors(None, table, np.arange(4))["turn_error_deg"]
    assert errors["object"] == errors["target"] == {"first": {"median": 2.0, "p95": 2.9}, "later": None}


def test_it_is_learned_from_labelled_scenes(tmp_path, monkeypatch):
    """Of a hundred scenes by heart: at random, half of the turns are more than 22 degrees off."""
    monkeypatch.setattr(turn_training, "STEPS", 120)
    ChunkWriter(SceneConfig(("insert_peg",), (RandomizeConfig(),)), tmp_path)(0)
    eye = untrained_eye(EyeFusionConfig(), FR3)
    describe(eye.mixer.arm, eye.mixer.cameras, FR3)
    table = LookTable(tmp_path, 1, len(FR3.cameras), FR3.action_dim, eye.mixer.arm.landmarks, MiniLmConfig().build())
    rows = np.arange(CHUNK)
    assert is_turned(table.rows["turn"][rows]).all()
    fit_turn(eye, table, rows)
    for role in (0, 1):
        assert np.median(turn_error_deg(eye, table, rows, role)) < 8


@pytest.mark.parametrize(
    ("learns", "parts"),
    [
        ("turn", {"turn", "object_turn"}),
        ("reader", {"network", "radius"}),
        ("closer", {"closer", "mixer", "radius"}),
    ],
)
def test_learning_a_part_alone_leaves_the_rest_of_an_eye_as_it_was(tmp_path, monkeypatch, learns, parts):
    """On a chunk of scenes, ten times over: a thousand are the least."""
    for module in (turn_training, reader_training, pixel_training):
        monkeypatch.setattr(module, "STEPS", 3)
    few = functools.partial(fit_mixer, steps=3)
    monkeypatch.setattr("policies.pretrain_eye.fit_mixer", few)
    monkeypatch.setattr(PretrainEyeConfig, "rows", lambda _: np.split(np.arange(CHUNK), (60, 90)))
    monkeypatch.setattr(unknown, "MOST", 5)
    config = PretrainEyeConfig(
        scenes=1000, work=str(tmp_path / "work"), out=str(tmp_path / "eye"), init="assets/eye", learns=learns,
        tasks=("insert_peg",),
    )  # fmt: skip
    config.folder.mkdir(parents=True)
    ChunkWriter(config.looks, config.folder)(0)
    for path in config.folder.glob("*.rows"):
        path.write_bytes(10 * path.read_bytes())
    for i in range(1, 10):
        shutil.copy(config.folder / "sentences-000000.json", config.folder / f"sentences-{i:06d}.json")
    finish(config)
    before, after = (load_eye(root, FR3).fusion.finder.state_dict() for root in (ASSETS / "eye", tmp_path / "eye"))
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert {name.split(".")[0] for name in changed} == parts and set(before) == set(after)
    assert all(name.startswith("network.reader.") for name in changed if name.startswith("network."))
    cards = [json.loads((root / "card.json").read_text()) for root in (ASSETS / "eye", tmp_path / "eye")]
    assert (cards[0]["horizontal_error_mm"] == cards[1]["horizontal_error_mm"]) == (learns == "turn")
    assert (cards[0]["turn_error_deg"] == cards[1]["turn_error_deg"]) == (learns != "turn")
    assert (cards[1]["turn"] if learns == "turn" else cards[1])["config"]["scenes"] == 1000


def eye_of_before(root: Path, *without: str) -> Path:
    """The shipped eye as it was before it looked closer by these parts."""
    card = json.loads((ASSETS / "eye" / "card.json").read_text())
    shipped = load_eye(ASSETS / "eye", FR3).fusion.finder.state_dict()
    weights = {name: value for name, value in shipped.items() if name.split(".")[0] not in without}
    made_for = {name: value for name, value in card["fusion"].items() if name not in without}
    save_fusion(root, weights, card | {"fusion": made_for})
    return root


@pytest.mark.parametrize(
    ("learns", "looks_closer"),
    [("reader", set()), ("turn", {"turn", "object_turn"}), ("closer", {"closer"}), ("all", {*PARTS})],
)
def test_an_eye_that_goes_on_looks_closer_only_by_what_was_ever_learned(tmp_path, learns, looks_closer):
    """A part that no training touches would answer at random, and its card would say that it is there."""
    root = eye_of_before(tmp_path / "eye", *PARTS)
    eye = new_eye(PretrainEyeConfig(init=str(root), learns=learns), FR3)
    assert {name for name in PARTS if getattr(eye, name) is not None} == looks_closer
    assert {name for name in PARTS if getattr(eye.config, name)} == looks_closer


def test_an_init_that_does_not_fit_is_a_line_about_the_options_of_this_program():
    config = PretrainEyeConfig(init="assets/eye", network=EyeConfig(words=64))
    with pytest.raises(UserError, match=r"network.words=64, expected 128, which init=assets/eye was made with"):
        new_eye(config, FR3)
    with pytest.raises(UserError, match="init=assets/fusion is of fusion 'keypoints', expected a pretrained eye"):
        new_eye(PretrainEyeConfig(init="assets/fusion", learns="turn"), FR3)


def test_a_batch_larger_than_the_scenes_is_refused_before_any_is_drawn():
    with pytest.raises(UserError, match="optim.batch=881 scenes=1000: expected at most 880, .* or more scenes"):
        PretrainEyeConfig(scenes=1000, optim=OptimConfig(batch=881))
    assert PretrainEyeConfig(scenes=1000, optim=OptimConfig(batch=880)).scenes == 1000


def test_the_turn_is_not_learned_from_tasks_without_one():
    with pytest.raises(UserError, match="nothing in them is grasped or reached one way round; add pick_place"):
        PretrainEyeConfig(init="assets/eye", learns="turn", tasks=("reach", "press_button"))


@pytest.mark.parametrize(
    ("task", "role"), [(name, 1) for name in TASKS.names() if TASKS.get(name).target_turns] + [("pick_place", 0)]
)
def test_the_shipped_eye_sees_how_a_hole_a_drawer_and_a_cube_are_turned(task, role):
    policy = load_eye(ASSETS / "eye", FR3)
    looks = SceneLooker(SceneConfig((task,), (RandomizeConfig(),), first_seed=FRESH)).chunk(0)[:40]
    processor = ObservationProcessor(policy)
    images = {name: np.stack([row["images"][c] for row, *_ in looks]) for c, name in enumerate(policy.spec.cameras)}
    state = np.stack([row["state"] for row, *_ in looks])
    found = processor.inputs(images, state, [sentence for _, sentence, _ in looks]).turn
    off = off_deg(found[:, role], torch.tensor(np.stack([row["turn"][role] for row, *_ in looks])))
    assert np.median(off) < 6 and np.mean(off < 20) > 0.9  # degrees; the hole catches a peg that is 20 off


# ---- what a head is told ---------------------------------------------------------------------------


def test_a_head_is_told_the_turn_and_unknown_is_none():
    policy = POINTS.build(SPEC)
    assert not policy.fusion.aim.linear.weight[:, -8:].any()  # what a dataset does not know leaves it so
    torch.nn.init.normal_(policy.fusion.aim.linear.weight)
    points, state = torch.randn(1, len(SPEC.points), 3), torch.zeros(1, SPEC.state_dim)

    def token(turn: list[float] | None, role: int = 1) -> torch.Tensor:
        given = torch.zeros(1, 2, 4)
        given[0, role] = torch.tensor(turn or 4 * [0.0])
        given = None if turn is None else given
        return policy.fusion(Inputs(state, points=points, turn=given)).tokens

    for role in (0, 1):
        assert not torch.equal(token([0.0, 0.0, 1.0, 0.0], role), token([0.0, 0.0, 0.0, 1.0], role))
    assert torch.equal(token([np.nan] * 4), token(None))


def test_what_was_found_of_the_turn_is_cached_and_what_is_true_is_handed_on():
    turn = torch.tensor([[[0.0, 1.0, 0.0, -1.0], [0.0, 0.0, 0.6, 0.8]]])
    found = Inputs(torch.zeros(1, SPEC.state_dim), points=torch.ones(1, len(SPEC.points), 3), turn=turn)
    again = cached_inputs(feature_arrays(found), np.zeros((1, SPEC.state_dim), np.float32))
    assert again.turn is not None and torch.equal(again.turn, turn)
    truth = {name: np.ones(3, np.float32) for name in SPEC.points} | dict(
        zip(TURN_COLUMNS, turn[0].numpy(), strict=True)
    )
    look = Observation({}, np.zeros(SPEC.state_dim, np.float32), "put the red peg in the blue block", 0.0)
    told = ObservationProcessor(POINTS.build(SPEC)).observe(look, truth).turn
    assert told is not None and torch.equal(told, turn)


def test_a_policy_that_was_told_no_turn_plays_as_it_did(tmp_path):
    policy = POINTS.build(SPEC)
    policy.fusion.aim.linear.weight.data[:] = 0
    checkpoint.save(tmp_path, policy, CheckpointMetadata("", "", (), {}))
    old = {name: value for name, value in policy.state_dict().items() if not name.startswith("fusion.aim.")}
    data, checksum = as_bytes(old)
    (tmp_path / checkpoint.WEIGHTS).write_bytes(data)
    config = tmp_path / checkpoint.CONFIG
    config.write_text(json.dumps(json.loads(config.read_text()) | checksum))
    loaded, _ = checkpoint.load(tmp_path)
    look = Inputs(torch.zeros(1, SPEC.state_dim), points=torch.randn(1, len(SPEC.points), 3), turn=torch.ones(1, 2, 4))
    assert torch.equal(loaded.fusion(look).tokens, policy.fusion(look).tokens)


def test_an_eye_of_before_sees_no_turn_alone_and_in_a_policy(tmp_path):
    policy = load_eye(eye_of_before(tmp_path / "eye", "turn", "object_turn"), FR3)
    assert policy.fusion.finder.turn is policy.fusion.finder.object_turn is None

    checkpoint.save(tmp_path, policy, CheckpointMetadata("", "", (), {}))
    old = {name: value for name, value in policy.state_dict().items() if not name.startswith("fusion.aim.")}
    data, checksum = as_bytes(old)
    (tmp_path / checkpoint.WEIGHTS).write_bytes(data)
    config = tmp_path / checkpoint.CONFIG
    content = json.loads(config.read_text()) | checksum
    for name in ("turn", "object_turn"):
        del content["policy"]["fusion"]["finder"][name]
    config.write_text(json.dumps(content))
    loaded, _ = checkpoint.load(tmp_path)
    assert loaded.fusion.finder.turn is None and not loaded.fusion.aim.linear.weight.any()
