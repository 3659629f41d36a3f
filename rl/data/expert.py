"""The clean expert on given seeds: the best that any policy of a run is measured against. Nothing is rendered."""

import functools
from collections.abc import Sequence
from pathlib import Path

from sim.core.console import track
from sim.core.provenance import provenance
from sim.envs.simulation import SimulationConfig
from sim.episode import results
from sim.expert.imperfections import CLEAN
from sim.expert.worker import ExpertWorker
from sim.parallel.workers import WorkerConfig, map_seeds


def record_expert(out: Path, world: SimulationConfig, seeds: Sequence[int], workers: WorkerConfig) -> None:
    """Play the seeds and write results.json."""
    played = map_seeds(functools.partial(ExpertWorker, world, CLEAN), seeds, workers)
    episodes = [results.row(result) for result in track(played, "clean expert", total=len(seeds))]
    results.write(out, {**results.summary(episodes), **provenance({"world": world}), "episodes": episodes})
