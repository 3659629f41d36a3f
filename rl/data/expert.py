"""The clean expert on given seeds: the best that any policy of a run is measured against. Nothing is rendered."""

import functools
from collections.abc import Sequence
from pathlib import Path

from sim.core.console import track
from sim.core.provenance import provenance
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.episode import results
from sim.episode.loop import EpisodeResult, run_episode
from sim.expert.imperfections import CLEAN
from sim.expert.scripted import Expert
from sim.guard.clearance import guarded
from sim.parallel.workers import WorkerConfig, map_seeds


class CleanExpertWorker:
    """Plays one episode per seed."""

    def __init__(self, world: SimulationConfig):
        self._env = SimEnv(world)
        self._expert = Expert(self._env, CLEAN)
        self._guard = guarded(self._env.robot)

    def __call__(self, seed: int) -> EpisodeResult:
        return run_episode(self._env, self._expert, self._guard, seed)


def record_expert(out: Path, world: SimulationConfig, seeds: Sequence[int], workers: WorkerConfig) -> None:
    """Play the seeds and write results.json."""
    played = map_seeds(functools.partial(CleanExpertWorker, world), seeds, workers)
    episodes = [results.row(result) for result in track(played, "clean expert", total=len(seeds))]
    results.write(out, {**results.summary(episodes), **provenance({"world": world}), "episodes": episodes})
