"""Episodes on a Ray cluster of two nodes on this machine, one of which is killed: the same as without Ray."""

import functools
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # all nodes on loopback; read when ray is imported

from sim.collect import CollectConfig, DemonstrationWorker
from sim.core.errors import UserError
from sim.dataset.reader import Dataset
from sim.envs.simulation import SimulationConfig
from sim.parallel.ray_cluster import RayPool
from sim.parallel.workers import WorkerConfig, map_seeds
from sim.scene.build import RenderConfig

with_ray = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason='needs Ray: pip install -e ".[cluster]"')
REPOSITORY = Path(__file__).resolve().parents[2]  # nodes import this file, without what tests share
SEEDS = range(40, 46)
WORLD = SimulationConfig(render=RenderConfig(height=48, width=64))


class Expert:
    """Plays as `sim.collect` does. On the doomed node the second episode takes until the node dies."""

    def __init__(self, notes: Path):
        from ray import get_runtime_context

        self._worker = DemonstrationWorker(WORLD)
        self._notes, self._node, self._played = notes, get_runtime_context().get_node_id(), 0

    def __call__(self, seed: int):
        doomed = (self._notes / "doomed").read_text() == self._node
        (self._notes / f"begun-{seed}-{'doomed' if doomed else 'safe'}").touch()
        self._played += 1
        if doomed and self._played == 2:
            (self._notes / "stalled").touch()
            time.sleep(600)
        return self._worker(seed)


class Moody:
    """Plays quickly; seed 3 kills its process, seed 5 is refused."""

    def __call__(self, seed: int) -> np.ndarray:
        if seed == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if seed == 5:
            raise UserError("seed 5 is refused")
        return np.full(100_000, seed)  # large enough for Ray's object store


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


@pytest.mark.slow
@with_ray
def test_a_killed_nodes_episodes_are_played_by_the_other(cluster, tmp_path, caplog):
    doomed = cluster.add_node(num_cpus=1)
    (tmp_path / "doomed").write_text(doomed.node_id)
    killer = threading.Thread(target=kill_when_stalled, args=(cluster, doomed, tmp_path / "stalled"), daemon=True)
    killer.start()
    config = WorkerConfig(2, "ray", cluster.address)
    played = list(map_seeds(functools.partial(Expert, tmp_path), SEEDS, config))
    killer.join(timeout=60)
    here = list(map_seeds(functools.partial(DemonstrationWorker, WORLD), SEEDS, WorkerConfig(1)))
    assert [result.seed for result, _ in played] == list(SEEDS)
    for there, alone in zip(played, here, strict=True):
        np.testing.assert_equal(plain(there), plain(alone))
    begun = {name: {path.name[6:8] for path in tmp_path.glob(f"begun-*-{name}")} for name in ("doomed", "safe")}
    assert len(begun["doomed"]) == 2, "one was finished there, one was lost"
    assert len(begun["doomed"] & begun["safe"]) == 1
    assert "lost its worker" in caplog.text


def kill_when_stalled(cluster, node, stalled: Path) -> None:
    while not stalled.exists():
        time.sleep(0.05)
    cluster.remove_node(node, allow_graceful=False)


def plain(played) -> list:
    """All of a result and its episode that can be compared; NaN equals NaN."""
    result, episode = played
    videos = {camera: (video.data, video.stats) for camera, video in episode.images.items()}
    return [
        vars(result) | {"guard": vars(result.guard)},
        dict(episode.columns),
        videos,
        episode.instruction,
        episode.metadata,
    ]


@pytest.mark.slow
@with_ray
def test_results_are_whole_and_errors_are_the_workers(cluster):
    with RayPool(Moody, 1, cluster.address) as pool:
        array = pool.submit(7).result()
        assert (array == 7).all() and array.shape == (100_000,)
        array[0] = 1  # not read-only, as without Ray
        with pytest.raises(UserError, match="^seed 5 is refused$"):
            pool.submit(5).result()


@pytest.mark.slow
@with_ray
def test_a_seed_that_kills_its_workers_is_given_up(cluster):
    played = map_seeds(Moody, range(2, 7), WorkerConfig(1, "ray", cluster.address))
    assert next(played)[0] == 2
    with pytest.raises(UserError, match="seed 3 lost its Ray worker 3 times"):
        next(played)


@pytest.mark.slow
@with_ray
def test_collection_on_ray_makes_the_same_dataset(tmp_path):
    for executor in ("local", "ray"):
        small = ["render.width=48", "render.height=32", "episodes=2", "seed=40", f"executor={executor}"]
        command = [sys.executable, "-m", "sim.collect", f"out={tmp_path / executor}", *small]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""  # Ray is quiet
    assert Dataset(tmp_path / "ray").fingerprint() == Dataset(tmp_path / "local").fingerprint()


@with_ray
@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", "ray://127.0.0.1:1"])
def test_no_cluster_is_one_clear_error(address):
    with pytest.raises(UserError, match=f"no Ray cluster answers at ray_address={address} .*ray start --head"):
        list(map_seeds(Moody, [1], WorkerConfig(1, "ray", address)))


@with_ray
def test_a_start_that_fails_is_one_clear_error(monkeypatch):
    import ray

    def init(*_, **__):
        raise Exception("The node timed out.\nMore of it.")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(UserError, match=r"^Ray does not start on this machine \(The node timed out\.\)"):
        list(map_seeds(Moody, [1], WorkerConfig(1, "ray")))


def test_without_ray_the_line_that_installs_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # imports fail
    config = CollectConfig(executor="ray")
    with pytest.raises(UserError, match='executor=ray needs Ray; install it with: python -m pip install "ray'):
        list(map_seeds(Moody, [1], config))
