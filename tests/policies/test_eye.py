"""The eye: its geometry against MuJoCo, its heat maps, its labels against what cameras see, its programs."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import cast

import mujoco
import numpy as np
import pytest
import torch
from fr3 import FR3

from policies.core.spec import PolicySpec
from policies.evaluate_eye import EvaluateEyeConfig, EyeWorker, evaluate_eye
from policies.eye.bench import FREE, Arm, Camera
from policies.eye.description import describe
from policies.eye.queries import Reader
from policies.eye.sight import Sight
from policies.eye.solve import CameraPrior, Measured, solve
from policies.eye.trunk import CELLS, SIDE, as_patches, cell_centres
from policies.eye.view import CameraView, Heat, heat_loss
from policies.eye_training import reader as reader_training
from policies.eye_training.errors import Errors, by_task
from policies.eye_training.load import eye_policy, load_eye
from policies.eye_training.loss import _varied
from policies.eye_training.reader import refit_reader
from policies.eye_training.unknown import UNKNOWN, Unknown, with_unknown
from policies.fusion.eye import NOWHERE_M, Eye, EyeFusionConfig
from policies.fusion.grounded_points import GroundedPoints, TruePointsConfig
from policies.fusion.pretrained_fusion import save_fusion
from policies.models import checkpoint
from policies.models.checkpoint import CheckpointMetadata
from policies.models.vla import Vla, VlaConfig
from policies.pretrain_eye import PretrainEyeConfig
from policies.scenes.labels import FIRST_THING, KINDS, Thing, named_points_w, things
from policies.scenes.looks import SceneConfig, SceneLooker, crowded
from policies.scenes.poses import move_arm
from policies.scenes.sentences import PHRASE, foil, names_pair
from policies.scenes.table import WordTable, named_things
from policies.vision.pixels import PixelsConfig
from sim.core.errors import UserError
from sim.core.paths import ASSETS
from sim.core.provenance import plain
from sim.envs.simulation import Simulation, SimulationConfig
from sim.randomize.ranges import RandomizeConfig, nominal
from sim.randomize.splits import SplitConfig
from sim.robots.robot import RobotConfig
from sim.scene import cabinet
from sim.scene.placement import COLOURS
from sim.tasks.base import TASKS
from sim.tasks.instructions import NOUNS, WORD_KINDS
from sim.tasks.place_in_drawer import OPEN_ENOUGH_M

SENTENCES = [f"lift the {colour} block" for colour in ("red", "green", "yellow", "blue", "white")]
POSES = np.array(FR3.home_rad) + np.random.default_rng(0).uniform(-0.4, 0.4, (5, FR3.joints))


@pytest.fixture(scope="module")
def bench():
    arm = Arm(FR3.joints)
    cameras = {"front": Camera(on_tool=False), "wrist": Camera(on_tool=True)}
    describe(arm, cameras, FR3)
    return arm, cameras


@pytest.fixture(scope="module")
def world():
    one = Simulation(SimulationConfig("pick_place", nominal()))
    one.reset(3)
    return one


# ---- geometry ----------------------------------------------------------------------------------


def test_the_tool_is_where_mujoco_has_it(bench, world):
    arm, _ = bench
    for joints in POSES:
        world.data.qpos[world.scene.arm_qpos] = joints
        mujoco.mj_kinematics(world.scene.model, world.data)
        points, rotation = arm(torch.tensor([[*joints, 1.0]]))
        np.testing.assert_allclose(points[0, -1], world.data.site_xpos[world.scene.tcp_site], atol=1e-6)
        np.testing.assert_allclose(rotation[0].flatten(), world.data.site_xmat[world.scene.tcp_site], atol=1e-6)


@pytest.mark.parametrize("name", FR3.camera_names)
def test_a_camera_sees_a_point_where_mujoco_draws_it(bench, world, name):
    arm, cameras = bench
    world.reset(3)
    joints, state = np.array(FR3.home_rad), torch.tensor([[*FR3.home_rad, 1.0]])
    world.data.qpos[world.scene.arm_qpos] = joints
    points, rotation = arm(state)
    tool_w = points[0, -1].numpy()
    first = world.scene.object_qpos[0]
    world.data.qpos[first : first + 3] = [*(tool_w[:2] + [-0.06, 0.02]), 0.02]
    mujoco.mj_kinematics(world.scene.model, world.data)
    geoms = world.segment(name)
    rows, columns = np.nonzero(np.isin(geoms, world.scene.object_geoms[0]))
    drawn = np.array([columns.mean() + 0.5, rows.mean() + 0.5]) / len(geoms)
    place = np.array(world.data.xpos[world.scene.objects[0]])[None, None]
    found = seen_by([cameras[name]], place, np.zeros((1, 1, FREE)), (points[:, -1].numpy(), rotation.numpy()))
    assert len(rows) > 4
    np.testing.assert_allclose(found[0, 0, 0], drawn, atol=1.5 / len(geoms))


def seen_by(cameras, points: np.ndarray, free: np.ndarray, tool) -> np.ndarray:
    """The pixels (B, C, N, 2) of points (B, N, 3) m."""
    sight = Sight(cameras, tool)
    return sight.project(sight.framed(points), free).pixel


def test_derivatives_of_pixels_are_those_of_differences(bench):
    arm, cameras = bench
    rng, both = np.random.default_rng(0), list(cameras.values())
    tool = arm(torch.tensor(POSES))
    tool = tool[0][:, -1].numpy(), tool[1].numpy()
    points = np.stack([tool[0] + rng.normal(0, 0.03, (len(POSES), 3)) - [0, 0, 0.05] for _ in range(3)], 1)
    free = rng.normal(0, 0.01, (len(POSES), 2, FREE))
    sight = Sight(both, tool)
    seen = sight.project(sight.framed(points), free)
    for i in range(FREE):
        step = 1e-6 * np.eye(FREE)[i]
        wanted = (seen_by(both, points, free + step, tool) - seen_by(both, points, free - step, tool)) / 2e-6
        np.testing.assert_allclose(seen.by_camera[..., i], wanted, atol=1e-5, rtol=1e-5)
    for i in range(3):
        step = 1e-6 * np.eye(3)[i]
        wanted = (seen_by(both, points + step, free, tool) - seen_by(both, points - step, free, tool)) / 2e-6
        np.testing.assert_allclose(seen.by_point[..., i], wanted, atol=1e-5, rtol=1e-5)
    assert np.abs(seen.by_camera).max() > 1


def exact_pixels(bench, moved: np.ndarray, *, arm_seen: bool) -> tuple[list, np.ndarray, Measured]:
    """Cameras, true points and their exact pixels in a front camera that is elsewhere."""
    arm, cameras = bench
    points, rotation = (one.numpy() for one in arm(torch.tensor([[*FR3.home_rad, 1.0]])))
    tool, true = (points[:, -1], rotation), np.array([[[-0.35, 0.1, 0.02], [-0.28, -0.12, 0.008]]])
    both, free = [cameras["front"], cameras["wrist"]], np.stack([moved, np.zeros(FREE)])[None]
    pixel, arm_pixel = seen_by(both, true, free, tool), seen_by(both, points, free, tool)
    inside = ((arm_pixel > 0) & (arm_pixel < 1)).all(-1, keepdims=True) & arm_seen
    deviation = np.broadcast_to(np.array([1e-3, 1e3])[None, :, None, None], pixel.shape)
    measured = Measured(
        tool=tool, arm=points, arm_pixel=arm_pixel,
        arm_deviation=np.broadcast_to(np.where(inside, 1e-3, 1e3), arm_pixel.shape), pixel=pixel, deviation=deviation,
        start=true + 0.03, height=true[..., 2], height_deviation=np.full((1, 2), 1e-3),
    )  # fmt: skip
    return both, true, measured


def looked_at(bench, moved: np.ndarray, *, arm_seen: bool) -> tuple[np.ndarray, np.ndarray]:
    """The true points and what is solved from their exact pixels in a front camera that is elsewhere."""
    both, true, measured = exact_pixels(bench, moved, arm_seen=arm_seen)
    return true, solve(both, CameraPrior([False, True])().detach().numpy(), measured).points


def test_torch_solves_what_numpy_solves(bench):
    """Torch is what an exported policy is traced in."""
    both, _, measured = exact_pixels(bench, 0.01 * np.ones(FREE), arm_seen=True)
    given = {field.name: getattr(measured, field.name) for field in fields(Measured) if field.name != "tool"}
    tensors = {name: torch.tensor(np.array(value)) for name, value in given.items()}
    in_torch = Measured((torch.tensor(measured.tool[0]), torch.tensor(measured.tool[1])), **tensors)
    prior = CameraPrior([False, True])().detach()
    wanted, found = solve(both, prior.numpy(), measured), solve(both, prior, in_torch)
    for field in fields(wanted):
        np.testing.assert_allclose(getattr(found, field.name), getattr(wanted, field.name), rtol=1e-6, atol=1e-9)
    assert np.abs(wanted.free).max() > 1e-3


def test_the_arm_calibrates_a_camera_that_was_moved(bench):
    moved = np.array([0.012, -0.01, 0.008, 0.004, -0.005, 0.003, 0.008])
    true, found = looked_at(bench, moved, arm_seen=True)
    assert np.linalg.norm((found - true)[..., :2], axis=-1).max() < 0.002
    true, blind = looked_at(bench, moved, arm_seen=False)
    assert np.linalg.norm((blind - true)[..., :2], axis=-1).max() > 0.005


# ---- images ------------------------------------------------------------------------------------


def test_patches_hold_the_pixels_two_by_two():
    images = torch.randint(0, 256, (1, SIDE, SIDE, 3), dtype=torch.uint8)
    patches = as_patches(images)
    back = ((patches + 1) * 127.5).round().to(torch.uint8)[0]
    for row, column, channel in ((0, 0, 0), (5, 8, 1), (191, 190, 2)):
        assert (
            back[3 * (2 * (row % 2) + column % 2) + channel, row // 2, column // 2] == images[0, row, column, channel]
        )


def test_a_pixel_is_found_between_cells():
    view, pixel = CameraView((4, 4, 4, 4), 4, 4, 1, 4), torch.tensor([[[0.3137, 0.7241]]])
    away = (cell_centres() - pixel[0]).abs() * CELLS
    share = ((1 - away[:, 0]).clamp(min=0) * (1 - away[:, 1]).clamp(min=0) + 1e-9).log()
    heat = view.heat(torch.cat([share, torch.tensor([-20.0])])[None, None])
    torch.testing.assert_close(heat.pixel, pixel, atol=1e-5, rtol=0)
    assert heat.presence.item() > 0.999
    entropy = -(share.exp() * share).sum()
    assert heat_loss(heat, pixel, torch.ones(1, 1))["cross"] == pytest.approx(entropy.item(), abs=1e-3)
    gone = heat_loss(heat, torch.full((1, 1, 2), torch.nan), torch.ones(1, 1))["cross"]
    assert gone == pytest.approx(20.0, abs=0.1)


@pytest.mark.parametrize(
    ("x", "found", "absent"),
    [(0.001, 0.5 / CELLS, 0), (0.02, 0.02, 0), (0.999, 1 - 0.5 / CELLS, 0), (-0.001, 0, 1), (1.001, 0, 1)],
)
def test_a_pixel_at_the_border_is_seen_and_one_beyond_is_not(x, found, absent):
    logits, pixel = torch.zeros(1, 1, CELLS**2 + 1, requires_grad=True), torch.tensor([[[x, 0.5]]])
    heat = Heat(logits, pixel, torch.zeros(1, 1, 2), torch.ones(1, 1))
    heat_loss(heat, pixel, torch.ones(1, 1))["cross"].backward()
    wanted = (logits.softmax(-1) - logits.grad).detach()[0, 0]  # where the loss is least
    assert wanted[-1].item() == pytest.approx(absent, abs=1e-4)
    assert (wanted[:-1] @ cell_centres())[0].item() == pytest.approx(found, abs=1e-4)


# ---- labelled scenes ---------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS.names())
def test_labels_of_a_look_agree_with_the_scene(task):
    looker = SceneLooker(SceneConfig((task,), (crowded(RandomizeConfig()),), first_share=1.0))
    world = Simulation(SimulationConfig(task, crowded(RandomizeConfig()), render=looker.render))
    rng = np.random.default_rng(0)
    for seed in range(4):
        row, sentence, other = looker.look(world, seed, rng)
        here = things(world)
        assert [KINDS[kind - 1] for kind, _ in row["things"][: len(here)]] == [thing.kind for thing in here]
        for phrase in PHRASE.finditer(sentence):
            assert any(one.colour == phrase[1] and phrase[2] in NOUNS[one.kind] for one in here)
        absent = [p for p in PHRASE.finditer(other) if not any(_is(one, p) for one in here)]
        assert bool(other) == bool(absent) == bool(row["absent"].any())
        shown, number = row["cells"], named_things(sentence, row["things"])
        assert all(n == 0 or here[n - FIRST_THING].kind for n in number)
        assert shown.max() < FIRST_THING + len(here)
    world.close()


class Lengths:
    """A language encoder: a sentence's one state is its length."""

    fingerprint = "lengths"

    def encode(self, instructions: list[str]) -> tuple[np.ndarray, np.ndarray]:
        return np.array([[[len(one)]] for one in instructions], np.float32), np.ones((len(instructions), 1), bool)


def test_states_of_words_are_kept_for_the_same_sentences_alone(tmp_path):
    for sentence in ("lift it", "lift it at once", "lift it"):
        states, mask = WordTable(Lengths(), tmp_path, {sentence})([sentence])
        assert states.tolist() == [[[len(sentence)]]] and mask.tolist() == [[True]]
    assert len(list(tmp_path.iterdir())) == 2


def _is(one, phrase) -> bool:
    return one.colour == phrase[1] and phrase[2] in NOUNS[one.kind]


def test_the_named_cube_is_what_its_cells_show():
    looker = SceneLooker(SceneConfig(("pick_place",), (nominal(),), first_share=1.0))
    world, rng, hits = (
        Simulation(SimulationConfig("pick_place", nominal(), render=looker.render)),
        np.random.default_rng(0),
        0,
    )
    for seed in range(12):
        row, sentence, _ = looker.look(world, seed, rng)
        x, y = (row["pixels"][0, 0] * CELLS).astype(int)
        hits += row["cells"][0, y, x] == named_things(sentence, row["things"])[0]
        np.testing.assert_allclose(named_points_w(world, None)["object"], row["points_b"][0], atol=1e-6)
    assert hits >= 10  # the arm may be in between
    world.close()


def test_of_a_task_of_two_steps_each_sentence_is_about_its_own_points():
    """Whichever step is due: a drawer may be open already when "open ..." is asked, closed when something is put in."""
    looker = SceneLooker(SceneConfig(("place_in_drawer",), (nominal(),)))
    world, rng = (
        Simulation(SimulationConfig("place_in_drawer", nominal(), render=looker.render)),
        np.random.default_rng(0),
    )
    asked = set()
    for seed in range(14):
        row, sentence, other = looker.look(world, seed, rng)
        layout, state = world.params.layout, world.scene_state
        opens = sentence == f"open the {layout.target_colours[0]} drawer"
        assert opens or sentence == layout.instruction
        assert row["absent"].tolist() in ([[True, True]] if opens else [[True, False], [False, True]])
        point_w = cabinet.bar_w(state, 0, cabinet.opening_m(state, 0)) if opens else state.object_pos_w(0)
        np.testing.assert_allclose(row["points_b"][0], point_w, atol=1e-6)  # the base is at the origin
        asked.add((opens, cabinet.opening_m(state, 0) > OPEN_ENOUGH_M))
    assert len(asked) >= 3
    world.close()


def test_an_eye_is_measured_on_what_a_sentence_names(random_eye):
    """Of `sort` a step names its cube; the whole leaves to the policy which one is due."""
    looker = EyeWorker(EvaluateEyeConfig(eye=str(random_eye), task="sort"))._looker
    world = Simulation(SimulationConfig("sort", nominal(), render=looker.render))
    rng, steps = np.random.default_rng(0), set()
    for seed in range(8):
        row, sentence, _ = looker.look(world, seed, rng)
        step = world.params.layout.subtasks.index(sentence)
        point_w = world.task.step_points_w(world.scene_state, step)["object"]
        np.testing.assert_allclose(row["points_b"][0], point_w, atol=1e-6)  # the base is at the origin
        steps.add(step)
    world.close()
    assert len(steps) > 1


def test_images_are_varied_on_whatever_device_they_are():
    """optim.device=cuda: what varies them is drawn on the CPU, as every noise of training."""
    assert _varied(torch.ones(2, 12, 4, 4, device="meta"), torch.Generator()).device.type == "meta"


def test_a_foil_changes_one_colour_to_one_that_is_not_there():
    here = [Thing(1, "cube", "red"), Thing(2, "plate", "blue"), Thing(3, "ball", "green")]
    for seed in range(20):
        changed, absent = foil("put the red block on the blue dish", here, here[0], np.random.default_rng(seed))
        colours = [phrase[1] for phrase in PHRASE.finditer(changed)]
        assert [colours[0] != "red", colours[1] != "blue"] == absent.tolist()
        assert absent.sum() == 1


def test_a_foil_names_nothing_that_is_held_out():
    here, pairs = [Thing(1, "mug", "red"), Thing(2, "plate", "blue")], ("yellow mug", "white mug", "green plate")
    asked = [
        foil("put the red cup on the blue dish", here, here[0], np.random.default_rng(i), pairs) for i in range(40)
    ]
    assert {phrase[1] for text, _ in asked for phrase in PHRASE.finditer(text)} > {"red", "blue", "purple"}
    assert not any(names_pair(text, pairs) for text, _ in asked)
    assert names_pair("put the yellow cup on the blue dish", pairs)
    assert any(
        names_pair(foil("lift the red mug", here, here[0], np.random.default_rng(i))[0], pairs) for i in range(40)
    )
    assert SceneConfig(("reach",), ()).unnamed and not SceneConfig(("reach",), (), SplitConfig("pairs")).unnamed


def test_a_reader_learned_anew_never_reads_what_is_held_out(monkeypatch):
    torch.manual_seed(0)
    old, fresh, read = Reader(8, 8, 4, 3), Reader(8, 8, 4, 3), set()
    states = {text: torch.randn(4, 8) for text in SENTENCES}

    def words(texts):
        read.update(texts)
        return torch.stack([states[text] for text in texts]), torch.ones(len(texts), 4, dtype=torch.bool)

    def unlike() -> float:
        kept = [text for text in SENTENCES if "yellow" not in text]
        return (fresh(*words(kept)).vector - old(*words(kept)).vector).abs().mean().item()

    before = unlike()
    monkeypatch.setattr(reader_training, "STEPS", 300)
    refit_reader(fresh, old, SENTENCES, words, ("yellow cube",))
    assert unlike() < 0.3 * before and not any("yellow" in text for text in read)


def test_an_unknown_word_asks_for_the_mean_of_the_known_kinds(monkeypatch):
    monkeypatch.setattr(reader_training, "STEPS", 600)
    torch.manual_seed(0)
    old, fresh = Reader(16, 16, 4, 3), Reader(16, 16, 4, 3)
    states = {word: torch.randn(16) for word in ["lift", "the", "red", "blue", "cube", "mug", "can", "lemon", "spoon"]}

    def words(texts):
        return torch.stack([torch.stack([states[word] for word in text.split()]) for text in texts]), torch.ones(
            len(texts), 4, dtype=torch.bool
        )

    def vector(reader: Reader, *texts: str) -> torch.Tensor:
        return reader(*words(texts)).vector.mean(0)

    known = {colour: [f"lift the {colour} {kind}" for kind in ("cube", "mug", "can")] for colour in ("red", "blue")}
    lemon, spoon = ({colour: f"lift the {colour} {word}" for colour in known} for word in ("lemon", "spoon"))
    unknown = [Unknown((lemon[colour], spoon[colour]), (*some,)) for colour, some in known.items()]
    refit_reader(fresh, old, sum(known.values(), []), words, (), unknown)
    for colour, some in known.items():
        wanted, found = vector(old, *some), vector(fresh, lemon[colour])
        assert (found - wanted).norm() < 0.3 * min((found - vector(old, one)).norm() for one in some)


def test_unknown_words_name_nothing_that_a_scene_may_show():
    assert not {*UNKNOWN} & {*WORD_KINDS, *COLOURS} and len(UNKNOWN) == len({*UNKNOWN})
    sentences = ["put the red cup on the blue dish", "push the yellow cube to the white circle"]
    for one in with_unknown(sentences, ("cube", "mug"), ("yellow cube",)):
        assert not any(
            PHRASE.search(text.replace("blue dish", "").replace("white circle", "")) for text in one.by_unknown
        )
        assert len(one.by_kind) == (2 if "red" in one.by_kind[0] else 1)
        assert not any(names_pair(text, ("yellow cube",)) for text in one.by_kind)


# ---- as part of a policy, and its program ------------------------------------------------------


def test_errors_are_told_apart_by_task_and_look():
    off = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 100.0]])
    errors = Errors(
        np.array(["a", "a", "b", "b"]), np.array([True, False, True, False]), off, np.full((4, 2), 10.0),
        np.array([[np.nan, 2000.0], [np.nan, np.nan], [5.0, np.nan], [np.nan, np.nan]]),
        np.array([[np.nan, 3.0], [np.nan, np.nan], [np.nan, 4.0], [np.nan, 8.0]]),
    )  # fmt: skip
    tables = by_task(errors, 1000.0)
    assert tables["a"]["first"]["object"] == {"median": 1.0, "p95": 1.0}
    assert tables["all"]["coverage"] == 0.875
    assert tables["a"]["turn_deg"] == {"object": None, "target": {"median": 3.0, "p95": 3.0}}
    assert tables["b"]["turn_deg"] == {"object": None, "target": {"median": 6.0, "p95": 7.8}}
    assert (tables["all"]["flagged_absent"], tables["all"]["flagged_good"]) == (0.5, 0.0)
    errors.region_mm[3, 1] = 5000.0  # "not there" covers nothing
    flagged = by_task(errors, 1000.0)["all"]
    assert (flagged["coverage"], flagged["flagged_good"]) == (1.0, 0.25)


@pytest.fixture(scope="module")
def random_eye(tmp_path_factory):
    torch.manual_seed(0)
    eye = eye_of(eye_policy(FR3, EyeFusionConfig()))
    describe(eye.mixer.arm, cast(Mapping, eye.mixer.cameras), FR3)
    folder = tmp_path_factory.mktemp("eye")
    save_fusion(folder, eye.state_dict(), {"fusion": plain(eye.config)})
    return folder


def eye_of(policy: Vla) -> Eye:
    return cast(Eye, cast(GroundedPoints, policy.fusion).finder)


def test_the_program_measures_any_eye(random_eye, tmp_path):
    tables = evaluate_eye(EvaluateEyeConfig(eye=str(random_eye), task="reach", scenes=1, workers=1, out=str(tmp_path)))
    assert tables["all"]["looks"] == 100 and tables["all"]["absent"] > 20
    assert tables["reach"]["first"]["target"]["median"] > 5  # it has learned nothing
    assert (tmp_path / "eye.json").is_file()
    with pytest.raises(UserError, match="without=side"):
        EvaluateEyeConfig(without="side")
    with pytest.raises(UserError, match="'place_in_turn'.*place_in_drawer"):  # of several steps
        EvaluateEyeConfig(task="place_in_turn")
    with pytest.raises(UserError, match="no pretrained eye"):
        evaluate_eye(EvaluateEyeConfig(eye=str(tmp_path / "none")))
    with pytest.raises(UserError, match="without=front: an eye alone looks without a camera"):
        evaluate_eye(EvaluateEyeConfig(eye="assets/fusion", without="front"))
    with pytest.raises(UserError, match="is of robot fairino_fr3|fairino_fr3"):
        evaluate_eye(EvaluateEyeConfig(checkpoint=str(saved_points(tmp_path)), robot=RobotConfig("franka")))
    with pytest.raises(UserError, match="finds no points in images by a sentence"):
        evaluate_eye(EvaluateEyeConfig(checkpoint=str(saved_points(tmp_path))))


def saved_points(root: Path) -> Path:
    policy = VlaConfig(vision=None, language=None, fusion=TruePointsConfig(width=16)).build(
        PolicySpec.of(FR3, (32, 32))
    )
    checkpoint.save(root / "points", policy, CheckpointMetadata("", "", ("reach",), {}))
    return root / "points"


def test_an_absent_thing_has_a_region_as_large_as_the_table(random_eye):
    eye = eye_of(load_eye(random_eye, FR3))
    images = {name: torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8) for name in FR3.camera_names}
    found = eye.find(
        images, torch.zeros(1, 3, 384), torch.ones(1, 3, dtype=torch.bool), torch.tensor([[*FR3.home_rad, 1.0]])
    )
    found.flags[..., 1] = torch.tensor([[1.0, -1.0]])
    error = eye.error_m(found)
    assert error[0, 0] < NOWHERE_M <= error[0, 1]


def test_pixels_are_handed_on_as_they_are():
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    (same,) = PixelsConfig().build().encode(images)
    assert same is images
    images.setflags(write=False)  # as a camera's shared memory is
    (copy,) = PixelsConfig().build().encode(images)
    assert copy.flags.writeable and (copy == images).all()


def test_a_policy_that_does_not_fit_the_eye_is_one_line():
    spec = eye_policy(FR3, EyeFusionConfig()).spec
    with pytest.raises(UserError, match="policy.vision.name=pixels"):
        VlaConfig(fusion=EyeFusionConfig()).build(spec)
    with pytest.raises(UserError, match="images are 96x96"):
        VlaConfig(vision=PixelsConfig(), fusion=EyeFusionConfig()).build(replace(spec, image_size=(96, 96)))
    with pytest.raises(UserError, match="needs tokens in the prefix"):
        VlaConfig(vision=PixelsConfig(), fusion=EyeFusionConfig()).build(spec)


@pytest.mark.parametrize("folder", sorted(path.parent for path in ASSETS.glob("*/fusion.safetensors")))
def test_a_card_states_the_digest_of_its_weights(folder, tmp_path):
    card = json.loads((folder / "card.json").read_text())
    data = (folder / "fusion.safetensors").read_bytes()
    assert card["weights_sha256"] == hashlib.sha256(data).hexdigest()
    changed = bytearray(data)
    changed[-5] ^= 1
    (tmp_path / "fusion.safetensors").write_bytes(changed)
    (tmp_path / "card.json").write_text(json.dumps(card))
    with pytest.raises(UserError, match="was changed since it was written"):
        load_eye(tmp_path, FR3)


def test_the_hand_holds_what_the_step_names():
    """Of sort the cube of that step, of opening a drawer nothing, whatever would be due in an episode."""
    for task, held in (("sort", {0: {0, None}, 1: {1, None}}), ("place_in_drawer", {0: {None}, 1: {0, None}})):
        world, rng = Simulation(SimulationConfig(task)), np.random.default_rng(0)
        seed = next(seed for seed in range(50) if world.reset(seed) or len(world.params.layout.subtasks or ()) > 1)
        for step, wanted in held.items():
            found = set()
            for _ in range(30):
                world.reset(seed)
                found.add(move_arm(world, rng, step)[1])
            assert found == wanted


def test_half_of_the_scenes_are_of_the_first_task():
    drawn = Counter(PretrainEyeConfig(tasks=("stack", "reach", "push")).looks.choice(i)[0] for i in range(12))
    assert drawn == {"stack": 6, "reach": 3, "push": 3}
