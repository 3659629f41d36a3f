"""Data that programs, full disks or people broke, places and texts that are odd: one line before work, or it works."""

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fr3 import FPS, FR3
from learning import QUICK, SIZE, TINY, about, make_demo, tiny_model, write_demos
from programs import Ended, ended

from policies.models import checkpoint
from policies.processing.data import EpisodeTable, Source
from policies.train import TrainConfig, train
from sim.core.console import shown_in
from sim.core.errors import UserError
from sim.core.options import FOLDER
from sim.dataset.reader import Dataset, DatasetWriter
from sim.dataset.recorder import features
from sim.dataset.video import decode_video
from sim.parallel.worker_config import MOST_WORKERS, WorkerConfig

ROOT = FR3.mjcf.parents[2]
LFS_POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d7a' * 16}\nsize 12345\n"
DATA, ROW = "data/chunk-000/file-001.parquet", "meta/episodes/chunk-000/file-001.parquet"


def refused(found: Ended, *parts: str) -> None:
    """Check that it ended with one line that holds these parts, and exit code 2."""
    assert (found.code, found.err.count("\n"), found.out) == (2, 1, ""), found
    for part in parts:
        assert part in found.err


@pytest.fixture
def demos(tmp_path) -> Path:
    return write_demos(tmp_path / "demos", perturbed={1: (5, 8)})


def rewrite(path: Path, name: str, change: Callable[[list], list], kind: pa.DataType | None = None) -> None:
    """Replace one column of a parquet file."""
    table = pq.read_table(path)
    values = pa.array(change(table[name].to_pylist()), kind or table.schema.field(name).type)
    pq.write_table(table.set_column(table.schema.names.index(name), name, values), path)


# ---- datasets ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "removed", ["data/*/file-001.parquet", "meta/episodes/*/file-001.parquet", "videos/*wrist/*/file-000.mp4"]
)
def test_an_episode_removed_by_hand_is_named_with_a_remedy(demos, removed):
    path = next(demos.glob(removed))
    path.unlink()
    with pytest.raises(UserError, match=f"{path.name} is missing.*; restore it from a copy, or record again"):
        Dataset(demos)


def test_a_disk_without_file_locks_is_written_to(tmp_path, monkeypatch, caplog):
    def no_locks(*_) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    assert Dataset(write_demos(tmp_path / "demos", lengths=(5,))).num_episodes == 1
    assert "has no file locks (No locks available): let one process at a time write there" in caplog.text


@pytest.mark.parametrize("moved", [True, False])
def test_a_dataset_that_is_moved_or_removed_while_it_is_written_to(tmp_path, moved):
    root = tmp_path / "d"
    with DatasetWriter(root, features(FR3, SIZE), FPS, FR3.name) as writer:
        writer.commit(make_demo(0, 5))
        root.rename(tmp_path / "elsewhere") if moved else shutil.rmtree(root)
        with pytest.raises(UserError, match="d was moved or removed while it was written to"):
            writer.commit(make_demo(1, 5))
    assert not root.exists()
    assert not moved or Dataset(tmp_path / "elsewhere").num_episodes == 1


@pytest.mark.parametrize("name", ["observation.state", "action"])
@pytest.mark.parametrize("number", ["nan", "inf"])
def test_a_frame_that_is_no_number_is_named_before_training(demos, tmp_path, name, number):
    rewrite(demos / DATA, name, lambda rows: [*rows[:3], [float(number)] * 7, *rows[4:]])
    line = f"{name} of episode 1, frame 3, is no finite number; leave the episode out"
    with pytest.raises(UserError, match=line):
        train(TrainConfig(data=(str(demos),), out=str(tmp_path / "p"), policy=TINY, optim=QUICK, init_fusion=None))
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("files", ["data/*/*.parquet", "meta/episodes/*/*.parquet", "videos/*front/*/*.mp4"])
def test_what_a_clone_without_git_lfs_holds_is_named(demos, tmp_path, files):
    """As a dataset of a hub looks after `git clone` where git-lfs is not installed."""
    for path in demos.glob(files):
        path.write_text(LFS_POINTER)
    found = ended("train", f"data={demos}", f"out={tmp_path}/out", "policy=small", "optim.steps=1")
    assert found.code == 2 and found.err.count("\n") == 1, found
    assert "pointer of Git LFS, the file itself was not fetched; run `git lfs pull`" in found.err
    assert not (tmp_path / "out").exists()


def test_wider_numbers_are_read_as_the_schema_has_them(demos):
    right = EpisodeTable(Source(demos)).action
    rewrite(demos / DATA, "action", list, pa.list_(pa.float64()))
    found = EpisodeTable(Source(demos)).action
    assert found.dtype == right.dtype and (found == right).all()


def test_vectors_of_another_length_are_named(demos):
    rewrite(demos / DATA, "action", lambda rows: [row[:6] for row in rows], pa.list_(pa.float32()))
    with pytest.raises(UserError, match=r"file-001.parquet: it differs from the schema in meta/info.json: .*\(6,\)"):
        EpisodeTable(Source(demos))


@pytest.mark.parametrize("rows", [None, 5])
def test_a_column_that_is_not_there_is_named(demos, rows):
    """rows: how many frames the file then has; of another number than the episode it may hold several episodes."""
    table = pq.read_table(demos / DATA)
    pq.write_table(table.drop(["touch", "episode_index"]).slice(0, rows), demos / DATA)
    with pytest.raises(UserError, match=r"file-001.parquet has no column 'touch', which meta/info.json names; restore"):
        Dataset(demos).columns(1)
    with pytest.raises(UserError, match=r"has no column 'episode_index'"):
        Dataset(demos).columns(1, ["episode_index"] if rows is None else ["action"])


@pytest.mark.parametrize(
    "content",
    ["[1]", "{}", "3", '{"index": 3}', '{"index": {}}', '{"index": {"count": 5}}', '{"index": {"count": [[], [1]]}}'],
)
def test_statistics_of_another_form_are_those_of_the_episodes(demos, content):
    right = Dataset(demos).stats()
    (demos / "meta/stats.json").write_text(content)
    found = Dataset(demos).stats()
    assert found.keys() == right.keys() and all((found[name]["mean"] == right[name]["mean"]).all() for name in right)


@pytest.mark.parametrize("content", ["[1]", "3", '{"provenance": 3}', '{"provenance": {}, "resumed": ["a"]}'])
def test_a_provenance_of_no_maps_is_named(demos, content):
    (demos / "meta/provenance.json").write_text(content)
    with pytest.raises(UserError, match=f"dataset {demos} is broken: {demos}/meta/provenance.json: "):
        _ = Dataset(demos).provenance


def test_an_episode_of_no_frames_is_named(demos):
    rewrite(demos / ROW, "length", lambda rows: [0])
    pq.write_table(pq.read_table(demos / DATA).slice(0, 0), demos / DATA)
    with pytest.raises(UserError, match="episode 1 has 0 frames; leave it out"):
        Dataset(demos)


def test_a_dataset_without_episodes_is_named_before_training(tmp_path):
    """As a recording leaves it that was killed in its first episode."""
    DatasetWriter(tmp_path / "d", features(FR3, SIZE), FPS, FR3.name).close()
    assert Dataset(tmp_path / "d").num_episodes == 0
    with pytest.raises(UserError, match=f"dataset {tmp_path}/d has no episodes, expected one or more; run again"):
        train(TrainConfig(data=(f"{tmp_path}/d",), out=str(tmp_path / "p"), policy=TINY, optim=QUICK, init_fusion=None))
    assert not (tmp_path / "p").exists()


def test_a_video_that_does_not_say_its_coding(demos):
    """What `make fuzz DRAWS=2000 SEED=1` found: three quarters of a file."""
    path = demos / "videos/observation.images.front/chunk-000/file-000.mp4"
    data = path.read_bytes()
    for share in (0.25, 0.5, 0.75, 0.9):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(UserError, match="cannot decode .*file-000.mp4"):
            decode_video(path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "is empty, expected a sentence"),
        ("put it down " * 2000, "tokens, expected at most"),
        ("a\0b größer 红", ""),
    ],
)
def test_instructions_of_any_length_and_letters(demos, text, line):
    for path in demos.glob("meta/episodes/*/*.parquet"):
        rewrite(path, "tasks", lambda rows: [[text]])
    words = TrainConfig().policy.language.build()
    sentences = sorted({Dataset(demos).instruction(episode) for episode in range(3)})
    assert sentences == [text]
    if not line:
        assert words.encode(sentences)[1].any()
        return
    with pytest.raises(UserError, match=line) as caught:
        words.encode(sentences)
    assert len(str(caught.value)) < 200


# ---- of newer versions -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"contract": "99"}, "has contract version 99, this code has 1; take a newer version of this code"),
        ({"contract": "0"}, "has contract version 0, this code has 1; train again"),
        ({"novelty": 1}, "is of a newer version, or needs plugins=[MODULE]: unknown option 'novelty'"),
        ({"policy": {"name": "vla", "head": {"name": "mamba"}}}, "plugins=[MODULE]: unknown head 'mamba'"),
    ],
)
def test_a_checkpoint_of_another_version_is_named(tmp_path, change, line):
    root = tmp_path / "policy"
    checkpoint.save(root, tiny_model(), about())
    content = json.loads((root / checkpoint.CONFIG).read_text())
    (root / checkpoint.CONFIG).write_text(json.dumps(content | change))
    refused(ended("evaluate", f"checkpoint={root}"), str(root), line)


@pytest.mark.parametrize(
    ("version", "remedy"),
    [("v2.1", "LeRobot converts it"), ("v3.1", "take a newer version"), ("v10.0", "take a newer version")],
)
def test_a_dataset_of_another_version_is_named(demos, version, remedy):
    path = demos / "meta" / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"codebase_version": version}))
    refused(ended("export", f"data={demos}"), f"codebase_version '{version}', expected 'v3.0'", remedy)


# ---- places and texts --------------------------------------------------------------------------


def test_a_path_with_blanks_letters_and_brackets(demos, tmp_path):
    odd = demos.rename(tmp_path / "mit blank und ümlaut [x], a=b")
    (tmp_path / "link").symlink_to(odd)
    for number, data in enumerate((odd, tmp_path / "link")):
        assert ended("export", f"data={data}", f"out={tmp_path}/aus ü, [{number}]").code == 0
        assert Dataset(tmp_path / f"aus ü, [{number}]").num_frames == Dataset(odd).num_frames - 3


@pytest.mark.parametrize(
    ("program", "option"),
    [
        ("train", "data"), ("train", "init"), ("train", "init_fusion"), ("evaluate", "checkpoint"), ("report", "run"),
        ("robustness", "checkpoints"), ("export", "data"), ("replay", "data"), ("tokenize", "data"), ("parity", "data"),
        ("recap", "pretrained"), ("recap", "demos"), ("evaluate_eye", "eye"), ("collect", "out"),
    ],
)  # fmt: skip
def test_a_name_that_no_disk_takes(demos, program, option):
    given = [f"data={demos}"] if option.startswith("init") else []
    found = ended(program, f"{option}={'x' * 5000}", *given)
    assert (found.code, found.err.count("\n")) == (2, 1), found
    assert "File name too long" in found.err or "expected a folder that can be written" in found.err


def test_a_name_of_an_older_system(demos, tmp_path):
    odd = demos.rename(tmp_path / os.fsdecode(b"\xfcml\xe4ut"))  # Latin-1
    refused(ended("export", f"data={odd}", f"out={tmp_path}/out"), "ml\\udce4ut", "no UTF-8; rename it, or set LC_ALL=")


def test_weights_that_git_lfs_has_not_fetched_are_named(tmp_path):
    policy = tmp_path / "policy"
    checkpoint.save(policy, tiny_model(), about())
    (policy / checkpoint.WEIGHTS).write_text(LFS_POINTER)
    refused(ended("evaluate", f"checkpoint={policy}", "task=reach"), "pointer of Git LFS", "run `git lfs pull`")


@pytest.mark.parametrize(("program", "option"), [("collect", "out"), ("train", "out"), ("recap", "out")])
def test_a_place_under_a_locale_that_is_no_utf8(program, option, tmp_path, monkeypatch):
    """As LC_ALL=C hands `données` over where Python is kept from taking UTF-8: told before an episode is played."""
    monkeypatch.chdir(tmp_path)
    refused(ended(program, f"{option}=donn\udcc3\udca9es"), "no UTF-8; choose another name, or set LC_ALL=C.UTF-8")
    assert not list(tmp_path.iterdir())


def test_home_by_its_short_name(demos, tmp_path, monkeypatch):
    """`out=~/x` reaches a program as it is from many shells."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert ended("export", "data=~/demos", "out=~/a b/c").code == 0
    assert Dataset(tmp_path / "a b" / "c").num_episodes and not (tmp_path / "~").exists()
    refused(ended("train", "data=[~/demos,~/demos]"), f"data=[{demos},{demos}], expected each once")


@pytest.mark.parametrize("place", ["/", "../" * 40, "", " ", "  "])
def test_the_root_of_the_disk_and_a_name_of_blanks_are_no_place(place):
    with pytest.raises(UserError, match="expected a folder that can be written"):
        FOLDER("out", place)


def test_more_processes_than_a_machine_has(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    WorkerConfig(workers=MOST_WORKERS)
    with pytest.raises(UserError, match=f"workers=1000, expected at most {MOST_WORKERS} on a machine of 4 cores"):
        WorkerConfig(workers=1000)
    WorkerConfig(workers=1000, executor="ray")


def test_a_batch_that_no_memory_holds():
    def main(_) -> None:
        raise MemoryError("Unable to allocate 745. GiB for an array")

    refused(ended("train", main=main), "out of memory: Unable to allocate 745. GiB")


def test_letters_that_a_terminal_lacks_are_escaped():
    assert shown_in("größer → 红", "ascii") == "gr\\xf6\\xdfer \\u2192 \\u7ea2"
    code = "from sim.core import console; import logging; console.set_up()\n"
    code += "for text in ('größer', 'after it'): logging.getLogger('sim').error(text)"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stderr == "error: gr\\xf6\\xdfer\nerror: after it\n"


# ---- options -----------------------------------------------------------------------------------


def test_an_option_inside_a_list():
    """What `make fuzz DRAWS=2000 SEED=1` found."""
    refused(ended("calibrate", "robot.workspace.obstacles.yaw_deg="), "obstacles is a list, give it as a whole")


@pytest.mark.parametrize("letter", ["\x1e", "\x1b[31m", "\u2028", "\n"])
def test_a_control_character_in_a_value_is_escaped(letter):
    """What `make fuzz DRAWS=2000 SEED=1` found."""
    found = ended("collect", f"ray_address=a{letter}b")
    assert found.code == 2 and len(found.err.splitlines()) == 1 and "ray_address=a\\" in found.err


@pytest.mark.parametrize("content", [b"a: [1, 2\n\tb: c\n", b"\xff\xfe\x00a", b"- a\n- b\n", b"a: {b: ]"])
def test_a_preset_that_is_no_yaml(tmp_path, content):
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "mine.yaml").write_bytes(b"# @package _global_\n" + content)
    refused(ended("collect", "--config-dir", str(tmp_path), "+exp=mine"))


@pytest.mark.parametrize(
    ("content", "why"),
    [("1/0\n", "ZeroDivisionError"), ("def x(:\n", "SyntaxError"), ("import nothing_there\n", "nothing_there")],
)
def test_a_plugin_that_cannot_be_imported(tmp_path, monkeypatch, content, why):
    name = f"broken_{why.lower()}"
    (tmp_path / f"{name}.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    refused(ended("collect", f"plugins=[{name}]"), f"plugins=[{name}]: cannot import '{name}'", why)


# ---- what a run of RECAP is given ----------------------------------------------------------------


def test_what_recap_is_given_is_checked_before_anything_is_collected(demos, tmp_path):
    checkpoint.save(tmp_path / "policy", tiny_model(), about())
    (tmp_path / "policy" / "eval").mkdir()
    given, out = f"pretrained={tmp_path}/policy", f"out={tmp_path}/run"
    size = ("render.height=32", "render.width=32")
    refused(ended("recap", given, out, "task=stack", *size), "task=stack, expected pick_place, which pretrained=")
    refused(ended("recap", given, out, "robot=franka", *size), "was made with fairino_fr3")
    line = "the images it looks at are 32 x 32 pixels, expected 96 x 96; give render.height=32 render.width=32"
    refused(ended("recap", given, out, "policy.vision.name=fake", "policy.language.name=fake"), line)
    refused(ended("recap", given, out, "policy=points", *size), "which pretrained=", "begin without pretrained=")
    refused(ended("recap", f"demos={demos}", out, "task=stack", *size), "task=stack, expected pick_place", "demons")
    refused(ended("recap", f"demos={demos}", out), "the images to train on are 32 x 32 pixels, expected 96 x 96")
    refused(ended("recap", f"demos={tmp_path}/policy", out), f"{tmp_path}/policy is not empty and holds no dataset")
    refused(ended("recap", f"pretrained={tmp_path}/policy/config.json", out), "expected a folder that can be written")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("program", "weights", "line"),
    [
        ("recap", "nowhere", "no pretrained fusion in nowhere"),
        ("recap", "assets/eye", "assets/eye was made for "),
        ("recap", "assets/eyes", "did you mean "),
        ("compare", "nowhere", "no pretrained fusion in nowhere"),
        ("policies_compare", "nowhere", "no pretrained fusion in nowhere"),
    ],
)
def test_weights_that_training_cannot_start_from_are_missed_before_anything_is_collected(
    tmp_path, program, weights, line
):
    words = ("presets=[small]",) if program == "policies_compare" else ()
    refused(ended(program, f"init_fusion={weights}", f"out={tmp_path}/run", "demo_episodes=1", *words), line)
    assert not (tmp_path / "run").exists()


def test_data_for_a_quantized_graph_are_missed_before_the_export(tmp_path, monkeypatch):
    checkpoint.save(tmp_path / "policy", tiny_model(), about())
    monkeypatch.setattr("policies.export.quantize.write_graph", lambda *_: pytest.fail("nothing should be exported"))
    words = (f"checkpoint={tmp_path}/policy", f"out={tmp_path}/new/policy.onnx", "quantize=static")
    refused(ended("policies_export", *words, f"data={tmp_path}/none"), f"{tmp_path}/none")
    assert not (tmp_path / "new").exists()


def test_an_eye_that_is_not_there_is_missed_before_a_scene_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr("policies.pretrain_eye.gather", lambda *_: pytest.fail("no scene should be drawn"))
    words = (f"init={tmp_path}/eye", f"work={tmp_path}/work")
    refused(ended("pretrain_eye", *words), f"no pretrained eye in {tmp_path}/eye")
    assert not (tmp_path / "work").exists()
