"""What users got wrong, or machines did, in public bug trackers of the field: one line before work begins, or it works.

Each test is one situation. Options by themselves are swept in test_options.py and tests/fuzz.
"""

import dataclasses
import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fr3 import FR3
from learning import QUICK, SIZE, SPEC, TINY, about, tiny_model, write_demos
from programs import PROGRAMS, Ended, ended
from stable_baselines3 import PPO

from policies.core.migrate import migrate_checkpoint
from policies.models import checkpoint
from policies.train import TrainConfig, train
from policies.training import loop
from policies.training.trainer import Trainer
from rl.correct import CorrectConfig, correct
from rl.value.value_head import ValueConfig, fit_head
from sim.collect import HOPELESS, CollectConfig, DemonstrationWorker, collect
from sim.core.errors import UserError
from sim.core.options import SEED
from sim.dataset.reader import DatasetWriter
from sim.dataset.recorder import features
from sim.episode.loop import EpisodeResult
from sim.guard.motion_guard import GuardReport
from sim.teleop.operator import Operator

ROOT = FR3.mjcf.parents[2]


def refused(found: Ended, *parts: str) -> None:
    """Check that it ended with one line that holds these parts, and exit code 2."""
    assert (found.code, found.err.count("\n")) == (2, 1), found
    assert found.err.startswith("error: ")
    for part in parts:
        assert part in found.err


@pytest.fixture(scope="module")
def demos(tmp_path_factory) -> Path:
    return write_demos(tmp_path_factory.mktemp("input") / "demos", perturbed={1: (5, 8)})


@pytest.fixture
def policy(tmp_path) -> Path:
    checkpoint.save(tmp_path / "policy", tiny_model(), about())
    return tmp_path / "policy"


# ---- options -----------------------------------------------------------------------------------


@pytest.mark.parametrize("height", [100, 101, 0, 8192])
def test_a_height_that_no_encoder_takes(height, tmp_path):
    refused(ended("collect", f"render.height={height}", f"out={tmp_path}/d"), f"render.height={height}", "multiple of")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", ["words=6", "words=126", "widths=[40,64]", "widths=[40,64,96,128,160]"])
@pytest.mark.parametrize(
    ("program", "eye"), [("pretrain_eye", "network"), ("train", "policy=eye policy.fusion.finder.network")]
)
def test_sizes_that_an_eye_cannot_have(program, eye, wrong, tmp_path):
    words = f"{eye}.{wrong}".split()
    refused(ended(program, *words, f"out={tmp_path}/d"), words[-1], "multiple of 4" if "words" in wrong else "four num")
    assert not list(tmp_path.iterdir())


def test_every_seed_is_checked():
    for name, (_, schema) in PROGRAMS.items():
        for field in dataclasses.fields(schema):
            if field.name == "seed" or field.name.endswith("_seed"):
                assert SEED in field.metadata["checks"], f"{name}: {field.name}"


@pytest.mark.parametrize("program", [name for name, (_, schema) in PROGRAMS.items() if hasattr(schema, "seed")])
@pytest.mark.parametrize("seed", ["-1", "99999999999999999999"])
def test_a_seed_that_no_generator_takes(program, seed):
    refused(ended(program, f"seed={seed}"), f"seed={seed}", "expected")


WITH_OUT = [name for name, (_, schema) in PROGRAMS.items() if "out" in schema.__dataclass_fields__]
WRITE_DATASETS, WRITE_RESULTS = ("collect", "correct", "export", "rollout"), ("evaluate", "evaluate_eye", "robustness")


@pytest.mark.parametrize("program", WITH_OUT)
def test_a_place_among_the_files_of_another_is_refused(program, tmp_path):
    (tmp_path / "d" / "meta").mkdir(parents=True)
    (tmp_path / "c").mkdir()
    for name in ("d/meta/info.json", "c/config.json", "c/model.safetensors"):
        (tmp_path / name).write_text("{}")
    check = PROGRAMS[program].schema.__dataclass_fields__["out"].metadata["checks"][0]
    in_a_dataset, in_a_checkpoint = f"{tmp_path}/d/x/y", f"{tmp_path}/e/../c/x"
    refused(
        ended(program, f"out={in_a_dataset}"), f"out={in_a_dataset}", f"outside of {tmp_path}/d, which holds meta/info"
    )
    allowed = [tmp_path / "c"]
    if program in WRITE_RESULTS or check.file:
        allowed.append(in_a_checkpoint)
    else:
        refused(ended(program, f"out={in_a_checkpoint}"), f"outside of {tmp_path}/c, which holds model.safetensors")
    if program in WRITE_DATASETS:
        allowed.append(tmp_path / "d")
    elif not check.file:
        refused(ended(program, f"out={tmp_path}/d"), f"outside of {tmp_path}/d, which holds meta/info.json")
    for place in allowed:
        if not check.file or place == in_a_checkpoint:
            check("out", str(place))


@pytest.mark.parametrize("program", WITH_OUT)
def test_a_place_that_cannot_be_is_refused_before_any_work(program, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    refused(ended(program, f"out={tmp_path}/file/x"), f"out={tmp_path}/file/x", "expected a f", "can be written")
    monkeypatch.setattr(os, "access", lambda *_: False)  # a read-only folder
    refused(ended(program, f"out={tmp_path}/x"), f"out={tmp_path}/x", "expected a f", "can be written")


def test_demonstrations_that_cannot_be_labelled_are_refused_before_the_rollouts(demos, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != demos)
    refused(ended("recap", f"demos={demos}"), f"demos={demos}", "expected a folder that can be written")


# ---- collection --------------------------------------------------------------------------------


def test_an_expert_that_never_succeeds_ends_collection(monkeypatch, tmp_path):
    played = []

    def fail(self, seed: int) -> tuple:
        played.append(seed)
        return EpisodeResult(seed, False, 10, 0.5, GuardReport()), None

    monkeypatch.setattr(DemonstrationWorker, "__init__", lambda self, *_, **__: None)
    monkeypatch.setattr(DemonstrationWorker, "__call__", fail)
    with pytest.raises(UserError, match=f"the expert failed at task=stack with {HOPELESS} seeds in a row, up to 49"):
        collect(CollectConfig(task="stack", episodes=7, workers=1, out=str(tmp_path / "d")))
    assert played == list(range(HOPELESS))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"seed": 5}, "made with seed=0, not 5; name a new out=DIR"),
        ({"behaviour": {"indicator": "negative"}}, 'made with behaviour.indicator="positive", not "negative"'),
        ({"behaviour": {"guidance": 3.0}}, "made with behaviour.guidance=1.0, not 3.0"),
    ],
)
def test_recording_goes_on_with_the_same_seed_indicator_and_guidance_alone(tmp_path, changes, line):
    made = {"seed": 0, "behaviour": {"indicator": "positive", "guidance": 1.0}}
    schema = features(FR3, SIZE)
    DatasetWriter(tmp_path / "d", schema, 20, FR3.name, made).close()
    DatasetWriter(tmp_path / "d", schema, 20, FR3.name, made).close()
    with pytest.raises(UserError, match=line):
        DatasetWriter(tmp_path / "d", schema, 20, FR3.name, {**made, **changes})


# ---- training ----------------------------------------------------------------------------------


def trained(*data: Path, out: Path, **changes) -> Path:
    values = {"policy": TINY, "optim": QUICK, "init_fusion": None} | changes
    train(TrainConfig(data=tuple(map(str, data)), out=str(out), **values))
    return out


def test_the_order_of_two_datasets_does_not_matter(demos, tmp_path):
    other = write_demos(tmp_path / "other", lengths=(20, 17))
    one, two = trained(demos, other, out=tmp_path / "a"), trained(other, demos, out=tmp_path / "b")
    (first, said), (second, also) = checkpoint.load(one), checkpoint.load(two)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert said.tasks == also.tasks == ("pick_place",)
    # Oracle: the deviation of what both have in common, the gripper, lies between those of each alone.
    alone = [checkpoint.load(trained(data, out=tmp_path / f"of_{data.name}"))[0] for data in (demos, other)]
    deviations = [policy.normalizer.std[0, -1].item() for policy in (*alone, first)]
    assert min(deviations[:2]) <= deviations[2] <= max(deviations[:2])


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"chunk": 8}, "policy.chunk=8, expected 4, which init="),
        ({"head": dataclasses.replace(TINY.head, hidden=64)}, "policy.head.hidden=64, expected 32"),
        ({"fusion": dataclasses.replace(TINY.fusion, channels=24)}, "policy.fusion.channels=24, expected 16"),
    ],
)
def test_init_with_another_network_is_refused(policy, demos, tmp_path, changes, line):
    other = dataclasses.replace(TINY, **changes)
    with pytest.raises(UserError, match=line):
        trained(demos, out=tmp_path / "new", policy=other, init=str(policy))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("word", ["data=[a,b,./a]", "checkpoints=[a,b,./a]", "rollouts=[a,b,./a]"])
def test_the_same_place_twice_is_refused(word):
    program = {"data": "train", "checkpoints": "robustness", "rollouts": "recap"}[word.partition("=")[0]]
    refused(ended(program, word), f"{word}, expected each once, ./a is there twice")


def test_provenance_states_the_network_of_init(policy, demos, tmp_path):
    out = trained(demos, out=tmp_path / "new", policy=TrainConfig().policy, init=str(policy))
    config = checkpoint.load(out)[1].provenance["config"]
    assert config["policy"]["chunk"] == TINY.chunk and config["init_fusion"] is None


def test_a_disk_that_is_full_leaves_nothing_half_written(demos, tmp_path, monkeypatch):
    def full(number: int) -> None:
        if stat.S_ISREG(os.fstat(number).st_mode):  # a folder's names take no room
            raise OSError(errno.ENOSPC, "No space left on device")

    trained(demos, out=tmp_path / "before")  # features are cached then: the first that is written is the state
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="disk full while writing .*training.pt"):
        trained(demos, out=tmp_path / "new")
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]
    assert not (tmp_path / "new" / checkpoint.WEIGHTS).exists()


@pytest.mark.parametrize("before", [False, True])
def test_a_disk_too_small_for_weights_leaves_no_description_of_them_alone(tmp_path, monkeypatch, before):
    """config.json fits, model.safetensors does not: a checkpoint that was there stays whole."""
    out, first, second = tmp_path / "policy", tiny_model(), tiny_model()
    if before:
        checkpoint.save(out, first, about())
    with torch.no_grad():
        next(second.parameters()).add_(1.0)
    fsync, written = os.fsync, []

    def full_at_the_second(number: int) -> None:
        written.append(number)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(number)

    monkeypatch.setattr(os, "fsync", full_at_the_second)
    with pytest.raises(UserError, match="disk full while writing .*model.safetensors"):
        checkpoint.save(out, second, about())
    assert sorted(path.name for path in out.iterdir()) == ([checkpoint.CONFIG, checkpoint.WEIGHTS] if before else [])
    if before:
        kept = checkpoint.load(out)[0].state_dict()
        assert all(torch.equal(value, first.state_dict()[name]) for name, value in kept.items())


@pytest.mark.parametrize(
    ("code", "done"),
    [(errno.ENOSPC, "write"), (errno.EROFS, "write"), (errno.EACCES, "read or write"), (errno.ELOOP, "read or write")],
)
def test_a_disk_error_of_any_program_is_one_line(code, done):
    def main(_) -> None:
        raise OSError(code, os.strerror(code), "runs/x/results.json")

    refused(ended("view", main=main), f"cannot {done} runs/x/results.json: {os.strerror(code)}")


def test_weights_that_are_no_numbers_are_neither_saved_nor_played(tmp_path, policy):
    broken = tiny_model()
    broken.state_token.weight.data[0, 0] = float("nan")
    with pytest.raises(UserError, match="no finite numbers, state_token.weight"):
        checkpoint.save(tmp_path / "new", broken, about())
    assert not (tmp_path / "new").exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "check_finite", lambda *_: None)
        checkpoint.save(policy, broken, about())
    with pytest.raises(UserError, match="no finite numbers, state_token.weight"):
        checkpoint.load(policy)


def test_a_value_that_is_no_number_ends_recap():
    features, targets = torch.randn(60, 5), np.linspace(-1, 0, 60)
    config = ValueConfig(hidden=8, batch=8, steps_per_epoch=3, max_epochs=2, learning_rate=1e30)
    with pytest.raises(UserError, match="held-out loss is never a finite number with value.learning_rate=1e"):
        fit_head(features, targets, np.ones(60, bool), np.repeat(np.arange(6), 10), config, 0)


@pytest.mark.parametrize("kept", [0, 1, 500])
def test_a_truncated_training_state_is_named(demos, tmp_path, kept):
    model = tiny_model()
    trainer = Trainer(model, model.loss, QUICK)
    loop.save_state(trainer, tmp_path)
    whole = (tmp_path / loop.STATE).read_bytes()
    (tmp_path / loop.STATE).write_bytes(whole[: min(kept, len(whole) - 1)])
    with pytest.raises(UserError, match="training.pt is broken .*remove it to begin anew") as caught:
        loop.resume(trainer, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_truncated_log_line_is_left_out(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text('{"step": 50, "flow": 1.0}\n{"step": 100, "fl')
    assert loop.read_log(path) == [{"step": 50, "flow": 1.0}]
    path.write_text('{"step": 50, "fl\n{"step": 100}\n')
    with pytest.raises(UserError, match="line 1 is no row"):
        loop.read_log(path)


# ---- checkpoints -------------------------------------------------------------------------------


def test_a_policy_of_another_task_is_not_played(policy):
    refused(ended("evaluate", f"checkpoint={policy}", "task=stack"), "task=stack, expected pick_place", str(policy))
    refused(ended("robustness", f"checkpoints=[{policy}]", "task=stack"), "task=stack, expected pick_place")
    with pytest.raises(UserError, match="task=stack, expected pick_place"):
        correct(CorrectConfig(checkpoint=str(policy), task="stack"), Operator([]))
    assert not (policy / "eval").exists()


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("execute=5", "execute=5: expected 1 to 4, the steps of the policy's chunks"),
        ("lead_s=0.15", "lead_s=0.15: expected 0 to 0.1"),
        ("inference_delay_s=0.15", "inference_delay_s=0.15: expected 0 to 0.1"),
    ],
)
def test_what_chunks_are_too_short_for_is_refused_before_any_work(policy, word, line, monkeypatch):
    monkeypatch.setattr("policies.evaluate.map_seeds", lambda *_: pytest.fail("no worker should start"))
    refused(ended("evaluate", f"checkpoint={policy}", word), line)
    assert not (policy / "eval").exists()


def test_a_task_by_its_old_name_is_known_in_old_checkpoints():
    content, _ = migrate_checkpoint({"spec": {}, "task": "fork"}, {})
    assert content["tasks"] == ["reach_around"]


def test_a_second_evaluation_into_the_same_folder_is_refused(policy):
    (policy / "eval").mkdir()
    (policy / "eval" / "results.json").write_text("{}")
    refused(ended("evaluate", f"checkpoint={policy}"), f"{policy}/eval holds the results of an evaluation", "out=DIR")
    assert (policy / "eval" / "results.json").read_text() == "{}"


def test_a_checkpoint_of_lerobot_is_named(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"type": "act", "n_obs_steps": 1}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    refused(
        ended("evaluate", f"checkpoint={tmp_path}"), "is a checkpoint of LeRobot, of policy 'act'", "fairino_fr3.serve"
    )


def test_an_instruction_that_the_policy_cannot_read_is_refused_before_the_robot(tmp_path):
    model = dataclasses.replace(TINY, language=TrainConfig().policy.language).build(SPEC)
    checkpoint.save(tmp_path / "policy", model, dataclasses.replace(about(), text=""))
    words = ("robot=fr3", "robot.ip=192.0.2.1", "mode=dry", f"robot.instruction={'put it down ' * 30}")
    found = ended("rollout", *words, f"checkpoint={tmp_path}/policy")
    assert found.code == 2 and "connected" not in found.out
    assert "tokens" in found.err or "text encoder" in found.err


# ---- processes ---------------------------------------------------------------------------------

FORKED = """
import multiprocessing
import gymnasium
import sim
env = gymnasium.make("FR3Reach-v0")
env.reset(seed=0)
env.unwrapped.render() if env.render_mode else None
makers = [lambda: gymnasium.make("FR3Reach-v0")] * 2
vector = gymnasium.vector.AsyncVectorEnv(makers, context="fork")
vector.reset(seed=0)
"""


def test_a_process_forked_after_an_image_was_drawn_does_not_hang():
    done = subprocess.run([sys.executable, "-c", FORKED], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode and "start processes by spawn" in done.stderr


def test_an_interrupted_ppo_keeps_nothing_and_says_so(tmp_path, monkeypatch):
    def interrupted(*_, **__) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PPO, "learn", interrupted)
    words = ("envs=1", "evaluation_episodes=1", "ppo.n_steps=4", "ppo.batch_size=4", f"out={tmp_path}/m")
    found = ended("sb3", *words)
    assert (found.code, found.err) == (130, "warning: interrupted; nothing new is kept\n")
    assert not (tmp_path / "m").exists()
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.zip").write_bytes(b"")
    refused(ended("sb3", *words), "holds a finished model; name another out=DIR")


def test_make_does_not_take_pythonpath_from_the_shell(tmp_path):
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\necho "PYTHONPATH=${PYTHONPATH-unset}"\n')
    fake.chmod(0o755)
    for target in ("test", "test-slow"):
        done = subprocess.run(
            ["make", "--silent", "--assume-old=setup", target, f"BIN={tmp_path}"],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": "/opt/ros/humble"}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.stdout == "PYTHONPATH=unset\n", done
