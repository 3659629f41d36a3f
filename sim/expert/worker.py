"""The expert by itself, an episode a seed."""

from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.episode.loop import EpisodeResult, run_episode
from sim.expert.imperfections import QualityConfig
from sim.expert.scripted import Expert
from sim.guard.clearance import guarded


class ExpertWorker:
    """Plays one episode per seed; nothing is drawn or recorded."""

    def __init__(self, world: SimulationConfig, quality: QualityConfig):
        self._env = SimEnv(world)
        self._expert = Expert(self._env, quality)
        self._guard = guarded(self._env.robot)

    def __call__(self, seed: int) -> EpisodeResult:
        return run_episode(self._env, self._expert, self._guard, seed)
