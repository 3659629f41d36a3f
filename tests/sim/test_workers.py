"""Episodes by several processes: in order, a bounded number ahead, and whole although a process is killed."""

import errno
import functools
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from sim.core.errors import UserError
from sim.parallel.workers import WorkerConfig, map_seeds


class Square:
    """Plays a seed by squaring it; even ones take longer. Notes which process began what."""

    def __init__(self, notes: Path, deadly: tuple[int, ...] = (), deaths: int = 0):
        self._notes, self._deadly, self._deaths = notes, deadly, deaths
        (notes / f"built-{os.getpid()}").touch(exist_ok=False)

    def __call__(self, seed: int) -> int:
        begun = len(list(self._notes.glob(f"begun-{seed}-*")))
        (self._notes / f"begun-{seed}-{begun}").touch()
        if seed in self._deadly and begun < self._deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        if seed < 0:
            raise UserError(f"seed {seed} is below 0")
        time.sleep(0.02 * (seed % 2 == 0))
        return seed * seed


def broken() -> Square:
    raise UserError("no such checkpoint")


class Threads:
    """Tells how many threads torch has in the process that plays."""

    def __call__(self, seed: int) -> int:
        return torch.get_num_threads()


def test_a_worker_process_has_one_thread():
    before = dict(os.environ)
    assert list(map_seeds(Threads, range(3), WorkerConfig(2))) == [1, 1, 1]
    assert dict(os.environ) == before


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_seeds(tmp_path, workers):
    seeds = [6, 3, 8, 1, 4, 5, 2, 7, 0, 9, 11, 10]
    squares = [36, 9, 64, 1, 16, 25, 4, 49, 0, 81, 121, 100]
    assert list(map_seeds(functools.partial(Square, tmp_path), seeds, WorkerConfig(workers))) == squares
    assert 1 <= len(list(tmp_path.glob("built-*"))) <= workers  # one a process, kept


def test_no_seeds_no_episodes(tmp_path):
    assert list(map_seeds(broken, [], WorkerConfig(2))) == []


def test_few_results_wait_for_a_slow_reader(tmp_path):
    played = map_seeds(functools.partial(Square, tmp_path), range(40), WorkerConfig(2))
    assert next(played) == 0
    time.sleep(1.0)
    assert len(list(tmp_path.glob("begun-*"))) <= 6  # three for each of two
    assert list(played) == [seed * seed for seed in range(1, 40)]


def test_a_killed_process_loses_nothing(tmp_path, caplog):
    make = functools.partial(Square, tmp_path, deadly=(3, 9), deaths=1)
    assert list(map_seeds(make, range(12), WorkerConfig(2))) == [seed * seed for seed in range(12)]
    assert len(list(tmp_path.glob("begun-3-*"))) >= 2
    assert "a worker process was killed" in caplog.text


def test_a_deadly_episode_is_given_up_after_those_before_it(tmp_path):
    played = map_seeds(functools.partial(Square, tmp_path, deadly=(5,), deaths=99), range(12), WorkerConfig(2))
    assert [next(played) for _ in range(5)] == [0, 1, 4, 9, 16]
    with pytest.raises(UserError, match="killed 3 times in a row while seed 5 was played"):
        next(played)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_worker_raises_is_raised_here(tmp_path, workers):
    with pytest.raises(UserError, match="seed -3 is below 0"):
        list(map_seeds(functools.partial(Square, tmp_path), [1, -3], WorkerConfig(workers)))
    with pytest.raises(UserError, match="no such checkpoint"):
        list(map_seeds(broken, [1, 2], WorkerConfig(workers)))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_container_without_shared_memory_is_named(tmp_path, monkeypatch, code):
    """As docker has it, 64 MB that something else fills, or none: no lock can be made."""

    def no_lock(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("multiprocessing.synchronize._multiprocessing.SemLock", no_lock)
    with pytest.raises(UserError, match=f"/dev/shm gives none .{os.strerror(code)}.; .*--shm-size=1g.*, or workers=1"):
        list(map_seeds(functools.partial(Square, tmp_path), range(4), WorkerConfig(2)))
    assert list(map_seeds(functools.partial(Square, tmp_path), range(4), WorkerConfig(1))) == [0, 1, 4, 9]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"workers": 0}, "workers=0, expected at least 1"),
        ({"executor": "rey"}, "unknown executor 'rey', expected one of 'local', 'ray'; did you mean 'ray'"),
        ({"ray_address": "auto"}, "ray_address=auto is used by executor=ray, not executor=local"),
    ],
)
def test_workers_that_cannot_play_is_refused(given, message):
    with pytest.raises(UserError, match=message):
        WorkerConfig(**given)
