"""Rollouts of a policy recorded as datasets: autonomous ones, and ones in which the expert intervenes.

Every autonomous episode is kept, success or failure. Interventions are recorded where an autonomous
episode failed (with the same seed the policy fails there again), because elsewhere there is nothing
to correct; episodes that still fail are left out. A killed run goes on where it stopped.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from policies.core.weight_files import SHA256
from policies.models import checkpoint
from policies.runtime.agent import load_agent
from rl.data.interventions import InterventionAgent, Trigger, TriggerConfig
from rl.data.pool import INTERVENTION, ROLLOUT, whole_metadata
from sim.core.console import track
from sim.core.errors import keeps
from sim.core.provenance import provenance
from sim.dataset.reader import Dataset, DatasetWriter, Episode, Features, kept_episodes, last_seed
from sim.dataset.recorder import EpisodeRecorder, features
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.episode.loop import Agent, Env, EpisodeResult, Recorder, run_episode
from sim.expert.imperfections import CLEAN
from sim.expert.scripted import Expert
from sim.guard.clearance import guarded
from sim.parallel.workers import WorkerConfig, map_seeds
from sim.teleop.intervention import OperatorInterventionAgent


@dataclass(frozen=True)
class Behaviour:
    """A checkpoint, the indicator it is conditioned on, guidance beta (None: the checkpoint's own), and which of the
    episodes of a seed: those of another draw are acted with other noise."""

    checkpoint: str
    guidance: float | None = None
    indicator: str = "positive"
    draw: int = 0

    def agent(self, env: Env) -> Agent:
        """Load the checkpoint, to act in a simulated environment."""
        agent = load_agent(self.checkpoint, self.indicator, self.guidance, ground_truth=env.ground_truth)
        agent.draw = self.draw
        return agent

    @property
    def provenance(self) -> dict:
        """Return what a dataset says of who acted: a checkpoint is known by its weights, wherever it lies."""
        acted = {"guidance": self.guidance, "indicator": self.indicator, "draw": self.draw}
        weights = checkpoint.card(self.checkpoint).get(SHA256)
        known_by = {SHA256: weights} if weights else {"checkpoint": self.checkpoint}
        return {"checkpoint": self.checkpoint, "behaviour": {**known_by, **acted}}

    @property
    def needs_images(self) -> bool:
        """Whether the policy looks at images; where it does not, none is rendered or recorded."""
        policy, _ = checkpoint.load(self.checkpoint)
        return policy.needs.cameras

    def features(self, world: SimulationConfig) -> Features:
        """Return the columns of its recorded episodes."""
        image_size = (world.render.height, world.render.width) if self.needs_images else None
        return features(world.robot.load(), image_size, depth=world.render.depth)


def who_acted(made_by: Mapping) -> str | None:
    """Return the checkpoint, or the server, that acted in a dataset of this provenance; None: it does not say."""
    return made_by.get("checkpoint") or made_by.get("behaviour", {}).get("checkpoint")


class RolloutWorker:
    """Plays and records one autonomous episode per seed."""

    source = ROLLOUT

    def __init__(self, world: SimulationConfig, behaviour: Behaviour):
        self._sim = SimEnv(world)
        self._env: Env = self._sim
        self._guard = guarded(self._sim.robot)
        self._agent: Agent = behaviour.agent(self._sim)
        self._images = behaviour.needs_images

    def __call__(self, seed: int) -> tuple[EpisodeResult, Episode | None]:
        recorder = EpisodeRecorder(self._env.robot, images=self._images)
        result = run_episode(self._env, self._agent, self._guard, seed, self._observers(recorder))
        metadata = {**self._env.metadata(), **self._metadata()}
        return result, recorder.episode(result, self.source, metadata) if self._keep(result) else None

    def _observers(self, recorder: EpisodeRecorder) -> Recorder:
        """Return what takes the steps of the episode, the recorder among them."""
        return recorder

    def _metadata(self) -> dict:
        return {}

    def _keep(self, result: EpisodeResult) -> bool:
        return True


class CorrectedWorker(RolloutWorker):
    """Plays one episode per seed in which somebody may intervene; keeps those with an intervention that succeeded."""

    source = INTERVENTION
    _intervention: InterventionAgent | OperatorInterventionAgent

    def _metadata(self) -> dict:
        return {"intervention/reason": self._intervention.reason}

    def _keep(self, result: EpisodeResult) -> bool:
        return bool(self._intervention.reason) and result.success


class InterventionWorker(CorrectedWorker):
    """The expert intervenes when the policy fails."""

    def __init__(self, world: SimulationConfig, behaviour: Behaviour, trigger: TriggerConfig):
        super().__init__(world, behaviour)
        expert = Expert(self._sim, CLEAN)
        self._agent = self._intervention = InterventionAgent(self._agent, expert, Trigger(self._sim, trigger))


def record(
    out: Path, make_worker, seeds: Sequence[int], world: SimulationConfig, behaviour: Behaviour,
    workers: WorkerConfig, title: str, **more: object,
) -> Path:  # fmt: skip
    """Play the seeds (ascending) after the last recorded one and commit the episodes that the worker keeps."""
    robot, schema = world.robot.load(), behaviour.features(world)
    metadata = provenance({"world": world, **behaviour.provenance, **more})
    with (
        keeps(lambda: kept_episodes(out)),
        DatasetWriter(out, schema, robot.control_hz, robot.name, metadata) as writer,
    ):
        last = last_seed(out)
        left = [seed for seed in seeds if last is None or seed > last]
        for episode in _play(make_worker, left, workers, f"{title}, {len(left)} of {len(seeds)}"):
            writer.commit(episode)
    return out


def _play(make_worker, seeds: Sequence[int], workers: WorkerConfig, title: str) -> Iterator[Episode]:
    """Yield the episodes to keep, in order, behind a progress bar."""
    if seeds:
        played = map_seeds(make_worker, seeds, workers)
        yield from (episode for _, episode in track(played, title, total=len(seeds)) if episode is not None)


def record_rollouts(
    out: Path, world: SimulationConfig, behaviour: Behaviour, seeds: Sequence[int], workers: WorkerConfig
) -> Path:
    """Record autonomous episodes of these seeds."""
    worker = functools.partial(RolloutWorker, world, behaviour)
    return record(out, worker, seeds, world, behaviour, workers, "rollouts")


def failed_seeds(rollouts: Path) -> list[int]:
    """Return the seeds at which recorded rollouts failed, ascending. UserError when the episodes do not say."""
    dataset = Dataset(rollouts)
    if not dataset.num_episodes:
        return []
    metadata = whole_metadata(dataset, ("seed", "success"))
    return sorted(int(seed) for seed, success in zip(metadata["seed"], metadata["success"], strict=True) if not success)


def record_interventions(
    out: Path, world: SimulationConfig, behaviour: Behaviour, rollouts: Path, most: int, workers: WorkerConfig,
    trigger: TriggerConfig,
) -> Path:  # fmt: skip
    """Record episodes with interventions at the seeds at which these rollouts failed, at most `most`."""
    failed = failed_seeds(rollouts)
    worker = functools.partial(InterventionWorker, world, behaviour, trigger)
    more = {"trigger": trigger, "rollouts": str(rollouts)}
    return record(out, worker, failed[:most], world, behaviour, workers, "interventions", **more)
