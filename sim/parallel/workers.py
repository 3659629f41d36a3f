"""Episodes by several processes, handed over in order: one worker function for collection, evaluation
and rollouts, on this machine or on a Ray cluster. Each process builds its own worker once and keeps it."""

import contextlib
import functools
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from typing import Any

from sim.core.errors import UserError
from sim.core.plugins import load_plugins, loaded_plugins
from sim.parallel.interrupts import children_without_interrupts
from sim.parallel.worker_config import ATTEMPTS, ONE_THREAD, EpisodeWorker, WorkerConfig

START_METHOD = "forkserver"  # of worker processes

_log = logging.getLogger(__name__)
_build: Callable[[], EpisodeWorker] | None = None  # in a worker process: made on the first call and kept


def map_seeds(make_worker: Callable[[], EpisodeWorker], seeds: Sequence[int], config: WorkerConfig) -> Iterator[Any]:
    """Yield `worker(seed)` of each seed, in the order of the seeds, at most `config.workers` at a time.

    make_worker: picklable, called once in every process. Who plays does not change what is played. An
    episode that loses its worker is played again by another; UserError when it has lost it `ATTEMPTS`
    times. What was yielded before is the caller's.
    """
    workers = min(config.workers, len(seeds))
    make_worker = functools.partial(_with_plugins, make_worker, loaded_plugins())
    if workers == 0:
        return
    if config.executor == "ray":
        from sim.parallel.ray_cluster import RayPool  # Ray is there for those who asked for it

        with RayPool(make_worker, workers, config.ray_address) as pool:
            yield from _in_order(pool.submit, seeds, ahead=3 * workers)
    elif workers > 1:
        yield from _play_here(make_worker, seeds, workers)
    else:
        worker = make_worker()
        yield from (worker(seed) for seed in seeds)


def _with_plugins(make_worker: Callable[[], EpisodeWorker], plugins: Sequence[str]) -> EpisodeWorker:
    load_plugins(plugins)
    return make_worker()


def _in_order(submit: Callable[[int], Future], seeds: Sequence[int], ahead: int) -> Iterator[Any]:
    """Yield results in order, with at most `ahead` of them waiting in memory."""
    left, waiting = deque(seeds), deque[Future]()
    while left or waiting:
        while left and len(waiting) < ahead:
            waiting.append(submit(left.popleft()))
        yield waiting.popleft().result()


# ---- processes of this machine -----------------------------------------------------------------


def _play_here(make_worker: Callable[[], EpisodeWorker], seeds: Sequence[int], workers: int) -> Iterator[Any]:
    """Play by a pool of processes. Where one of them is killed, the first unfinished episode is played alone, so
    that neighbours of a deadly one are not counted against, then a new pool goes on."""
    context = multiprocessing.get_context(START_METHOD)
    with children_without_interrupts(), _environment(ONE_THREAD):  # libraries read it where they are imported
        forkserver.ensure_running()
    done = losses = 0
    while done < len(seeds):
        count, batch = (1, seeds[done : done + 1]) if losses else (workers, seeds[done:])
        pool = _pool(context, count, make_worker)
        try:
            for result in _in_order(functools.partial(pool.submit, _play), batch, ahead=3 * count):
                yield result
                done, losses = done + 1, 0
        except BrokenProcessPool as error:
            losses += 1
            if losses == ATTEMPTS:
                raise UserError(
                    f"worker processes were killed {losses} times in a row while seed {seeds[done]} "
                    "was played (out of memory?); run again"
                ) from error
            _log.warning("a worker process was killed; from seed %d on its episodes are played again", seeds[done])
        except BaseException:
            _end(pool)
            raise
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Let processes started inside find these values in their environment."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _pool(context: BaseContext, workers: int, make_worker: Callable[[], EpisodeWorker]) -> ProcessPoolExecutor:
    try:
        return ProcessPoolExecutor(workers, context, initializer=_start, initargs=(make_worker, os.getpid()))
    except OSError as error:  # its locks lie in shared memory, of which containers may have none
        raise UserError(
            f"workers={workers} need shared memory, and /dev/shm gives none ({error.strerror}); free some (docker run "
            "--shm-size=1g gives more), or workers=1"
        ) from error


def _end(pool: ProcessPoolExecutor) -> None:
    """End the processes at once: nobody waits for what they play, and a shutdown waits for what is queued as well."""
    for process in list((pool._processes or {}).values()):  # Python 3.14 has a public way
        process.terminate()


def _start(make_worker: Callable[[], EpisodeWorker], parent: int) -> None:
    global _build  # noqa: PLW0603 - what a worker process keeps between calls
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    _build = functools.cache(make_worker)


def _follow(parent: int) -> None:
    """End this process when the parent is gone, killed or not."""
    while True:
        time.sleep(1.0)
        try:
            os.kill(parent, 0)
        except ProcessLookupError:
            os._exit(1)


def _play(seed: int) -> Any:
    assert _build is not None
    return _build()(seed)
