"""Collection through its real command line: resumed after a kill, by one or two processes, to the same dataset."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fr3 import FR3

from sim.dataset.reader import Dataset
from sim.dataset.rows import count_episodes

REPOSITORY = FR3.mjcf.parents[2]
EPISODES = 4


def command(out: Path, *options: str) -> list[str]:
    small = ["render.width=48", "render.height=32", "randomize=none", "quality=clean", "seed=40"]
    return [sys.executable, "-m", "sim.collect", f"out={out}", f"episodes={EPISODES}", *small, *options]


def collect(out: Path, *options: str) -> subprocess.CompletedProcess:
    return subprocess.run(command(out, *options), cwd=REPOSITORY, capture_output=True, text=True, timeout=250)


def seeds(root: Path) -> list[int]:
    dataset = Dataset(root)
    return [dataset.episode_metadata(i)["seed"] for i in range(dataset.num_episodes)]


@pytest.fixture(scope="module")
def collected(tmp_path_factory) -> Path:
    """What one process makes undisturbed."""
    out = tmp_path_factory.mktemp("collect") / "demos"
    done = collect(out, "workers=1")
    assert done.returncode == 0, done.stderr
    assert f"{EPISODES} episodes in" in done.stdout
    return out


def test_every_episode_is_a_success_of_its_own_seed(collected):
    dataset = Dataset(collected)
    assert seeds(collected) == [40, 41, 42, 43]
    assert all(dataset.episode_metadata(i)["success"] for i in range(EPISODES))
    assert {dataset.episode_metadata(i)["source"] for i in range(EPISODES)} == {"expert"}
    assert dataset.images(0, "wrist").shape == (dataset.length(0), 32, 48, 3)
    assert dataset.provenance["world"]["task"] == "pick_place"
    assert dataset.provenance["versions"]["mujoco"]


def test_two_workers_make_the_same_dataset(collected, tmp_path):
    done = collect(tmp_path / "demos", "workers=2")
    assert done.returncode == 0, done.stderr
    assert Dataset(tmp_path / "demos").fingerprint() == Dataset(collected).fingerprint()


def test_a_killed_run_goes_on_to_the_same_dataset(collected, tmp_path):
    out = tmp_path / "demos"
    running = subprocess.Popen(command(out, "workers=2"), cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    wait_for_episodes(out, running)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    before = count_episodes(out)
    assert 1 <= before < EPISODES, "the kill came too late to test anything"
    done = collect(out, "workers=2")
    assert done.returncode == 0, done.stderr
    assert seeds(out) == seeds(collected)
    assert Dataset(out).fingerprint() == Dataset(collected).fingerprint()


def wait_for_episodes(out: Path, running: subprocess.Popen, timeout_s: float = 200.0) -> None:
    begun = time.monotonic()
    while not (out / "meta" / "info.json").is_file() or not count_episodes(out):
        assert running.poll() is None, "it ended before it could be killed"
        assert time.monotonic() - begun < timeout_s
        time.sleep(0.01)


def test_a_full_dataset_is_left_alone(collected):
    before = Dataset(collected).fingerprint()
    done = collect(collected)
    assert done.returncode == 0
    assert f"holds {EPISODES} episodes already" in done.stdout
    assert Dataset(collected).fingerprint() == before


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("task=pick_plaice", "did you mean 'pick_place'?"),
        ("episodse=3", "unknown option 'episodse'"),
        ("episodes=many", "episodes='many' is of type str, expected int"),
        ("render.width=64", "differs"),  # this directory holds pictures of another size
        ("task=reach", 'was made with world.task="pick_place", not "reach"; name a new out=DIR'),
        ("randomize.object_scale=[0.8,1.1]", "world.randomize.object_scale=[1.0, 1.0], not [0.8, 1.1]"),
        ("quality=sloppy", "was made with quality.speed=[0.5, 0.95], not [0.35, 0.6]"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(collected, option, message):
    done = collect(collected, option)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert message in done.stderr
