"""A distribution of somebody else's adds a task, a head, a robot and an RL algorithm, one file each, and plays them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = ROOT / "tests" / "plugin"
TINY = (
    "optim.steps=2", "optim.batch=8", "optim.warmup_steps=1", "policy.head.name=mlp_l1", "init_fusion=null",
)  # fmt: skip
SMALL = ("render.height=32", "render.width=32", "workers=1")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Install the distribution into a folder of its own, as pip does it for a user."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
         "--target", folder, PLUGIN],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def run(site, tmp_path_factory):
    """Run a program of the project in an empty folder, the distribution installed."""
    folder = tmp_path_factory.mktemp("work")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{site}", "OMP_NUM_THREADS": "1"}

    def call(program: str, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", program, *words],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=280,
        )  # fmt: skip

    call.folder = folder
    return call


@pytest.fixture(scope="module")
def demos(run) -> Path:
    done = run("sim.collect", "task=hover", "robot=lab_fr3", "episodes=3", "out=demos", *SMALL)
    assert done.returncode == 0, done.stderr
    return run.folder / "demos"


@pytest.fixture(scope="module")
def policy(run, demos) -> Path:
    done = run("policies.train", "data=demos", "out=policy", *TINY)
    assert done.returncode == 0, done.stderr
    return run.folder / "policy"


def test_a_task_and_a_robot_collect(demos):
    info = json.loads((demos / "meta" / "info.json").read_text())
    assert (info["robot_type"], info["fps"], info["total_episodes"]) == ("lab_fr3", 25, 3)
    assert "observation.images.side" in info["features"]
    assert "observation.images.front" not in info["features"]


def test_a_head_trains_and_plays(run, policy):
    words = ("checkpoint=policy", "task=hover", "robot=lab_fr3", "episodes=2", "videos=0", "workers=1")
    done = run("policies.evaluate", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads((policy / "eval" / "results.json").read_text())["n"] == 2
    assert json.loads((policy / "config.json").read_text())["policy"]["head"]["name"] == "mlp_l1"


def test_a_policy_is_not_played_on_another_robot(run, policy):
    done = run("policies.evaluate", "checkpoint=policy", "task=hover", "episodes=2", "out=other")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "lab_fr3" in done.stderr
    assert "fairino_fr3" in done.stderr
    assert not (run.folder / "other").exists()


def test_an_algorithm_runs_a_round(run, policy):
    done = run(
        "rl.recap", "+exp=smoke", "algorithm=short_successes", "task=hover", "robot=lab_fr3", "demos=demos",
        "pretrained=policy", "out=round", *SMALL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (run.folder / "round" / "round_1" / "policy" / "model.safetensors").is_file()


def test_without_the_distribution_the_names_are_unknown(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "sim.collect", "task=hover", f"out={tmp_path / 'demos'}"],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert "unknown task 'hover'" in done.stderr


def test_the_guide_shows_the_files_as_they_are():
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    shown = re.findall(r"<!-- (\S+) -->\n```python\n(.*?)```", guide, re.DOTALL)
    assert {path for path, _ in shown} == {
        f"tests/plugin/fr3_vla_example/{name}.py" for name in ("task", "head", "robot", "algorithm")
    }
    for path, text in shown:
        assert text == (ROOT / path).read_text(), f"{path} is not as CONTRIBUTING.md shows it"
