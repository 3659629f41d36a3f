"""Every registered task through the programs that a user types: collected, trained on, evaluated, replayed, rolled out.

One process, small images and a network that hardly learns: what is tested is that no step knows a task that the others
do not. RECAP's sweep is `tests/rl/test_every_task.py`.
"""

import json
import logging
import runpy
import sys
from pathlib import Path

import pytest

from real.workcell.emulator_process import EmulatorProcess
from sim.dataset.reader import Dataset
from sim.tasks.base import TASKS

SHORT = ("reach", "press_button")  # what takes longest is tried with these alone in `make test`
SIZE = (32, 32)
SMALL = ("render.height=32", "render.width=32", "workers=1")
TINY = ("optim.steps=2", "optim.batch=8", "optim.warmup_steps=1", "optim.threads=1", "init_fusion=null")


@pytest.fixture(scope="module")
def run():
    """Run a program of the project in this process."""
    with pytest.MonkeyPatch.context() as patch:

        def call(module: str, *words: str) -> None:
            patch.setattr(sys, "argv", [module, *words])
            runpy.run_module(module, run_name="__main__", alter_sys=True)

        yield call


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tasks")


def trained(run, folder: Path, task: str) -> Path:
    """Demonstrations and a policy of a task, made once."""
    demos, policy = folder / task / "demos", folder / task / "policy"
    if not policy.is_dir():
        run("sim.collect", f"task={task}", "episodes=2", "quality=clean", f"out={demos}", *SMALL)
        run("policies.train", f"data=[{demos}]", f"out={policy}", *TINY)
    return policy


@pytest.mark.parametrize("task", TASKS.names())
def test_a_task_is_collected_trained_on_evaluated_and_replayed(run, folder, task, caplog):
    policy = trained(run, folder, task)
    demos = Dataset(folder / task / "demos")
    assert demos.num_episodes == 2 and demos.provenance["world"]["task"] == task
    assert demos.instruction(0) == demos.episode_metadata(0)["draw/instruction"]
    run("policies.evaluate", f"checkpoint={policy}", f"task={task}", "episodes=1", "videos=0", "workers=1")
    results = json.loads((policy / "eval" / "results.json").read_text())
    assert results["n"] == 1 and results["episodes"][0]["steps"] > 0
    with caplog.at_level(logging.INFO):
        run("sim.replay", f"data={demos.root}")
    assert "1 of 1 episodes equal in every bit" in caplog.text


def test_one_policy_of_several_tasks_is_trained_and_evaluated_on_all_of_them(run, folder):
    roots = [trained(run, folder, task).parent / "demos" for task in SHORT]
    policy = folder / "both"
    joins = "policy.head.joins=true"
    run("policies.train", f"data=[{','.join(map(str, roots))}]", f"out={policy}", joins, *TINY)
    acting = ("execute=4", "inference_delay_s=0.1", "videos=0", "workers=1")
    run("policies.evaluate", f"checkpoint={policy}", "task=all", "episodes=1", f"out={folder / 'all'}", *acting)
    written = {task: json.loads((folder / "all" / task / "results.json").read_text()) for task in SHORT}
    together = json.loads((folder / "all" / "results.json").read_text())
    assert together["n"] == 2 and set(together["tasks"]) == set(SHORT)
    assert all((one["execute"], one["inference_delay_s"]) == (4, 0.1) for one in written.values())


def test_a_round_of_recap_from_images(run, folder):
    task = SHORT[0]
    pretrained, out = trained(run, folder, task), folder / task / "recap"
    words = (f"demos={folder / task / 'demos'}", f"pretrained={pretrained}", f"out={out}")
    run("rl.recap", "+exp=smoke", f"task={task}", "demo_episodes=2", "check_episodes=0", *words, *SMALL)
    assert len(json.loads((out / "recap.json").read_text())["rounds"]) == 2


def rolled_out(run, folder: Path, task: str) -> dict:
    policy, out = trained(run, folder, task), folder / task / "rollout"
    with EmulatorProcess(SIZE, task=task) as emulator:
        ports = [f"robot.{name}={port}" for name, port in emulator.ports.items()]
        words = ("robot=emulator", "robot.start=never", f"checkpoint={policy}", "episodes=1", f"out={out}")
        run("real.rollout", *words, *ports)
    assert Dataset(out).num_episodes == 1
    return json.loads((out / "results.json").read_text())


@pytest.mark.parametrize("task", SHORT)
def test_a_task_is_rolled_out_on_the_emulator(run, folder, task):
    assert rolled_out(run, folder, task)["n"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("task", sorted(set(TASKS.names()) - set(SHORT)))
def test_every_other_task_is_rolled_out_on_the_emulator(run, folder, task):
    assert rolled_out(run, folder, task)["n"] == 1
