"""Training: windows, shares, exact resume, checkpoints that are refused when they do not fit."""

import dataclasses
import json
import logging
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from fr3 import FPS, FR3
from learning import (
    QUICK,
    SIZE,
    SPEC,
    TINY,
    FakeText,
    FakeVision,
    about,
    killed_at,
    make_demo,
    random_batch,
    tiny_model,
    training_data,
    write_demos,
)  # fmt: skip
from safetensors.torch import load_file, save_file

from policies import train
from policies.core.indicator import Indicator
from policies.export.export import ExportConfig
from policies.fusion.grounded_points import TruePointsConfig
from policies.heads.flow import FlowConfig
from policies.models import checkpoint
from policies.processing.data import EpisodeTable, Source, TrainingData, fit_normalization
from policies.processing.features import cache_folder
from policies.processing.observation import ObservationProcessor
from policies.train import TrainConfig, shares_by_task
from policies.training import loop
from policies.training.fit import describe_training, fit, new_policy
from policies.training.optim import schedule
from policies.training.trainer import Trainer
from sim.core.contract import CONTRACT_VERSION
from sim.core.errors import UserError
from sim.dataset.reader import Column, Dataset, DatasetWriter, Episode, Features, write_sidecar
from sim.dataset.recorder import features


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    return write_demos(tmp_path_factory.mktemp("train") / "demos", perturbed={1: (5, 8)})


@pytest.fixture(scope="module")
def data(demos):
    return training_data(Source(demos))


@pytest.fixture
def saved(tmp_path, demos):
    checkpoint.save(tmp_path / "policy", tiny_model(), about(demos))
    return tmp_path / "policy"


# ---- datasets of other programs ----


LEROBOT = Path(__file__).resolve().parents[1] / "data" / "lerobot"


@pytest.mark.parametrize("name", ["recorded", "merged"])
def test_what_lerobot_recorded_or_edited_is_trained_on(name, tmp_path):
    config = TrainConfig(data=(str(LEROBOT / name),), out=str(tmp_path / "policy"), policy=TINY, optim=QUICK,
                         init_fusion=None)  # fmt: skip
    data = Path(shutil.copytree(LEROBOT / name, tmp_path / name))
    policy = train.train(dataclasses.replace(config, data=(str(data),)))
    assert all(torch.isfinite(value).all() for value in policy.state_dict().values())
    assert policy.spec.image_size == (48, 64) and policy.spec.points[0] == "grounding.object_pos_w"


def test_it_ends_with_how_much_memory_and_disk_it_took(demos, tmp_path, caplog):
    config = TrainConfig(data=(str(demos),), out=str(tmp_path / "policy"), policy=TINY, optim=QUICK, init_fusion=None)
    with caplog.at_level("INFO"):
        train.train(config)
    said = re.fullmatch(
        r"peak memory (\d+) MiB; on disk (\S+) MiB of features, (\S+) MiB of the policy", caplog.messages[-1]
    )
    assert said, caplog.messages[-1]
    memory, features, weights = map(float, said.groups())
    peak_kib = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
    assert memory == pytest.approx(peak_kib / 2**10, rel=0.02)
    kept = {root: _mib(root) for root in (cache_folder(demos), tmp_path / "policy")}
    assert [features, weights] == pytest.approx(list(kept.values()), abs=0.05) and min(kept.values()) > 0.1


def _mib(root: Path) -> float:
    """By du(1), in bytes of content."""
    done = subprocess.run(["du", "-sb", "--apparent-size", str(root)], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0]) / 2**20


def test_data_of_another_image_size_and_of_a_task_that_is_not_known_join(demos, tmp_path):
    """As LeRobot's editing leaves them: it is no second task for that."""
    episode, larger = make_demo(5, 9), (48, 64)
    images = {camera: np.zeros((9, *larger, 3), np.uint8) for camera in episode.images}
    with DatasetWriter(tmp_path / "edited", features(FR3, larger), 20, FR3.name) as writer:
        writer.commit(dataclasses.replace(episode, images=images))
    roots = (str(demos), str(tmp_path / "edited"))
    for name, policy in (("images", TINY), ("points", dataclasses.replace(TINY, fusion=TruePointsConfig(width=16)))):
        out = tmp_path / name
        trained = train.train(TrainConfig(data=roots, out=str(out), policy=policy, optim=QUICK, init_fusion=None))
        assert all(torch.isfinite(value).all() for value in trained.state_dict().values())
        assert checkpoint.load(out)[1].tasks == ("pick_place",)


def test_images_of_a_camera_are_resized_to_what_the_policy_looks_at(tmp_path, demos):
    """Large images become the shipped fusion's size, cropped to its aspect; a policy's size holds for any dataset."""
    size, length = (480, 640), 4
    columns = {"observation.state": Column("float32", (7,)), "action": Column("float32", (7,))}
    zeros = {name: np.zeros((length, 7), np.float32) for name in columns}
    images = np.zeros((length, *size, 3), np.uint8)
    images[:, :, 80:560] = 200  # what is left of the aspect of 4:3
    with DatasetWriter(tmp_path / "wide", Features(("front", "wrist"), size, columns), 20, "fairino_fr3") as writer:
        writer.commit(Episode(zeros, "go", {"front": images, "wrist": images}))
    table = training_data(Source(tmp_path / "wide"), policy=TINY.build(SPEC)).tables[0]
    assert table.spec.image_size == (96, 96)
    processor = ObservationProcessor(TINY.build(SPEC))
    seen = TrainingData([table], processor).batch(0, np.arange(2)).inputs.maps["front"]
    expected = processor.vision.encode(np.full((2, *SIZE, 3), 200, np.uint8))
    for found, of_plain in zip(seen, expected, strict=True):
        assert np.allclose(found.numpy(), of_plain, atol=0.02)


# ---- samples -----------------------------------------------------------------------------------


def test_a_chunk_is_the_actions_that_follow(data):
    table = data.tables[0]
    rows = np.array([0, 3])
    actions, valid = table.windows(rows, 4)
    assert valid.all()
    for row, chunk in zip(rows, actions, strict=True):
        assert np.array_equal(chunk, table.action[row : row + 4])


def test_what_was_commanded_is_the_action_before_and_an_episode_begins_at_rest(data):
    table = data.tables[0]
    begins = int(table.first[1])
    found = table.commanded(np.array([0, 3, begins, begins + 1]))
    expected = [table.state[0], table.action[2], table.state[begins], table.action[begins]]
    assert np.array_equal(found, expected)


def test_chunks_of_a_head_that_joins_are_normalized_from_commands(demos):
    table = EpisodeTable(Source(demos))
    joining = dataclasses.replace(TINY, head=dataclasses.replace(TINY.head, joins=True)).build(table.spec)
    data = TrainingData([table], ObservationProcessor(joining))
    assert TrainingData([table], ObservationProcessor(TINY.build(SPEC))).batch(0, np.arange(2)).inputs.commanded is None
    fit_normalization(joining, [table], np.random.default_rng(0))
    rows = np.flatnonzero(~table.perturbed)
    batch, before = data.batch(0, rows), table.commanded(rows)
    assert np.array_equal(batch.inputs.commanded, before)
    steps = (table.action[rows] - before)[:, :-1]
    assert np.allclose(joining.normalizer.mean[0, :-1], steps.mean(0), atol=1e-5)


def test_every_task_is_drawn_equally_often_and_its_datasets_by_their_frames(tmp_path, monkeypatch):
    sizes = {"a": ("reach", (40,)), "b": ("push", (10, 10)), "c": ("push", (5, 5))}
    tables = [EpisodeTable(Source(write_demos(tmp_path / name, lengths, task=task)))
              for name, (task, lengths) in sizes.items()]  # fmt: skip
    assert shares_by_task(tables[1:]) is None
    shares = shares_by_task(tables)
    assert shares == pytest.approx([1.0, 2 / 3, 1 / 3])
    given = []
    monkeypatch.setattr(train, "TrainingData", lambda *seen: given.append(seen[2]) or TrainingData(*seen))
    roots = tuple(str(tmp_path / name) for name in sizes)
    train.train(TrainConfig(data=roots, out=str(tmp_path / "out"), policy=TINY, optim=QUICK, init_fusion=None))
    assert sorted(given[0]) == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert checkpoint.load(tmp_path / "out")[1].tasks == ("push", "reach")


def test_a_dataset_whose_task_is_not_known_is_drawn_by_its_frames(tmp_path):
    sizes = {"a": ("push", (30,)), "b": ("", (9,)), "c": ("reach", (6,))}
    tables = {name: EpisodeTable(Source(write_demos(tmp_path / name, lengths, task=task)))
              for name, (task, lengths) in sizes.items()}  # fmt: skip
    assert shares_by_task([tables["a"], tables["b"]]) is None  # one task: all frames alike
    of_batch = np.array(shares_by_task(list(tables.values())))
    of_batch /= of_batch.sum()
    assert of_batch[0] == pytest.approx(of_batch[2])
    assert of_batch[1] == pytest.approx(9 / 45)


def test_several_tasks_need_a_policy_that_reads_which(tmp_path):
    roots = tuple(str(write_demos(tmp_path / task, (9,), task=task)) for task in ("reach", "push"))
    points = dataclasses.replace(TINY, fusion=TruePointsConfig(width=16))
    config = TrainConfig(data=roots, out=str(tmp_path / "out"), policy=points, optim=QUICK, init_fusion=None)
    with pytest.raises(UserError, match=r"data holds push, reach; .*: add policy.fusion.sentence=16"):
        train.train(config)
    reading = dataclasses.replace(points, fusion=TruePointsConfig(width=16, sentence=4))
    train.train(dataclasses.replace(config, policy=reading))
    assert checkpoint.load(tmp_path / "out")[0].config == reading


def test_a_chunk_ends_with_its_episode_and_before_a_disturbance(data):
    table = data.tables[0]
    last_of_first = table.lengths[0] - 1
    assert table.windows(np.array([last_of_first]), 4)[1].tolist() == [[True, False, False, False]]
    before_push = table.first[1] + 3
    assert table.windows(np.array([before_push]), 4)[1].tolist() == [[True, True, False, False]]


def test_a_chunk_ends_where_another_takes_over(demos):
    """The expert's correction is no continuation of what the policy did, nor the policy's of the expert's."""
    table = EpisodeTable(Source(demos))
    table.intervention[5:7] = True
    both, all_four = [True, True, False, False], [True] * 4
    for row, valid in ((1, all_four), (2, [True] * 3 + [False]), (4, [True] + 3 * [False]), (5, both), (7, both)):
        assert table.windows(np.array([row]), 4)[1].tolist() == [valid]  # the episode has nine frames


def test_chunks_are_of_what_was_executed_or_of_what_was_decided(tmp_path):
    schema, demo = features(FR3, SIZE), make_demo(0, 9)
    asked = demo.columns["action"] + 0.25  # the guard allowed less
    with DatasetWriter(tmp_path / "slowed", schema, FPS, FR3.name, {"world": {"task": "reach"}}) as writer:
        writer.commit(dataclasses.replace(demo, columns={**demo.columns, "requested_action": asked}))
    rows, source = np.arange(5), Source(tmp_path / "slowed")
    executed, decided = EpisodeTable(source), EpisodeTable(source, "requested_action")
    assert np.allclose(decided.windows(rows, 4)[0] - executed.windows(rows, 4)[0], 0.25, atol=1e-6)
    assert (decided.commanded(rows) == executed.commanded(rows)).all()  # what the arm was on its way to


def test_disturbed_frames_are_never_drawn(data):
    table = data.tables[0]
    assert table.perturbed.sum() == 3
    states = data.sample(np.random.default_rng(0), 500).inputs.state.numpy()
    disturbed = table.state[table.perturbed]
    assert not (states[:, None] == disturbed[None]).all(-1).any()


def test_without_labels_every_frame_is_positive(data):
    assert (data.sample(np.random.default_rng(0), 50).indicator == Indicator.POSITIVE).all()


def test_labels_come_from_their_sidecar_and_must_be_of_these_frames(tmp_path):
    root = write_demos(tmp_path / "demos", lengths=(6, 5))
    dataset = Dataset(root)
    frames = {
        "episode_index": np.repeat([0, 1], [6, 5]),
        "frame_index": np.concatenate([np.arange(6), np.arange(5)]),
    }
    positive = np.arange(11) % 2 == 0
    write_sidecar(root, "labels", {**frames, "advantage": positive}, {})
    table = training_data(Source(root, "labels")).tables[0]
    assert ((table.indicator == Indicator.POSITIVE) == positive).all()
    assert dataset.fingerprint() == Dataset(root).fingerprint()
    write_demos(tmp_path / "more", lengths=(6, 5, 4))
    with pytest.raises(UserError, match="nolabels"):
        training_data(Source(root, "nolabels"))


def test_every_source_gets_its_share(demos, tmp_path):
    other = write_demos(tmp_path / "other", lengths=(40,))
    data = training_data(Source(demos), Source(other), shares=[3, 1])
    sampled = data.sample(np.random.default_rng(0), 4000).inputs.state
    of_first = (sampled[:, None] == torch.from_numpy(data.tables[0].state)[None]).all(-1).any(1)
    # Both datasets begin with the same episode number: its shared frames count for the first.
    assert of_first.float().mean() >= 0.72
    assert data.sample(np.random.default_rng(0), 64).inputs.state.shape == (64, 7)


def test_a_batch_depends_on_its_generator_alone(data):
    first, again = (data.sample(np.random.default_rng([1, 2]), 16) for _ in range(2))
    assert torch.equal(first.actions, again.actions)
    assert torch.equal(first.inputs.maps["front"][0], again.inputs.maps["front"][0])


# ---- training ----------------------------------------------------------------------------------


def test_the_learning_rate_warms_up_and_falls():
    config = dataclasses.replace(QUICK, steps=100, warmup_steps=10)
    rates = [schedule(step, config) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[10] == pytest.approx(1.0)
    assert rates[100] == pytest.approx(0.01) and (np.diff(rates[10:]) < 0).all()


def fresh(data, config=QUICK):
    return new_policy(TINY, data.tables, config.seed, init_fusion=None)[0]


def test_training_lowers_both_losses(data, tmp_path):
    config = dataclasses.replace(QUICK, steps=300)
    fit(fresh(data), data, config, tmp_path, about())
    rows = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [50, 100, 150, 200, 250, 300]
    assert rows[-1]["flow"] < 0.8 * rows[0]["flow"] and rows[-1]["grounding"] < 0.8 * rows[0]["grounding"]


def test_a_resumed_run_ends_with_the_same_weights_to_the_bit(data, tmp_path):
    whole = fit(fresh(data), data, QUICK, tmp_path / "whole", about()).state_dict()
    with killed_at(6):
        fit(fresh(data), data, QUICK, tmp_path / "resumed", about())
    assert not (tmp_path / "resumed" / checkpoint.WEIGHTS).exists()
    resumed = fit(tiny_model(seed=77), data, QUICK, tmp_path / "resumed", about()).state_dict()  # its start is replaced
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert not (tmp_path / "resumed" / loop.STATE).exists()


def test_the_minutes_that_are_told_are_those_of_the_steps_that_this_run_took(data, tmp_path, caplog):
    with killed_at(6):
        fit(fresh(data), data, QUICK, tmp_path / "killed", about())  # saved at step 4
    with caplog.at_level(logging.INFO):
        for name in ("killed", "whole"):
            fit(fresh(data), data, QUICK, tmp_path / name, about())
    told = [line.partition(" in 0.")[0] for line in caplog.messages if " min; " in line]
    assert told == ["12 steps, the last 8", "12 steps"]


def test_resuming_with_other_settings_is_refused(data, tmp_path):
    policy = fresh(data)
    loop.save_state(Trainer(policy, policy.loss, QUICK, policy.pretrained_parameters()), tmp_path)
    with pytest.raises(UserError, match="begun with optim.batch=8, not 9"):
        fit(fresh(data), data, dataclasses.replace(QUICK, batch=9), tmp_path, about())
    fit(fresh(data), data, dataclasses.replace(QUICK, threads=2), tmp_path, about())  # threads may differ


def test_resuming_with_another_network_is_refused(data, tmp_path):
    policy = fresh(data)
    loop.save_state(Trainer(policy, policy.loss, QUICK, policy.pretrained_parameters()), tmp_path)
    other = dataclasses.replace(TINY, head=FlowConfig(hidden=16, blocks=1))
    with pytest.raises(UserError, match="begun with another network; name a new out=DIR"):
        fit(new_policy(other, data.tables, 0, None)[0], data, QUICK, tmp_path, about())


def test_resuming_with_other_parts_at_the_reduced_rate_is_refused(data, tmp_path):
    policy = fresh(data)
    loop.save_state(Trainer(policy, policy.loss, QUICK, policy.fusion.pretrained_parameters()), tmp_path)
    with pytest.raises(UserError, match="begun with other parts learning at optim.pretrained_rate; name a new out=DIR"):
        fit(fresh(data), data, QUICK, tmp_path, about())


@pytest.mark.parametrize("init", ["b", None])
def test_resuming_from_other_weights_is_refused(demos, tmp_path, init):
    roots = {name: str(tmp_path / name) for name in "ab"}
    for seed, root in enumerate(roots.values()):
        checkpoint.save(Path(root), tiny_model(seed), about(demos))
    begun = TrainConfig((str(demos),), str(tmp_path / "out"), TINY, QUICK, init=roots["a"], init_fusion=None)
    with killed_at(6):
        train.train(begun)
    with pytest.raises(UserError, match="begun with other weights to begin from; name a new out=DIR"):
        train.train(dataclasses.replace(begun, init=roots.get(init)))
    train.train(begun)


def test_resuming_with_another_option_of_the_policy_is_refused_also_where_shapes_are_the_same(data, tmp_path):
    with killed_at(6):
        fit(fresh(data), data, QUICK, tmp_path, about())
    other = new_policy(dataclasses.replace(TINY, indicator_dropout=0.0), data.tables, 0, None)[0]
    with pytest.raises(UserError, match="begun with other policy.indicator_dropout; name a new out=DIR"):
        fit(other, data, QUICK, tmp_path, about())


def test_a_state_of_before_that_knows_its_data_alone_is_gone_on_from(data, tmp_path):
    with killed_at(6):
        fit(fresh(data), data, QUICK, tmp_path, about(provenance={"data": {"a": "1"}}))
    state = torch.load(tmp_path / loop.STATE, weights_only=True)
    torch.save({**state, "made_of": ["1"]}, tmp_path / loop.STATE)
    with pytest.raises(UserError, match="begun with other data, or draws of them"):
        fit(fresh(data), data, QUICK, tmp_path, about(provenance={"data": {"a": "2"}}))
    fit(fresh(data), data, QUICK, tmp_path, about(provenance={"data": {"a": "1"}}))


@pytest.mark.parametrize(
    ("schema", "options", "message"),
    [
        (TrainConfig, {"data": ("a", "b"), "retrieve": 2.0}, "retrieve=2, expected a part, more than 0 and at most 1"),
        (TrainConfig, {"lora_rank": -1, "init": "a"}, "lora_rank=-1, expected at least 0"),
        (TrainConfig, {"data": ("a", "./a")}, "expected each once"),
        (ExportConfig, {"quantize": "int4"}, "unknown quantize 'int4'"),
        (ExportConfig, {"guidance": -1.0}, "guidance=-1, expected at least 0"),
    ],
)
def test_options_that_are_given_in_python_are_checked_too(schema, options, message):
    with pytest.raises(UserError, match=message):
        schema(**options)


def test_a_start_is_compared_with_the_default_policy_wherever_one_is(tmp_path, monkeypatch):
    (tmp_path / "runs").write_text("")  # no folder: the default of `out` could not be written here
    monkeypatch.chdir(tmp_path)
    train.check_same_policy("init=a", TINY, TINY)


def test_the_same_seed_trains_to_the_same_weights(data, tmp_path):
    first, again = (fit(fresh(data), data, QUICK, tmp_path / n, about()).state_dict() for n in "ab")
    other = fit(fresh(data), data, dataclasses.replace(QUICK, seed=1), tmp_path / "c", about()).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_finished_checkpoint_is_not_written_over(saved, demos):
    with pytest.raises(UserError, match="finished checkpoint"):
        train.train(TrainConfig((str(demos),), str(saved)))


def test_a_checkpoint_says_what_it_was_made_of(demos):
    made = describe(demos, {"note": 1}, {})
    assert made.tasks == ("pick_place",)
    assert (made.vision, made.text) == (FakeVision.fingerprint, FakeText.fingerprint)
    assert made.provenance["data"] == {str(demos): Dataset(demos).fingerprint()}
    assert made.provenance["note"] == 1 and "git" in made.provenance
    assert made.provenance["splits"] == [Dataset(demos).provenance["world"].get("split")]


def test_a_checkpoint_inherits_what_its_start_was_made_of(demos):
    begun = {"seeds": [[7, 9]], "splits": [{"part": "any"}]}
    made = describe(demos, {}, begun)
    assert [7, 9] in made.provenance["seeds"] and {"part": "any"} in made.provenance["splits"]
    card = {"config": {"split": None}, "fusion": {}}  # a fusion of a time before splits
    assert None in describe(demos, {}, card).provenance["splits"]


def describe(root, metadata: dict, start: dict):
    return describe_training(ObservationProcessor(TINY.build(SPEC)), [Dataset(root)], metadata, start)


# ---- checkpoints -------------------------------------------------------------------------------


def test_what_is_saved_is_what_is_loaded(saved, demos):
    model, found = checkpoint.load(saved)
    expected = tiny_model()
    assert model.config == TINY and found == about(demos)
    assert not model.training
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in expected.state_dict().items())
    inputs = random_batch().inputs
    chunks = [one.act(inputs, torch.Generator().manual_seed(0)).chunk for one in (model, expected.eval())]
    assert model.spec == SPEC and torch.equal(*chunks)


def edit_config(root, **changes) -> None:
    path = root / checkpoint.CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_another_contract_is_refused(saved):
    edit_config(saved, contract="0")
    with pytest.raises(UserError, match=f"contract version 0, this code has {CONTRACT_VERSION}; train again"):
        checkpoint.load(saved)


@pytest.mark.parametrize("damage", ["cut", "missing weight", "other shape", "no json", "unknown key"])
def test_a_tampered_checkpoint_is_refused_in_one_line(saved, damage):
    weights = saved / checkpoint.WEIGHTS
    tensors = load_file(weights)
    match damage:
        case "cut":
            weights.write_bytes(weights.read_bytes()[:-100])
        case "missing weight":
            tensors.pop("normalizer.mean")
            save_file(tensors, weights)
        case "other shape":
            save_file(tensors | {"normalizer.mean": torch.zeros(1)}, weights)
        case "no json":
            (saved / checkpoint.CONFIG).write_text("{")
        case "unknown key":
            edit_config(saved, policy={"name": "vla", "chunks": 3})
    with pytest.raises(UserError) as caught:
        checkpoint.load(saved)
    assert "\n" not in str(caught.value)


def test_a_directory_without_a_checkpoint_is_named_with_those_nearby(saved):
    with pytest.raises(UserError, match=r"no checkpoint: .* found .*policy"):
        checkpoint.load(saved.parent / "polcy")


def test_a_training_state_is_loaded_without_running_what_it_holds(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"step": Evil()}, tmp_path / loop.STATE)
    with pytest.raises(Exception, match="[Ww]eights.only"):
        loop.resume(Trainer(torch.nn.Linear(1, 1), lambda batch, generator: (batch, {}), QUICK), tmp_path)


# ---- datasets that do not fit ------------------------------------------------------------------


def test_other_cameras_are_refused(tmp_path):
    columns = {name: Column("float32", (7,)) for name in ("observation.state", "action")}
    columns |= {name: Column("float32", (3,)) for name in SPEC.points}
    schema = Features(("front",), SIZE, columns | {"perturbed": Column("bool")})
    with DatasetWriter(tmp_path / "d", schema, 20, SPEC.robot) as writer:
        rows = {name: np.zeros((2, *column.shape), np.float32) for name, column in columns.items()}
        rows["perturbed"] = np.zeros(2, bool)
        writer.commit(Episode(rows, "x", {"front": np.zeros((2, *SIZE, 3), np.uint8)}))
    with pytest.raises(UserError, match=r"has cameras \('front',\), expected .*wrist"):
        training_data(Source(tmp_path / "d"))


def test_another_schema_version_is_refused(tmp_path):
    root = write_demos(tmp_path / "demos", lengths=(4,))
    info = root / "meta" / "info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"codebase_version": "v2.1"}))
    with pytest.raises(UserError, match="codebase_version 'v2.1', expected 'v3.0'"):
        training_data(Source(root))


def test_a_missing_dataset_is_named():
    with pytest.raises(UserError, match="no dataset at nowhere"):
        training_data(Source(Path("nowhere")))


def test_a_checkpoint_of_lerobot_is_named_as_such(tmp_path, saved):
    (saved / checkpoint.CONFIG).write_text(json.dumps({"type": "act", "input_features": {}, "output_features": {}}))
    with pytest.raises(
        UserError, match=r"policy is a checkpoint of LeRobot, of policy 'act': .*fairino_fr3.serve checkpoint="
    ):
        checkpoint.load(saved)
