"""Who plays episodes: how many processes, where, and what every one of them keeps to."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sim.core.errors import UserError
from sim.core.options import Options, at_least, one_of, option

EXECUTORS = ("local", "ray")
ATTEMPTS = 3  # how often an episode may lose its worker before it is given up
MOST_WORKERS = 64  # processes of one machine: each takes some 300 MB
ONE_THREAD = {"OMP_NUM_THREADS": "1", "LP_NUM_THREADS": "0"}  # spinning threads slow the neighbour
EpisodeWorker = Callable[[int], Any]


@dataclass(frozen=True)
class WorkerConfig(Options):
    """Who plays: the base of the options of every program that plays episodes in several processes."""

    workers: int = option(2, "processes that play episodes, of one thread each", at_least(1))
    executor: str = option("local", "local: processes of this machine; ray: a cluster", one_of(*EXECUTORS))
    ray_address: str | None = option(None, "of a running cluster: auto or HOST:PORT; null: Ray on this machine")

    def __post_init__(self) -> None:
        super().__post_init__()
        cores = os.cpu_count() or 1
        if self.executor == "local" and self.workers > (most := max(MOST_WORKERS, 4 * cores)):
            raise UserError(
                f"workers={self.workers}, expected at most {most} on a machine of {cores} cores; executor=ray has more"
            )
        if self.ray_address is not None and self.executor != "ray":
            raise UserError(f"ray_address={self.ray_address} is used by executor=ray, not executor={self.executor}")
