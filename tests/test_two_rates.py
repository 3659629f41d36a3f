"""Looks at a rate of their own through the programs that a user types: trained, evaluated, on the emulated arm."""

import json
import runpy
import sys
from pathlib import Path

import pytest

from real.workcell.emulator_process import EmulatorProcess

SIZE = (32, 32)
SMALL = ("render.height=32", "render.width=32", "workers=1")
TINY = ("optim.steps=2", "optim.batch=8", "optim.warmup_steps=1", "optim.threads=1", "init_fusion=null")


def run(module: str, *words: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [module, *words])
        runpy.run_module(module, run_name="__main__", alter_sys=True)


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("rates")
    run("sim.collect", "task=reach", "episodes=2", "quality=clean", f"out={folder / 'demos'}", *SMALL)
    data = (f"data=[{folder / 'demos'}]", f"out={folder / 'policy'}")
    run("policies.train", *data, "policy.look_age=8", *TINY)
    return folder / "policy"


PLAYED = ("task=reach", "episodes=1", "videos=0", "workers=1")


def test_evaluate_decides_between_looks(policy, tmp_path):
    two_rates = ("look_hz=5", "look_delay_s=0.2", "execute=2")
    run("policies.evaluate", f"checkpoint={policy}", f"out={tmp_path}", *two_rates, *PLAYED)
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["execute"] == 2 and written["n"] == 1
    assert written["latency"]["decision"]["n"] == (written["episodes"][0]["steps"] + 1) // 2


def test_a_policy_is_not_handed_older_looks_than_in_training(policy, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        run("policies.evaluate", f"checkpoint={policy}", f"out={tmp_path}", "look_hz=1", *PLAYED)
    assert ended.value.code not in (0, None)
    assert "look_hz=1 look_delay_s=0: looks of up to 0.95 s" in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def test_the_emulated_arm_is_driven_by_decisions_between_looks(policy, tmp_path):
    out = tmp_path / "rollout"
    with EmulatorProcess(SIZE, task="reach") as emulator:
        ports = [f"robot.{name}={port}" for name, port in emulator.ports.items()]
        words = ("robot=emulator", "robot.start=never", "robot.deadline_s=5", f"checkpoint={policy}", "episodes=1")
        run("real.rollout", "look_hz=5", "execute=4", "inference_delay_s=0.1", f"out={out}", *words, *ports)
    written = json.loads((out / "results.json").read_text())
    assert (written["n"], written["look_hz"], written["execute"]) == (1, 5.0, 4)
    age = written["looks"]["age"]
    assert age["n"] == written["latency"]["decision"]["n"] > 1
    assert 0 < age["p99_ms"] <= 1e3 * 8.5 / 20
