"""Ctrl-C in a long program: what is said to be kept is there, nothing half-made is, and running it again goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from fr3 import FR3
from learning import QUICK, SIZE, TINY, about, make_demo, tiny_model, write_demos
from programs import Ended, ended
from waiting import wait_for

from policies import pretrain_eye
from policies.models import checkpoint
from policies.pretrain_eye import PretrainEyeConfig, check_same_scenes, kept
from policies.train import TrainConfig, train
from policies.training.trainer import Trainer
from real.calibrate import calibrate
from real.rollout import outcomes
from rl.correct import OperatorWorker
from rl.data.rollouts import Behaviour
from rl.run.kept import kept as kept_of_run
from sim.collect import CollectConfig, DemonstrationWorker, collect
from sim.core.errors import NOTHING_NEW, UserError
from sim.core.files import write_atomic
from sim.dataset.reader import Dataset, DatasetWriter, kept_episodes
from sim.dataset.recorder import features
from sim.episode import results
from sim.episode.loop import EpisodeResult
from sim.guard.motion_guard import GuardReport
from sim.teleop.operator import Operator

ROOT = FR3.mjcf.parents[2]
NOTHING = (130, f"warning: interrupted; {NOTHING_NEW}\n")


def said(found: Ended) -> tuple[int, str]:
    return found.code, found.err


def interrupt(*_, **__) -> None:
    raise KeyboardInterrupt


# ---- processes ---------------------------------------------------------------------------------

SLOW = """
import sys, time
from dataclasses import dataclass
from pathlib import Path
from sim.core.program import run_program
from sim.parallel.workers import WorkerConfig, map_seeds

class Slow:
    def __call__(self, seed):
        Path(sys.path[0], f"playing-{seed}").touch()
        time.sleep(600)

@dataclass(frozen=True)
class Config(WorkerConfig):
    pass

def main(config):
    list(map_seeds(Slow, range(20), config))

if __name__ == "__main__":
    run_program("slow", Config, main, "")
"""


@pytest.mark.parametrize("awaited", ["", "playing-1"])
def test_worker_processes_end_at_once_and_print_nothing(tmp_path, awaited):
    """A terminal sends Ctrl-C to all of them; `awaited`: at the earliest moment, and amid an episode."""
    (tmp_path / "slow.py").write_text(SLOW)
    command = [sys.executable, str(tmp_path / "slow.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while awaited and run.poll() is None and not (tmp_path / awaited).exists():
        time.sleep(0.05)
    sent = time.monotonic()
    os.killpg(run.pid, signal.SIGINT)
    _, err = run.communicate(timeout=100)
    if awaited:
        assert (run.returncode, err) == NOTHING
    assert err.count("\n") <= 1 or not awaited
    assert time.monotonic() - sent < 60  # an episode takes 600 s


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_batch_system_or_a_lost_session_ends_a_program_as_ctrl_c_does(tmp_path, number):
    (tmp_path / "slow.py").write_text(SLOW)
    run = subprocess.Popen(
        [sys.executable, str(tmp_path / "slow.py")], env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # nohup may have started the tests
    )  # fmt: skip
    wait_for(lambda: (tmp_path / "playing-1").exists() or run.poll() is not None, 100.0)
    run.send_signal(number)  # to the first process alone
    _, err = run.communicate(timeout=100)
    assert (run.returncode, err) == NOTHING
    wait_for(lambda: not is_alive(run.pid))


def test_what_nohup_started_outlasts_the_session(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    run = subprocess.Popen(
        ["nohup", sys.executable, str(tmp_path / "slow.py")], env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: (tmp_path / "playing-1").exists() or run.poll() is not None, 100.0)
    run.send_signal(signal.SIGHUP)
    time.sleep(1.0)
    assert run.poll() is None
    run.terminate()
    _, err = run.communicate(timeout=100)
    assert (run.returncode, err) == NOTHING


DEAF = """
import signal
from multiprocessing import forkserver
from sim.parallel.interrupts import children_without_interrupts

def is_blocked():
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])

with children_without_interrupts():
    forkserver.ensure_running()
    print(is_blocked())
print(is_blocked())
"""


def test_what_is_started_sees_no_interrupt_until_the_end(tmp_path):
    done = subprocess.run([sys.executable, "-c", DEAF], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


# ---- recording ---------------------------------------------------------------------------------


def test_an_interrupt_while_a_file_is_written_leaves_nothing_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "tasks.parquet", b"rows")
    assert not list(tmp_path.iterdir())


def test_a_dataset_that_was_begun_in_vain_is_removed(tmp_path):
    schema, made = features(FR3, SIZE), {"world": {"task": "pick_place"}}
    with pytest.raises(KeyboardInterrupt), DatasetWriter(tmp_path / "a" / "d", schema, 20, FR3.name, made):
        interrupt()
    assert not (tmp_path / "a" / "d").exists() and kept_episodes(tmp_path / "a" / "d") == NOTHING_NEW
    (tmp_path / "b").mkdir()
    with pytest.raises(KeyboardInterrupt), DatasetWriter(tmp_path / "b", schema, 20, FR3.name, made):
        interrupt((tmp_path / "b" / "note.txt").write_text("another program's"))
    assert [path.name for path in (tmp_path / "b").rglob("*")] == ["note.txt"]
    with pytest.raises(KeyboardInterrupt), DatasetWriter(tmp_path / "c", schema, 20, FR3.name, made) as writer:
        interrupt(writer.commit(make_demo(0, 5)))
    assert Dataset(tmp_path / "c").num_episodes == 1
    assert kept_episodes(tmp_path / "c") == f"1 episodes are kept in {tmp_path}/c; run again to go on"


def test_collection_says_how_many_episodes_it_keeps_and_goes_on(monkeypatch, tmp_path):
    words = ("task=reach", "episodes=2", "workers=1", "images=false", f"out={tmp_path}/d")
    real = DemonstrationWorker.__call__
    monkeypatch.setattr(DemonstrationWorker, "__call__", interrupt)
    assert said(ended("collect", *words)) == NOTHING
    assert not (tmp_path / "d").exists()
    monkeypatch.setattr(DemonstrationWorker, "__call__", lambda self, seed: interrupt() if seed else real(self, seed))
    line = f"warning: interrupted; 1 episodes are kept in {tmp_path}/d; run again to go on\n"
    assert said(ended("collect", *words)) == (130, line)
    monkeypatch.setattr(DemonstrationWorker, "__call__", real)
    assert ended("collect", *words).code == 0
    assert Dataset(tmp_path / "d").metadata_table()["seed"] == [0, 1]


def test_an_expert_that_never_succeeds_leaves_no_dataset(monkeypatch, tmp_path):
    def fail(self, seed: int) -> tuple:
        return EpisodeResult(seed, False, 10, 0.5, GuardReport()), None

    monkeypatch.setattr(DemonstrationWorker, "__init__", lambda self, *_, **__: None)
    monkeypatch.setattr(DemonstrationWorker, "__call__", fail)
    with pytest.raises(UserError, match="failed"):
        collect(CollectConfig(task="stack", episodes=7, workers=1, out=str(tmp_path / "d")))
    assert not (tmp_path / "d").exists()


def test_a_rollout_without_an_episode_leaves_no_results(tmp_path):
    with DatasetWriter(tmp_path / "d", features(FR3, SIZE), 20, FR3.name):
        assert outcomes.write(tmp_path / "d", {}, {})["n"] == 0
    assert not (tmp_path / "d" / results.FILE).exists()


# ---- training ----------------------------------------------------------------------------------


def test_training_names_the_step_that_it_keeps(monkeypatch, tmp_path, capsys):
    demos, real = write_demos(tmp_path / "demos"), Trainer.update
    optim = replace(QUICK, steps=9, save_every=2)
    config = TrainConfig(data=(str(demos),), out=str(tmp_path / "p"), policy=TINY, optim=optim, init_fusion=None)

    def until(step: int):
        return lambda self, batch: interrupt() if self.step == step else real(self, batch)

    line = f"warning: interrupted; the state of step 2 is kept in {tmp_path}/p; run again to go on\n"
    for step, every, expected in ((1, 2, NOTHING[1]), (3, 2, line), (3, 100, line)):
        monkeypatch.setattr(Trainer, "update", until(step))
        again = replace(config, optim=replace(optim, save_every=every))
        assert said(ended("train", main=lambda _, again=again: train(again))) == (130, expected)
    monkeypatch.setattr(Trainer, "update", real)
    resumed = train(config)
    once = train(replace(config, out=str(tmp_path / "once")))
    for name, value in once.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_an_evaluation_keeps_its_videos_alone(monkeypatch, tmp_path):
    checkpoint.save(tmp_path / "policy", tiny_model(), about())
    monkeypatch.setattr("policies.evaluate.map_seeds", interrupt)
    words = (f"checkpoint={tmp_path}/policy", f"out={tmp_path}/e")
    assert said(ended("evaluate", *words)) == NOTHING
    (tmp_path / "e").mkdir(exist_ok=True)
    (tmp_path / "e" / "episode-900000-success.mp4").touch()
    line = f"warning: interrupted; 1 videos are kept in {tmp_path}/e, no results; run again to play all\n"
    assert said(ended("evaluate", *words)) == (130, line)


def test_a_run_of_recap_counts_what_it_keeps(tmp_path):
    assert kept_of_run([tmp_path]) == NOTHING_NEW
    demos = write_demos(tmp_path / "run" / "demos")
    assert kept_of_run([tmp_path / "run", demos]) == "3 episodes are kept; run again to go on"  # demos once
    checkpoint.save(tmp_path / "elsewhere", tiny_model(), about())
    results.write(tmp_path / "run" / "round_0" / "evaluation", {})
    found = kept_of_run([tmp_path / "run", demos, tmp_path / "elsewhere"])
    assert found == "3 episodes, 1 policies, 1 evaluations are kept; run again to go on"


def test_the_eye_counts_its_scenes_and_takes_none_of_others(tmp_path):
    config = PretrainEyeConfig(work=str(tmp_path / "w"))
    assert kept(config) == NOTHING_NEW
    check_same_scenes(config.folder, config.looks)
    (config.folder / "sentences-000000.json").touch()
    assert kept(config) == f"100 scenes are kept in {tmp_path}/w; run again to go on"
    check_same_scenes(config.folder, config.looks)
    other = replace(config, tasks=("reach", "stack"))
    with pytest.raises(UserError, match=r"scenes was begun with tasks=\[.*\], not \[.*\]; name another work=DIR"):
        check_same_scenes(other.folder, other.looks)


@pytest.mark.parametrize("left", ["network.pt", "training.pt"])
def test_an_eye_goes_on_from_a_network_of_its_own_options_alone(tmp_path, left, monkeypatch):
    """Killed as the network was trained, or after it."""
    config, folder = PretrainEyeConfig(work=str(tmp_path), init="assets/eye"), tmp_path / "network"
    monkeypatch.setattr(pretrain_eye, "gather", lambda config: None)
    monkeypatch.setattr(pretrain_eye, "open_table", lambda config, robot: None)
    monkeypatch.setattr(pretrain_eye, "in_ranks", lambda train, ranks: (folder / left).touch())
    monkeypatch.setattr(pretrain_eye, "finish", lambda config: "gone on")
    assert pretrain_eye.pretrain_eye(config) == "gone on"
    assert pretrain_eye.pretrain_eye(replace(config, optim=replace(config.optim, save_every=7))) == "gone on"
    wrong = {
        "optim.steps=3200, not 9": replace(config, optim=replace(config.optim, steps=9)),
        "scenes=60000, not 1000": replace(config, scenes=1000),
        'init="[0-9a-f]{64}", not null': replace(config, init=None),
    }
    for said, other in wrong.items():
        with pytest.raises(UserError, match=f"network was begun with {said}; name another work=DIR"):
            pretrain_eye.pretrain_eye(other)
    (folder / left).unlink()  # nothing is left of it
    assert pretrain_eye.pretrain_eye(replace(config, scenes=1000)) == "gone on"


def test_a_network_that_does_not_say_how_it_was_trained_is_refused(tmp_path):
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "network.pt").touch()
    with pytest.raises(UserError, match="network.pt does not say by which options; remove it, or name another work="):
        pretrain_eye.check_same_network(PretrainEyeConfig(work=str(tmp_path)))


# ---- calibration -------------------------------------------------------------------------------


def test_a_calibration_names_the_parts_that_had_ended_and_overwrites_none(tmp_path):
    assert calibrate.kept(tmp_path) == NOTHING_NEW
    (tmp_path / calibrate.CALIBRATION_FILE).write_text(
        json.dumps({"estimates": {"gripper_s": {}, "front_delay_s": {}}})
    )
    assert calibrate.kept(tmp_path).startswith(f"the estimates of gripper_s, front_delay_s are kept in {tmp_path}/")
    with pytest.raises(UserError, match=f"{tmp_path} holds a calibration; name another out=DIR"):
        calibrate.calibrate(calibrate.CalibrateConfig(out=str(tmp_path)))


def test_a_resumed_run_keeps_to_its_data(monkeypatch, tmp_path):
    demos, real = write_demos(tmp_path / "demos"), Trainer.update
    optim = replace(QUICK, steps=9, save_every=2)
    config = TrainConfig(data=(str(demos),), out=str(tmp_path / "p"), policy=TINY, optim=optim, init_fusion=None)
    monkeypatch.setattr(Trainer, "update", lambda self, batch: interrupt() if self.step == 3 else real(self, batch))
    with pytest.raises(KeyboardInterrupt):
        train(config)
    with DatasetWriter(demos, features(FR3, SIZE), 20, FR3.name) as writer:
        writer.commit(make_demo(7, 8))
    with pytest.raises(UserError, match=f"{tmp_path}/p was begun with other data.*; name a new out=DIR"):
        train(config)


def test_two_programs_do_not_write_to_one_place(monkeypatch, tmp_path):
    holder = (
        "import sys, time; from pathlib import Path; from sim.core.files import Lock\n"
        "with Lock(Path(sys.argv[1]), '.'):\n    print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holder, str(tmp_path / "p")]
    other = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout and other.stdout.readline() == "held\n"
    checkpoint.save(tmp_path / "policy", tiny_model(), about())
    demos = write_demos(tmp_path / "demos")
    config = TrainConfig(data=(str(demos),), out=str(tmp_path / "p"), policy=TINY, optim=QUICK, init_fusion=None)
    line = f"error: another process is writing to {tmp_path}/p; wait for it to end\n"
    assert said(ended("train", main=lambda _: train(config))) == (2, line)
    assert said(ended("evaluate", f"checkpoint={tmp_path}/policy", f"out={tmp_path}/p")) == (2, line)
    assert said(ended("sb3", f"out={tmp_path}/p")) == (2, line)
    assert said(ended("recap", f"out={tmp_path}/p")) == (2, line)
    assert said(ended("compare", f"out={tmp_path}/p")) == (2, line)
    other.communicate("")
    assert not (tmp_path / "p").exists()  # nothing was written into it


# ---- PPO ---------------------------------------------------------------------------------------


@pytest.mark.slow  # 20 to 80 s
def test_an_interrupted_ppo_ends_its_processes_quietly(tmp_path):
    """A terminal sends Ctrl-C to all of them; they end whatever they are at."""
    words = ("evaluation_episodes=1", "ppo.n_steps=102400", f"out={tmp_path}/m")
    run = subprocess.Popen(
        [sys.executable, "-m", "rl.sb3", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert run.stdout and run.stdout.readline().startswith("before: ")  # it learns from now on
    os.killpg(run.pid, signal.SIGINT)
    _, err = run.communicate(timeout=100)
    assert (run.returncode, err) == NOTHING
    assert not (tmp_path / "m").exists()
    wait_for(lambda: not is_alive(run.pid))


def is_alive(group: int) -> bool:
    """Return whether a process of this group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_ppo_whose_model_is_there_says_so(tmp_path, monkeypatch):
    words = ("envs=1", "steps=4", "evaluation_episodes=1", "ppo.n_steps=4", "ppo.batch_size=4", f"out={tmp_path}/m")
    monkeypatch.setattr("rl.sb3.write_atomic", interrupt)
    assert said(ended("sb3", *words)) == NOTHING
    monkeypatch.undo()
    monkeypatch.setattr("rl.sb3._log.info", lambda line, *_, **__: interrupt() if line.startswith("after") else None)
    assert said(ended("sb3", *words)) == (130, f"warning: interrupted; the model is kept in {tmp_path}/m\n")


# ---- corrections -------------------------------------------------------------------------------


def test_interrupted_corrections_are_counted_and_gone_on_with(tmp_path, monkeypatch):
    checkpoint.save(tmp_path / "policy", tiny_model(), about())
    out, played = tmp_path / "d", []

    def play(self, seed: int) -> tuple:
        played.append(seed)
        if seed == 500_001:
            interrupt()
        return EpisodeResult(seed, True, 10, 0.5, GuardReport()), replace(make_demo(0, 5), metadata={"seed": seed})

    def press(device: str) -> Operator:
        operator = Operator([])
        operator.confirm = lambda: None
        return operator

    monkeypatch.setattr(OperatorWorker, "__init__", lambda *_: None)
    monkeypatch.setattr(OperatorWorker, "__call__", play)
    monkeypatch.setattr(Behaviour, "features", lambda *_: features(FR3, SIZE))
    monkeypatch.setattr("rl.correct.open_operator", press)
    words = ("task=pick_place", "episodes=3", f"checkpoint={tmp_path}/policy", f"out={out}")
    line = f"warning: interrupted; 1 episodes are kept in {out}; run again to go on\n"
    assert said(ended("correct", *words)) == (130, line)
    assert Dataset(out).num_episodes == 1
    monkeypatch.setattr(OperatorWorker, "__call__", lambda self, seed: play(self, seed + 10))
    assert ended("correct", *words).code == 0
    assert played == [500_000, 500_001, 500_011, 500_012]
    assert Dataset(out).num_episodes == 3


def test_corrections_interrupted_before_the_first_is_kept_leave_nothing(tmp_path, monkeypatch):
    checkpoint.save(tmp_path / "policy", tiny_model(), about())
    monkeypatch.setattr(OperatorWorker, "__init__", lambda *_: None)
    monkeypatch.setattr(Behaviour, "features", lambda *_: features(FR3, SIZE))
    operator = Operator([])
    operator.confirm = interrupt
    monkeypatch.setattr("rl.correct.open_operator", lambda device: operator)
    words = ("task=pick_place", f"checkpoint={tmp_path}/policy", f"out={tmp_path}/d")
    assert said(ended("correct", *words)) == NOTHING
    assert not (tmp_path / "d").exists()
