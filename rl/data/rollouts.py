"""Rollouts of a policy recorded as datasets: autonomous ones, and ones corrected by the expert.

Every autonomous episode is kept, success or failure. Corrections are gathered where an autonomous
episode failed (with the same seed the policy fails there again), because elsewhere there is nothing
to correct; corrected episodes that still fail are left out, as an expert's frames count as positive.
A killed run goes on where it stopped.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from policies.runtime.agent import load_agent
from rl.data.pool import CORRECTION, ROLLOUT
from rl.data.takeover import TakeoverAgent, Trigger, TriggerConfig
from sim.core.contract import POLICY_PERIOD_S
from sim.core.provenance import provenance
from sim.dataset.reader import Dataset, DatasetWriter, Episode
from sim.dataset.recorder import FPS, EpisodeRecorder, features
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.episode.loop import Agent, Env, EpisodeResult, Recorder, run_episode
from sim.expert.imperfections import CLEAN
from sim.expert.scripted import Expert
from sim.guard.clearance import guarded
from sim.parallel.workers import WorkerConfig, map_seeds
from sim.robots.robot import FR3


@dataclass(frozen=True)
class Behaviour:
    """A checkpoint and how it is asked: with the positive indicator, guidance beta (None: the checkpoint's own)."""

    checkpoint: str
    guidance: float | None = None
    indicator: str = "positive"

    def agent(self) -> Agent:
        return load_agent(self.checkpoint, self.indicator, self.guidance)


class RolloutWorker:
    """Plays and records one autonomous episode per seed."""

    source = ROLLOUT

    def __init__(self, world: SimulationConfig, behaviour: Behaviour):
        self._sim = SimEnv(world)
        self._env: Env = self._sim
        self._guard = guarded(self._sim.robot)
        self._agent: Agent = behaviour.agent()

    def __call__(self, seed: int) -> tuple[EpisodeResult, Episode | None]:
        recorder = EpisodeRecorder()
        result = run_episode(self._env, self._agent, self._guard, seed, POLICY_PERIOD_S, self._seen_by(recorder))
        facts = {**self._env.facts(), **self._facts()}
        return result, recorder.episode(result, self.source, facts) if self._keep(result) else None

    def _seen_by(self, recorder: EpisodeRecorder) -> Recorder:
        """Who watches the episode, the recorder among them."""
        return recorder

    def _facts(self) -> dict:
        return {}

    def _keep(self, result: EpisodeResult) -> bool:
        return True


class CorrectionWorker(RolloutWorker):
    """Plays and records one episode per seed in which the expert takes over when the policy fails."""

    source = CORRECTION

    def __init__(self, world: SimulationConfig, behaviour: Behaviour, trigger: TriggerConfig):
        super().__init__(world, behaviour)
        expert = Expert(self._sim, CLEAN)
        self._agent = self._takeover = TakeoverAgent(self._agent, expert, Trigger(self._sim, trigger))

    def _facts(self) -> dict:
        return {"takeover/reason": self._takeover.reason}

    def _keep(self, result: EpisodeResult) -> bool:
        return bool(self._takeover.reason) and result.success


def record(out: Path, make_player, seeds: Sequence[int], crew: WorkerConfig, about: dict, title: str) -> Path:
    """Play the seeds (ascending) that come after the last recorded one and commit what the player keeps."""
    world: SimulationConfig = about["world"]
    schema = features(FR3, (world.render.height, world.render.width))
    with DatasetWriter(out, schema, FPS, FR3.name, provenance(about)) as writer:
        done = int(Dataset(out).episode_facts(writer.num_episodes - 1)["seed"]) if writer.num_episodes else -1
        left = [seed for seed in seeds if seed > done]
        for episode in _play(make_player, left, crew, f"{title}, {len(left)} of {len(seeds)}"):
            writer.commit(episode)
    return out


def _play(make_player, seeds: Sequence[int], crew: WorkerConfig, title: str) -> Iterator[Episode]:
    """The episodes to keep, in order, behind a progress bar."""
    if seeds:
        played = map_seeds(make_player, seeds, crew)
        yield from (episode for _, episode in track(played, title, total=len(seeds)) if episode is not None)


def record_rollouts(
    out: Path, world: SimulationConfig, behaviour: Behaviour, seeds: Sequence[int], crew: WorkerConfig
) -> Path:
    """Autonomous episodes of these seeds."""
    player = functools.partial(RolloutWorker, world, behaviour)
    return record(out, player, seeds, crew, {"world": world, "behaviour": behaviour}, "rollouts")


def failed_seeds(rollouts: Path) -> list[int]:
    """The seeds at which recorded rollouts failed, ascending."""
    facts = Dataset(rollouts).facts_table()
    return sorted(int(seed) for seed, success in zip(facts["seed"], facts["success"], strict=True) if not success)


def record_corrections(
    out: Path, world: SimulationConfig, behaviour: Behaviour, rollouts: Path, most: int, crew: WorkerConfig,
    trigger: TriggerConfig,
) -> Path:  # fmt: skip
    """Corrected episodes of the seeds at which these rollouts failed, at most so many."""
    failed = failed_seeds(rollouts)
    player = functools.partial(CorrectionWorker, world, behaviour, trigger)
    about = {"world": world, "behaviour": behaviour, "trigger": trigger, "rollouts": str(rollouts)}
    return record(out, player, failed[:most], crew, about, "corrections")
