"""The comparison of policies: its cells, how motion is measured, and a tiny one through the program."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from learning import TINY, FakeVision, about, tiny_model, write_demos
from matplotlib.image import imread

from policies.compare import cells
from policies.compare.cells import Cell, load_preset, parse_cells, played_in, train_cell, with_head
from policies.compare.compare import CompareConfig, main
from policies.compare.figure import draw_table
from policies.compare.table import changed_ways, decisions, markdown, ways
from policies.core.interface import PolicyConfig
from policies.core.spec import PolicySpec
from policies.evaluation import motion
from policies.evaluation.motion import Motion, rms_jerk, way
from policies.heads.bins import BinsConfig
from policies.heads.flow import FlowConfig
from policies.models import checkpoint
from policies.models.vla import VlaConfig
from policies.runtime.agent import PolicyAgent
from policies.train import TrainConfig, check_start
from policies.training.optim import OptimConfig
from policies.training.trainer import Trainer
from sim.core.config import CONF
from sim.core.contract import GROUNDING_COLUMNS
from sim.core.errors import UserError
from sim.core.provenance import plain
from sim.episode.results import summary
from sim.randomize.splits import SplitConfig
from sim.tasks.base import TASKS

BRIEF = OptimConfig(steps=2, batch=8, warmup_steps=1, threads=1)


def config(out, **options) -> CompareConfig:
    return CompareConfig(**{
        "out": str(out), "heads": ("regression", "flow"), "tasks": ("reach",), "seeds": (0, 1), "demo_episodes": 2,
        "evaluation_episodes": 2, "workers": 1, "init_fusion": None, "optim": BRIEF,
    } | options)  # fmt: skip


# ---- cells -------------------------------------------------------------------------------------


def test_a_cell_is_a_preset_or_a_preset_with_another_head():
    own = parse_cells(["small", "points"], None, ["reach", "push"])
    assert [(cell.name, cell.task) for cell in own] == [
        ("small", "reach"), ("small", "push"), ("points", "reach"), ("points", "push"),
    ]  # fmt: skip
    assert own[0].policy == VlaConfig() and own[2].policy.fusion.name == "true_points"
    (small,) = parse_cells(["points"], ["flow:exit_below=1e-3:joins=true:blocks=2"], ["reach"])
    assert small.policy.head == FlowConfig(exit_below=1e-3, joins=True, blocks=2)
    heads = parse_cells(["points"], ["flow", "bins:decoding=parallel:bins=64"], ["reach"])
    assert [cell.name for cell in heads] == ["flow", "bins:decoding=parallel:bins=64"]
    assert [cell.policy.head for cell in heads] == [FlowConfig(), BinsConfig(decoding="parallel", bins=64)]
    assert [cell.name for cell in parse_cells(["small", "points"], ["flow"], ["reach"])] == [
        "small/flow",
        "points/flow",
    ]


def test_the_folder_of_a_cell_tells_its_preset_and_its_head(tmp_path):
    """With another preset on a rerun, the same head is another policy."""
    asked = [(["points"], ["flow"]), (["small"], ["flow"]), (["points"], None), (["small", "points"], ["bins:bins=9"])]
    cells = [cell for presets, heads in asked for cell in parse_cells(presets, heads, ["reach"])]
    assert len({cell.folder(tmp_path, 0) for cell in cells}) == len(cells) == 5
    (beside_another,) = parse_cells(["small", "points"], ["flow"], ["reach"])[1:]
    assert beside_another.folder(tmp_path, 0) == cells[0].folder(tmp_path, 0)


def test_a_finished_policy_of_another_configuration_is_one_line(tmp_path):
    checkpoint.save(tmp_path / "policy", tiny_model(config=TINY), about())
    cell = Cell("tiny", TINY, "reach", "tiny")
    train_cell(cell, tmp_path, TrainConfig())  # finished: nothing is read or trained
    other = dataclasses.replace(cell, policy=dataclasses.replace(TINY, head=BinsConfig()))
    with pytest.raises(UserError, match=f"{tmp_path / 'policy'} holds another policy than tiny"):
        train_cell(other, tmp_path, TrainConfig())


def test_minutes_of_training_are_those_of_its_steps(tmp_path, monkeypatch):
    """The first cell encodes the images for all: ten minutes that no other cell pays."""
    clock = SimpleNamespace(now=0.0, process_time=lambda: clock.now)
    monkeypatch.setattr(cells, "time", clock)

    def passing(kind: type, name: str, seconds: float) -> None:
        slow = getattr(kind, name)

        def call(*given):
            clock.now += seconds
            return slow(*given)

        monkeypatch.setattr(kind, name, call)

    passing(FakeVision, "encode", 600.0)
    passing(Trainer, "update", 6.0)
    demos = write_demos(tmp_path / "demos", lengths=(9,))
    trained = TrainConfig(data=(str(demos),), init_fusion=None, optim=BRIEF)
    for name in ("first", "second"):
        train_cell(Cell(name, TINY, "pick_place", name), tmp_path / name, trained)
    minutes = [json.loads((tmp_path / name / "minutes.json").read_text())["train"] for name in ("first", "second")]
    assert minutes == pytest.approx([0.2, 0.2]) and clock.now > 600.0  # two steps each


def test_cells_are_trained_wherever_one_is(tmp_path, monkeypatch):
    (tmp_path / "runs").write_text("")  # no folder: the default of `policies.train out=` could not be written here
    monkeypatch.chdir(tmp_path)
    assert config(tmp_path / "out").training("reach", 3).optim.seed == 3


def test_every_preset_can_be_given_the_eye_instead_of_its_own_fusion():
    presets = sorted(path.stem for path in (CONF / "policy").glob("*.yaml"))
    spec = PolicySpec("fairino_fr3", ("front", "wrist"), (192, 192), 7, 7, GROUNDING_COLUMNS)
    for cell in parse_cells(presets, None, ["reach"], fusion_of="eye"):
        own, built = load_preset(cell.name), cell.policy.build(spec)
        assert plain(built.config) == plain(cell.policy)  # what a checkpoint holds
        assert built.fusion.finder.requires_pretrained and not built.needs.ground_truth
        assert (cell.policy.head, cell.policy.memory) == (own.head, own.memory)
        if cell.name in ("act", "pi05", "vima"):  # of each kind of fusion one: it reads all weights
            check_start(built, "assets/eye")
    with pytest.raises(UserError, match="unknown choice for policy 'eyes'.*did you mean 'eye'"):
        parse_cells(["act"], None, ["reach"], fusion_of="eyes")


@pytest.mark.parametrize(
    ("presets", "heads", "message"),
    [
        (["smal"], None, "unknown choice for policy 'smal'.*did you mean 'small'"),
        (["points"], ["flwo"], "unknown head 'flwo'.*did you mean 'flow'"),
        (["points"], ["bins:bnis=3"], "'policy.head.bnis'.*'policy.head.bins'"),
        (["points"], ["bins:bins=1"], "policy.head.bins=1, expected at least 2"),
        (["points"], ["bins:bins=["], r"heads: bins:bins=\[, expected NAME:OPTION=VALUE"),
        (["points"], ["bins:bins=${"], r"heads: bins:bins=\$\{, expected NAME:OPTION=VALUE"),
        (["points"], ["bins:bins"], "policy.head.bins=None is of type NoneType, expected int"),
        (["points", "points"], None, "expected each once"),
    ],
)
def test_a_cell_that_cannot_be_is_one_line(presets, heads, message):
    with pytest.raises(UserError, match=message):
        parse_cells(presets, heads, ["reach"])


def test_a_policy_without_a_head_keeps_what_it_has():
    with pytest.raises(UserError, match="policy 'other' has no head to exchange; give heads=null"):
        with_head(PolicyConfig(name="other"), "flow")


def test_the_same_training_seed_twice_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"seeds=\[1,1\], expected each once"):
        config(tmp_path, seeds=(1, 1))


def test_seeds_that_are_demonstrated_and_played_are_told_before_anything_is_made(tmp_path):
    shared = config(tmp_path / "out", demo_seed=900_150, demo_episodes=10, evaluation_episodes=151)
    with pytest.raises(UserError, match=r"seeds 900000 to 900150 share .* evaluation_seed=900160$"):
        main(shared)
    assert not (tmp_path / "out").exists()


def test_a_split_that_cannot_be_trained_on_leaves_no_run_to_go_on_with(tmp_path):
    """The folder would keep it, and refuse the right one."""
    with pytest.raises(UserError, match=r"split.part='pairs': training draws from 'train' alone"):
        main(config(tmp_path / "out", split=SplitConfig("pairs")))
    assert not (tmp_path / "out").exists()


def test_a_third_playing_which_nothing_reads_is_refused(tmp_path):
    with pytest.raises(UserError, match="draws=3, expected from 1 to 2"):
        config(tmp_path, draws=3)


# ---- motion ------------------------------------------------------------------------------------


def test_jerk_is_that_of_a_known_curve():
    time = np.arange(60) * 0.05
    joints = np.column_stack([2.0 * time**3, np.zeros(60)])  # 12 rad/s^3, and 0
    assert rms_jerk(joints, 0.05) == pytest.approx(12 / np.sqrt(2))
    assert rms_jerk(joints[:3], 0.05) == 0.0


def test_a_way_is_the_side_on_which_the_object_is_passed():
    forward = np.linspace(-0.25, -0.44, 20)  # the arm reaches towards -x
    pillar, pad = np.array([-0.33, 0.01]), np.array([-0.44, 0.01])
    for offset, side in ((0.1, "right"), (-0.1, "left"), (0.03, None)):
        path = np.column_stack([forward, 0.01 + offset * np.sin(np.linspace(0, np.pi, 20))])
        assert way(path, pillar, pad) == side
    assert way(path[:5], pillar, pad) is None  # it never passed
    assert way(path, pad, pillar) is None  # the object is not in the way


def test_an_episode_is_measured_by_its_steps():
    world = SimpleNamespace(scene_state=SimpleNamespace())
    world.task = SimpleNamespace(max_objects=1, handled_objects=(), brings_object=True)
    world.robot = SimpleNamespace(joints=2, control_period_s=0.5)
    moved = Motion(world)
    truth = {"grounding.object_pos_w": np.array([0.0, 0.0, 0.1]), "grounding.target_pos_w": np.array([-0.3, 0.4, 0.0])}
    for x, executed in zip((0.1, 0.05, -0.1, -0.2), (0.0, 0.0, 0.0, 1.0), strict=True):
        world.scene_state.tool_pos_w = np.array([x, 0.2, 0.3])
        moved.add(SimpleNamespace(executed=np.array([executed, executed, 9.0]), ground_truth=truth))
    assert moved.row() == {"placement_error_mm": 500.0, "jerk_rad_s3": 8.0, "way": "right"}
    world.task.handled_objects, world.task.brings_object = (0,), False
    assert (moved.row()["way"], moved.row()["placement_error_mm"]) == (None, None)


def test_nothing_is_placed_where_no_object_is_brought_to_its_target():
    """Round a pillar, at a handle that is pulled and a button that goes down, the distance tells of no placing."""
    without = {name for name in TASKS.names() if not TASKS.get(name).brings_object}
    assert without == {"reach_around", "open_drawer", "press_button"}


# ---- the table ---------------------------------------------------------------------------------


def episode(success: bool, **values) -> dict:
    row = {"success": success, "time_s": 5.0, "placement_error_mm": 10.0, "jerk_rad_s3": 3.0, "way": None}
    return row | values


def test_what_is_written_of_motion_are_medians_and_of_placement_those_of_successes():
    found = motion.summary([episode(True), episode(False, placement_error_mm=900.0, jerk_rad_s3=9.0), episode(True)])
    assert found == {"placement_error_mm_median": 10.0, "jerk_rad_s3_median": 3.0}
    for nothing_placed in (episode(False), episode(True, placement_error_mm=None)):
        assert motion.summary([nothing_placed])["placement_error_mm_median"] is None


def test_decisions_of_several_training_seeds_are_one_median_and_the_worst():
    found = decisions([{"p50_ms": 1.0, "p99_ms": 9.0}, {"p50_ms": 3.0, "p99_ms": 4.0}])
    assert found == {"decision_ms_p50": 2.0, "decision_ms_p99": 9.0}


def test_a_way_is_kept_or_changed_in_the_same_scene(tmp_path):
    for draw, taken in enumerate((["left", "left", None, "right"], ["left", "right", "right", "right"])):
        folder = played_in(tmp_path, draw)
        folder.mkdir()
        (folder / "results.json").write_text(json.dumps({"episodes": [{"way": one} for one in taken]}))
    assert changed_ways([tmp_path, tmp_path / "once"]) == {"twice": 3, "changed": 1}
    assert changed_ways([tmp_path / "once"]) == {"twice": 0, "changed": 0}


@pytest.mark.parametrize(("successes", "sides"), [(0, None), (60, None), (60, "left")])
def test_rates_at_the_ends_are_written_and_drawn(tmp_path, successes, sides):
    episodes = [episode(i < successes, way=sides) for i in range(60)]
    row = {"name": "flow", "task": "reach", **summary(episodes), **motion.summary(episodes), **ways(episodes)}
    row |= {
        "twice": 0,
        "changed": 0,
        "training_minutes": 1.0,
        "parameters": 3_000_000,
        "decision_ms_p50": 1.0,
        "decision_ms_p99": 2.0,
    }
    draw_table(tmp_path / "table.png", [row])
    image = imread(tmp_path / "table.png")
    assert image.std() > 0.05
    blue = np.isclose(image[..., :3], np.array([37, 99, 168]) / 255, atol=0.02).all(-1)
    assert blue[:, -300:].mean() > 0.2 if sides else not blue[:, -300:].any()  # all on the left
    assert f"{successes / 60:.1%}" in markdown([row])


def test_a_comparison_is_made_shown_and_gone_on_with(tmp_path, monkeypatch):
    begun, begin = [], PolicyAgent.begin
    monkeypatch.setattr(PolicyAgent, "begin", lambda self, seed: begun.append((seed, self.draw)) or begin(self, seed))
    main(config(tmp_path, draws=2))
    rows = json.loads((tmp_path / "table.json").read_text())["cells"]
    assert [row["name"] for row in rows] == ["regression", "flow"]
    for row in rows:
        assert row["n"] == 4 and set(row["by_train_seed"]) == {"0", "1"}
        assert row["training_minutes"] > 0 and row["parameters"] > 1e5 and row["decision_ms_p99"] > 0
        assert all(one["n"] == 2 and one["left"] == one["right"] == 0 for one in row["by_train_seed"].values())
    assert set(begun) == {(900_000 + i, draw) for i in (0, 1) for draw in (0, 1)}
    folder = tmp_path / "cells" / "points-flow" / "reach" / "seed_0"
    both = [json.loads((played_in(folder, draw) / "results.json").read_text())["episodes"] for draw in (0, 1)]
    assert len({json.dumps([one["draws"] for one in episodes]) for episodes in both}) == 1  # the same scenes
    table = (tmp_path / "table.md").read_text().splitlines()
    assert len(table) == 2 + 2 and all(line.count("|") == table[0].count("|") for line in table)
    assert imread(tmp_path / "table.png").shape[1] > 800
    assert not list((tmp_path / "demos").rglob("*.mp4"))  # these policies need no images

    made = {
        path: path.stat().st_mtime_ns
        for path in tmp_path.rglob("*")
        if path.name in ("model.safetensors", "results.json")
    }
    assert len(made) == 4 + 8
    main(config(tmp_path, heads=("regression", "flow", "cvae"), seeds=(0,)))
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert [row["n"] for row in json.loads((tmp_path / "table.json").read_text())["cells"]] == [2, 2, 2]
    with pytest.raises(UserError, match="was begun with demo_episodes=2, not 3"):
        main(config(tmp_path, demo_episodes=3))
