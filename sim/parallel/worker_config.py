"""Who plays episodes: how many processes, where, and what every one of them keeps to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sim.core.errors import UserError, nearest

EXECUTORS = ("local", "ray")
ATTEMPTS = 3  # how often an episode may lose its worker before it is given up
ONE_THREAD = {"OMP_NUM_THREADS": "1", "LP_NUM_THREADS": "0"}  # spinning threads slow the neighbour
EpisodeWorker = Callable[[int], Any]


@dataclass(frozen=True)
class WorkerConfig:
    """Who plays: how many processes of one thread each, and where.

    executor: "local", processes of this machine, or "ray" (`sim.parallel.ray_cluster`). ray_address: of a running
    cluster, "auto" (the one this machine belongs to) or HOST:PORT; None starts Ray on this machine.
    """

    workers: int = 2
    executor: str = "local"
    ray_address: str | None = None

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UserError(f"workers={self.workers}, expected at least 1")
        if self.executor not in EXECUTORS:
            raise UserError(nearest(self.executor, EXECUTORS, "executor"))
        if self.ray_address is not None and self.executor != "ray":
            raise UserError(f"ray_address={self.ray_address} is used by executor=ray, not executor={self.executor}")
