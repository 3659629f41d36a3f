"""A checkpoint as an agent: images, state and instruction in, one action a period out."""

import dataclasses
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from policies.core.indicator import Indicator, parse_indicator
from policies.core.inputs import Inputs
from policies.core.interface import Decision, Policy
from policies.models import checkpoint
from policies.models.checkpoint import CheckpointMetadata
from policies.models.chunk_critic import ChunkCritic, load_critic
from policies.processing.observation import ObservationProcessor
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.core.estimate import Estimate

POINT, WORLD = "grounding.", "_pos_w"  # of the columns of points: what the world frame's begin and end with
GroundTruth = Callable[[], Mapping[str, np.ndarray]]  # column of grounded points -> (3,) m


@dataclasses.dataclass(frozen=True)
class ActingConfig:
    """How a policy is played."""

    indicator: Indicator = Indicator.POSITIVE
    guidance: float = 1.0  # RECAP's beta
    lead_s: float = 0.0  # how late this robot takes up a command, beyond what the policy was trained with
    execute: int | None = None  # steps played before looking again; None: the policy's own
    inference_delay_s: float = 0.0  # simulated: the steps of a chunk that this takes are played from the one before


class PolicyAgent:
    """Plays action chunks of a policy: `execute` steps of each, then it looks again.

    Satisfies `sim.episode.loop.Agent`, in simulation and on the robot. Commands are under way while a chunk is
    decided: sent ones that an arm with a lead has not taken up, and those that are played until an inference delay
    is over. The chunk's steps at their times are left out, and a policy with `given_steps` decides the rest to go on
    from them. An episode's first chunk is played whole, after a delay in which the arm is held.
    """

    def __init__(
        self, policy: Policy, config: ActingConfig, ground_truth: GroundTruth | None = None, task: str = "",
        critic: ChunkCritic | None = None,
    ):  # fmt: skip
        """ground_truth: of the simulation that it acts in, for a policy that needs it. UserError without.

        task: the name of what the policy was trained to do, "" where that is not known. critic: chooses the best of
        several samples.
        """
        self.task, self._critic = task, critic
        if policy.needs.ground_truth and ground_truth is None:
            raise UserError("this policy acts on the simulator's ground truth, which hardware does not have")
        self.policy, self.spec, self.config = policy, policy.spec, config
        self.image_size = policy.spec.image_size
        self.processor = ObservationProcessor(policy)
        self._truth = ground_truth if policy.needs.ground_truth else None
        self._execute, self._lead, self._delay = steps_of(policy, config)
        self.decision_s: list[float] = []  # how long each look-to-chunk took
        self.estimates: list[Estimate] = []  # where it found the named things at its newest look, if it estimates that
        self.within_m: dict[str, list[float]] = {}  # 95 % region of each of those, at every look of the episode

    def reset(self, observation: Observation, seed: int) -> None:
        """Begin an episode; the seed fixes the noise that actions are sampled from."""
        self._generator = torch.Generator().manual_seed(seed)
        self._plan: list[np.ndarray] = []
        self.estimates, self.within_m = [], {}
        # The command that the arm shows the effect of, then those that it has not taken up; at first it is at rest.
        self._sent = deque([observation.state], self._lead + 1)

    def act(self, observation: Observation) -> np.ndarray:
        """Return the next action (D,)."""
        if len(self._plan) <= self._delay:
            # Rendered before the clock starts: a camera's time is not the policy's.
            images = {camera: observation.images[camera] for camera in self.processor.cameras}
            begun = time.perf_counter()
            self._extend(dataclasses.replace(observation, images=images))
            self.decision_s.append(time.perf_counter() - begun)
        self._sent.append(self._plan.pop(0))
        return self._sent[-1]

    def note_executed(self, action: np.ndarray) -> None:
        """Take note of what the motion guard made of the last action (D,): the next chunk starts from that."""
        self._sent[-1] = np.asarray(action, np.float32)

    @property
    def upcoming(self) -> np.ndarray:
        """(n, D) what is decided and not played yet: the motion guard looks ahead."""
        return np.array(self._plan, np.float32).reshape(-1, self.spec.action_dim)

    def flags(self) -> dict[str, bool]:
        return {}

    def _extend(self, observation: Observation) -> None:
        """Decide a chunk and append `execute` steps of it to what is planned."""
        commanded, *late = self._sent
        under_way = [*late, *self._plan]
        chunk = self._decide(observation, commanded, under_way)
        if not self._plan:  # nothing can be played during the delay: the arm is held
            self._plan = [observation.state] * self._delay
        self._plan += list(chunk[len(under_way) :][: self._execute])

    def _decide(self, observation: Observation, commanded: np.ndarray, under_way: list[np.ndarray]) -> np.ndarray:
        """(T, D) absolute targets."""
        inputs = self.processor.observe(observation, self._truth() if self._truth else None)
        if self.policy.given_steps:
            inputs.commanded = torch.from_numpy(commanded)[None]
            inputs.under_way = torch.from_numpy(np.reshape(under_way, (1, len(under_way), self.spec.action_dim)))
        if self._critic:
            inputs = Inputs.concatenate([inputs] * self._critic.sizes.samples)
        decision = self.policy.act(inputs, self._generator, self.config.indicator, self.config.guidance)
        self.points_m = None if decision.points is None else decision.points[:1]
        self._estimate(decision)
        return decision.chunk[self._best(inputs, decision.chunk)].numpy()

    @torch.no_grad()
    def _best(self, inputs: Inputs, chunk: torch.Tensor) -> int:
        """Return which of the chunks (B, T, D) is played."""
        return self._critic.best(self.policy.embedding(inputs), inputs.state, chunk) if self._critic else 0

    def _estimate(self, decision: Decision) -> None:
        """Keep where the named things are in the world, and how sure that is."""
        if decision.points is None or decision.errors is None:
            return
        found = zip(self.spec.points, decision.points[0].numpy(), decision.errors[0].tolist(), strict=True)
        names = ((name.removeprefix(POINT).removesuffix(WORLD), *one) for name, *one in found if name.endswith(WORLD))
        self.estimates = [Estimate(*one) for one in names]
        for one in self.estimates:
            self.within_m.setdefault(one.name, []).append(round(one.within_m, 4))


def steps_of(policy: Policy, config: ActingConfig) -> tuple[int, int, int]:
    """Return how many steps are played of a chunk, the lead and the inference delay, in steps of the policy.

    UserError when its chunks are too short for what is played and what is under way.
    """
    chunk, hz = policy.config.chunk, policy.spec.control_hz
    execute = policy.config.execute if config.execute is None else config.execute
    lead, delay = round(config.lead_s * hz), math.ceil(round(config.inference_delay_s * hz, 6))
    if not 1 <= execute <= chunk:
        raise UserError(f"execute={execute}: expected 1 to {chunk}, the steps of the policy's chunks")
    longest = chunk - execute
    longest = min(longest, policy.given_steps or longest)
    if not 0 <= lead <= longest:
        raise UserError(
            f"lead_s={config.lead_s:g}: expected 0 to {longest / hz:g}, what the policy's chunks reach beyond "
            "what is played"
        )
    longest = min(longest - lead, execute)
    if not 0 <= delay <= longest:
        raise UserError(
            f"inference_delay_s={config.inference_delay_s:g}: expected 0 to {longest / hz:g}, what is played "
            "before the next look and what the policy's chunks reach beyond it"
        )
    return execute, lead, delay


def load_agent(
    root: Path | str, indicator: str = "positive", guidance: float | None = None, lead_s: float = 0.0,
    ground_truth: GroundTruth | None = None, execute: int | None = None, inference_delay_s: float = 0.0,
) -> PolicyAgent:  # fmt: skip
    """Return the agent of a checkpoint directory, which acts on one thread.

    guidance, execute: None is the checkpoint's own. UserError when the checkpoint is unusable, was made with other
    frozen encoders, or needs ground truth and there is none.
    """
    torch.set_num_threads(1)
    policy, metadata = checkpoint.load(root)
    beta = metadata.guidance if guidance is None else guidance
    task = metadata.tasks[0] if len(metadata.tasks) == 1 else ""
    acting = ActingConfig(parse_indicator(indicator), beta, lead_s, execute, inference_delay_s)
    agent = PolicyAgent(policy, acting, ground_truth, task, load_critic(root))
    check_encoders(root, metadata, agent.processor)
    return agent


def check_encoders(root: Path | str, metadata: CheckpointMetadata, processor: ObservationProcessor) -> None:
    """UserError when a checkpoint was made with other frozen encoders than those installed."""
    for name, here in processor.encoders.items():
        if getattr(metadata, name) != here:
            raise UserError(f"checkpoint {root} was made with {name} encoder {getattr(metadata, name)}, here is {here}")
