"""Episodes on a Ray cluster, for `sim.parallel.workers.map_seeds`.

A worker is a Ray task on one core; its process builds its worker once and keeps it. An episode whose
process or node is lost is played again on another. Every node needs the project and its packages, at
the same version, and the working directory under the same path: a checkpoint is read there, and videos
are written there, on the node that played (a shared folder brings them together). Datasets and results
are written by the program that asked. The node it runs on must live: start the program on the head
node (`ray start --head`) or on one that has joined (`ray start --address=HEAD:6379`).
"""

import functools
import logging
import os
import pickle
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from sim.core.errors import UserError, reason
from sim.parallel.worker_config import ATTEMPTS, ONE_THREAD, EpisodeWorker

INSTALL = 'python -m pip install "ray>=2.50"'
GL_CHOICE = ("MUJOCO_GL", "PYOPENGL_PLATFORM")  # drawn by the same back-end everywhere
ON_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # "0": one machine, loopback only; on Linux too, despite the name
ANSWER_S = 5.0
POLL_S = 1.0  # how often one who waits looks whether it still makes sense
OBJECT_STORE_BYTES = 200_000_000  # results pass through it, a few MB each

_log = logging.getLogger(__name__)


class RayPool:
    """Plays seeds on a cluster, at most `workers` at a time; a context manager."""

    def __init__(self, make_worker: Callable[[], EpisodeWorker], workers: int, address: str | None):
        """address: of a running cluster; None starts Ray on this machine. Raises UserError when there is none."""
        self._ray = _connect(address, workers)
        from ray.cloudpickle.cloudpickle import dumps

        # No runtime_env: a node that dies while one is set up ends the program. Hence the pickled worker too: it is
        # unpickled, and MuJoCo imported, when the environment is set.
        self._task = self._ray.remote(num_cpus=1, max_retries=0)(_play)
        self._worker = dumps(make_worker)
        environment = ONE_THREAD | {name: os.environ[name] for name in GL_CHOICE if name in os.environ}
        self._place = (os.getcwd(), tuple(environment.items()))
        self._slots = ThreadPoolExecutor(workers)  # each waits for one episode at a time
        self._closed = threading.Event()

    def submit(self, seed: int) -> Future:
        return self._slots.submit(self._played, seed)

    def __enter__(self) -> "RayPool":
        return self

    def __exit__(self, *_) -> None:
        self._closed.set()
        self._slots.shutdown(cancel_futures=True)
        self._ray.shutdown()

    def _played(self, seed: int) -> Any:
        """Return the result of one seed, by as many workers as it takes."""
        from ray import exceptions

        for attempt in range(ATTEMPTS):
            time.sleep(attempt)  # the cluster may not know at once that a node is gone
            try:
                return pickle.loads(self._wait(self._task.remote(self._worker, *self._place, seed)))
            except exceptions.RayTaskError as error:
                raise error.cause from error  # as if it had happened here
            except exceptions.RayError as error:
                lost = type(error).__name__
                _log.warning("seed %d lost its worker (%s), attempt %d of %d", seed, lost, attempt + 1, ATTEMPTS)
        raise UserError(f"seed {seed} lost its Ray worker {ATTEMPTS} times, the last to {lost}; run again")

    def _wait(self, reference: Any) -> bytes:
        while not self._ray.wait([reference], timeout=POLL_S)[0]:
            if self._closed.is_set():
                raise UserError("closed before the episode was finished")
            if not self._ray.cluster_resources().get("CPU"):
                raise UserError("the Ray cluster has no core to play on; add a node, run again to go on")
        return self._ray.get(reference)


def _connect(address: str | None, workers: int):
    """Return the module `ray`, connected: quiet, and what is started here on loopback and without dashboard."""
    if address is None:
        os.environ[ON_LOOPBACK] = "0"  # read when ray is imported
    try:
        import ray
    except ImportError as error:
        raise UserError(f"executor=ray needs Ray; install it with: {INSTALL}") from error
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        _start(ray, workers, quiet)
    else:
        _join(ray, address, quiet)
    return ray


def _start(ray: Any, workers: int, quiet: dict) -> None:
    try:
        ray.init("local", num_cpus=workers, include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **quiet)
    except Exception as error:  # Ray raises nothing narrower
        raise UserError(f"Ray does not start on this machine ({reason(error)}); is it overloaded?") from error


def _join(ray: Any, address: str, quiet: dict) -> None:
    from ray._private.services import canonicalize_bootstrap_address

    try:
        _knock(canonicalize_bootstrap_address(address))
        ray.init(address, **quiet)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UserError(
            f"no Ray cluster answers at ray_address={address} ({reason(error)}); start one with "
            "`ray start --head`, join one with `ray start --address=HEAD:6379`, or leave ray_address away"
        ) from error


def _knock(address: Any) -> None:
    """Raise OSError or ValueError when nothing listens at HOST:PORT: Ray itself would go on asking for minutes."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=ANSWER_S).close()


def _play(make_worker: bytes, folder: str, environment: tuple[tuple[str, str], ...], seed: int) -> bytes:
    """Play on a worker: the pickled result (Ray would hand arrays over read-only)."""
    from ray.cloudpickle.cloudpickle import dumps

    return dumps(_worker(make_worker, folder, environment)(seed))


@functools.cache
def _worker(make_worker: bytes, folder: str, environment: tuple[tuple[str, str], ...]) -> EpisodeWorker:
    try:
        os.chdir(folder)
    except OSError as error:
        raise UserError(
            f"node {socket.gethostname()} cannot enter {folder} ({error.strerror}); every node needs the project there"
        ) from error
    os.environ.update(environment)
    return pickle.loads(make_worker)()
