"""A checkpoint as an agent: images, state and instruction in, one action a period out."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from policies.core.indicator import Indicator, parse_indicator
from policies.core.interface import Policy
from policies.models import checkpoint
from policies.models.checkpoint import CheckpointMetadata
from policies.processing.observation import ObservationProcessor
from sim.core.contract import Observation
from sim.core.errors import UserError

GroundTruth = Callable[[], Mapping[str, np.ndarray]]  # column of grounded points -> (3,) m


@dataclasses.dataclass(frozen=True)
class ActingConfig:
    """How a policy is played."""

    indicator: Indicator = Indicator.POSITIVE
    guidance: float = 1.0  # RECAP's beta
    lead_s: float = 0.0  # how late this robot takes up a command, beyond what the policy was trained with


class PolicyAgent:
    """Plays action chunks of a policy: `execute` steps of each, then it looks again.

    Satisfies `sim.episode.loop.Agent`, in simulation and on the robot. With a lead the beginning of
    every chunk but an episode's first is left out: while it would be played, the arm still follows
    the chunk before.
    """

    def __init__(self, policy: Policy, config: ActingConfig, ground_truth: GroundTruth | None = None, task: str = ""):
        """ground_truth: of the simulation that it acts in, for a policy that needs it. UserError without.

        task: the name of what the policy was trained to do, "" where that is not known.
        """
        self.task = task
        if policy.needs.ground_truth and ground_truth is None:
            raise UserError("this policy acts on the simulator's ground truth, which hardware does not have")
        self.policy, self.spec, self.config = policy, policy.spec, config
        self.image_size = policy.spec.image_size
        self.processor = ObservationProcessor(policy)
        self._truth = ground_truth if policy.needs.ground_truth else None
        self._lead = round(config.lead_s * self.spec.control_hz)
        longest_s = (policy.config.chunk - policy.config.execute) / self.spec.control_hz
        if not 0.0 <= config.lead_s <= longest_s:
            raise UserError(
                f"lead_s={config.lead_s:g}: expected 0 to {longest_s:g}, what the policy's chunks reach beyond what is "
                "played"
            )
        self.decision_s: list[float] = []  # how long each look-to-chunk took

    def reset(self, observation: Observation, seed: int) -> None:
        """Begin an episode; the seed fixes the noise that actions are sampled from."""
        self._generator = torch.Generator().manual_seed(seed)
        self._chunk: list[np.ndarray] = []
        self._skip = 0

    def act(self, observation: Observation) -> np.ndarray:
        """Return the next action (D,)."""
        if not self._chunk:
            # Rendered before the clock starts: a camera's time is not the policy's.
            images = {camera: observation.images[camera] for camera in self.processor.cameras}
            begun = time.perf_counter()
            chunk = self._decide(dataclasses.replace(observation, images=images))
            self._chunk = list(chunk[self._skip : self._skip + self.policy.config.execute])
            self._skip = self._lead
            self.decision_s.append(time.perf_counter() - begun)
        return self._chunk.pop(0)

    @property
    def upcoming(self) -> np.ndarray:
        """(n, D) what is left to play of the chunk: the motion guard looks ahead."""
        return np.array(self._chunk, np.float32).reshape(-1, self.spec.action_dim)

    def flags(self) -> dict[str, bool]:
        return {}

    def _decide(self, observation: Observation) -> np.ndarray:
        """(T, D) absolute targets."""
        inputs = self.processor.observe(observation, self._truth() if self._truth else None)
        decision = self.policy.act(inputs, self._generator, self.config.indicator, self.config.guidance)
        self.points_m = decision.points
        return decision.chunk[0].numpy()


def load_agent(
    root: Path | str, indicator: str = "positive", guidance: float | None = None, lead_s: float = 0.0,
    ground_truth: GroundTruth | None = None,
) -> PolicyAgent:  # fmt: skip
    """Return the agent of a checkpoint directory, which acts on one thread.

    guidance: None is the checkpoint's own. UserError when the checkpoint is unusable, was made with other
    frozen encoders, or needs ground truth and there is none.
    """
    torch.set_num_threads(1)
    policy, metadata = checkpoint.load(root)
    beta = metadata.guidance if guidance is None else guidance
    task = metadata.tasks[0] if len(metadata.tasks) == 1 else ""
    agent = PolicyAgent(policy, ActingConfig(parse_indicator(indicator), beta, lead_s), ground_truth, task)
    check_encoders(root, metadata, agent.processor)
    return agent


def check_encoders(root: Path | str, metadata: CheckpointMetadata, processor: ObservationProcessor) -> None:
    """UserError when a checkpoint was made with other frozen encoders than those installed."""
    for name, here in processor.encoders.items():
        if getattr(metadata, name) != here:
            raise UserError(f"checkpoint {root} was made with {name} encoder {getattr(metadata, name)}, here is {here}")
