"""A checkpoint as an agent: images, state and instruction in, one action a period out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from policies.core.indicator import parse_indicator
from policies.core.interface import Policy
from policies.models import checkpoint
from policies.models.checkpoint import CheckpointMetadata
from policies.models.chunk_critic import load_critic
from policies.models.noise_actor import load_noise_actor
from policies.models.watch import Watch
from policies.processing.observation import ObservationProcessor
from policies.runtime.chunk_agent import ChunkAgent, ChunkSpec, Timing
from policies.runtime.decider import Conditioning, Decider, GroundTruth
from policies.runtime.episode_context import EpisodeContext, GoalPicture
from policies.runtime.slow_looks import SlowLooks
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.core.options import MAX_SEED


class PolicyAgent(ChunkAgent):
    """Plays action chunks of a policy that this process holds."""

    def __init__(self, decider: Decider, timing: Timing, task: str = "", goal_picture: GoalPicture | None = None):
        """goal_picture: for a policy that needs one."""
        self.decider, self.task = decider, task
        self.draw = 0  # which of the episodes of a seed: others are acted with other noise
        self.policy, self.spec, self.processor = decider.policy, decider.spec, decider.processor
        self.cameras, self.image_size = self.processor.cameras, self.spec.image_size
        self.depth_cameras = self.processor.depth_cameras
        self._context, self._goal_picture = EpisodeContext(self.policy), goal_picture
        self.looks = SlowLooks(self.policy, timing, decider.see) if timing.look_hz else None
        super().__init__(chunk_spec(self.policy), timing)

    @property
    def needs_touch(self) -> bool:
        """Whether observations must tell what the tool feels."""
        return self.policy.needs.touch

    def act(self, observation: Observation) -> np.ndarray:
        if self.looks and self.looks.due(observation):
            self.looks.take(super().looked_at(observation))
        return super().act(observation)

    def looked_at(self, observation: Observation) -> Observation:
        return replace(observation, images={}, depth={}) if self.looks else super().looked_at(observation)

    def begin(self, seed: int) -> None:
        self.points_m, self.value = None, None
        if self.looks:
            self.looks.begin()
        self._generator = torch.Generator().manual_seed(noise_seed(seed, self.draw))
        goal = self._goal_picture if self.policy.needs.goal else None
        self._context.begin(self.processor.goal(goal(seed)) if goal else ())

    def _look(self, observation: Observation) -> None:
        self._seen = self.looks.newest(observation, super().looked_at) if self.looks else None
        super()._look(observation)

    def _decide(self, observation: Observation, commanded: np.ndarray, under_way: list[np.ndarray]) -> np.ndarray:
        decided = self.decider.decide(observation, commanded, under_way, self._generator, self._context, self._seen)
        self.points_m, self.value = decided.points_m, decided.value
        self.note_estimates(decided.estimates)
        self.note_subtask(decided.subtask)
        return decided.chunk


def noise_seed(seed: int, draw: int) -> int:
    """Return the seed of an episode's noise: of its first playing the episode's own, of others mixed with `draw`.

    What lies above a seed, of a second attempt or a later step, is mixed too: torch's generator on the CPU, a Mersenne
    twister, leaves out all but the lowest 32 bits.
    """
    own = not draw and seed <= MAX_SEED
    return seed if own else int(np.random.SeedSequence([seed, draw]).generate_state(1)[0])


def chunk_spec(policy: Policy) -> ChunkSpec:
    """Return what chunks a policy decides."""
    spec, config = policy.spec, policy.config
    return ChunkSpec(
        config.chunk, spec.action_dim, spec.control_hz, policy.given_steps, config.execute, config.ensemble,
        policy.memory,
    )  # fmt: skip


def load_decider(
    root: Path | str, indicator: str = "positive", guidance: float | None = None,
    ground_truth: GroundTruth | None = None, watch: Watch | None = None, goal_picture: GoalPicture | None = None,
) -> tuple[Decider, CheckpointMetadata]:  # fmt: skip
    """Return the policy of a checkpoint directory, which acts on one thread, and what else is known of it.

    guidance: None is the checkpoint's own. UserError when the checkpoint is unusable, was made with other frozen
    encoders, or needs ground truth or a goal's picture and there is none.
    """
    torch.set_num_threads(1)
    policy, metadata = checkpoint.load(root)
    if policy.needs.goal and goal_picture is None:
        raise UserError(
            f"checkpoint {root} is told its goal by a picture, which policies.evaluate alone can draw, without "
            "watch=true and graph="
        )
    conditioning = Conditioning(parse_indicator(indicator), metadata.guidance if guidance is None else guidance)
    decider = Decider(policy, conditioning, ground_truth, load_critic(root), load_noise_actor(root), watch)
    check_encoders(root, metadata, decider.processor)
    return decider, metadata


def load_agent(
    root: Path | str, indicator: str = "positive", guidance: float | None = None, timing: Timing | None = None,
    ground_truth: GroundTruth | None = None, goal_picture: GoalPicture | None = None,
) -> PolicyAgent:  # fmt: skip
    """Return the agent of a checkpoint directory, see `load_decider`."""
    decider, metadata = load_decider(root, indicator, guidance, ground_truth, goal_picture=goal_picture)
    return PolicyAgent(decider, timing or Timing(), only_task(metadata), goal_picture)


def only_task(metadata: CheckpointMetadata) -> str:
    """Return the task that a policy was trained on, "" where there are several or it is not known."""
    return metadata.tasks[0] if len(metadata.tasks) == 1 else ""


def check_encoders(root: Path | str, metadata: CheckpointMetadata, processor: ObservationProcessor) -> None:
    """UserError when a checkpoint was made with other frozen encoders than those installed."""
    earlier = processor.earlier_encoders
    for name, here in processor.encoders.items():
        if getattr(metadata, name) not in (here, earlier[name]):
            raise UserError(f"checkpoint {root} was made with {name} encoder {getattr(metadata, name)}, here is {here}")
