"""Episodes by several processes, handed over in order: one worker function for collection, evaluation
and rollouts. Each process builds its own player once and keeps it."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from sim.errors import UserError

_player: Callable[[int], Any] | None = None


def play_all(make_player: Callable[[], Callable[[int], Any]], seeds: Sequence[int], workers: int) -> Iterator[Any]:
    """`player(seed)` of each seed, in the order of the seeds, by `workers` processes of one thread each.

    make_player: picklable, called once in every process. Raises UserError when a worker dies; what
    was yielded before is the caller's.
    """
    if workers <= 1:
        player = make_player()
        yield from (player(seed) for seed in seeds)
        return
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=(make_player, os.getpid())) as pool:
        try:
            yield from _in_order(pool, list(seeds), ahead=3 * workers)
        except BrokenProcessPool as error:
            raise UserError(
                "a worker process was killed; the finished episodes are kept, run again to go on"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _in_order(pool: ProcessPoolExecutor, seeds: list[int], ahead: int) -> Iterator[Any]:
    """Results in order, with at most `ahead` of them waiting in memory."""
    waiting: list[Future] = []
    while seeds or waiting:
        while seeds and len(waiting) < ahead:
            waiting.append(pool.submit(_play, seeds.pop(0)))
        yield waiting.pop(0).result()


def _start(make_player: Callable[[], Callable[[int], Any]], parent: int) -> None:
    global _player  # noqa: PLW0603 - what a worker process keeps between calls
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    os.environ.update(OMP_NUM_THREADS="1", LP_NUM_THREADS="0")  # spinning threads slow the neighbour
    _player = make_player()


def _follow(parent: int) -> None:
    """End this process when the parent is gone, killed or not."""
    while True:
        time.sleep(1.0)
        try:
            os.kill(parent, 0)
        except ProcessLookupError:
            os._exit(1)


def _play(seed: int) -> Any:
    assert _player is not None
    return _player(seed)
