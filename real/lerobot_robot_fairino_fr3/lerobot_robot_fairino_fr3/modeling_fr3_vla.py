"""A policy of this project as LeRobot's: it plays chunks by the same agent as `policies.evaluate`.

Shapes: B episodes side by side, H, W image height and width, D action dimension, T steps of a chunk.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from lerobot.configs import FeatureType, PolicyFeature  # pyright: ignore[reportMissingImports]
from lerobot.policies import PreTrainedPolicy  # pyright: ignore[reportMissingImports]

from lerobot_robot_fairino_fr3.configuration_fr3_vla import FR3VLAConfig, refuse_training
from policies.runtime.agent import PolicyAgent, load_decider
from policies.runtime.chunk_agent import Timing
from sim.core.contract import Observation
from sim.dataset.schema import IMAGE_PREFIX

STATE, ACTION = "observation.state", "action"


class FR3VLAPolicy(PreTrainedPolicy):
    """Batches hold images float (B, 3, H, W), state (B, D) and texts, task; actions are (B, D): rad, gripper 0..1."""

    config_class = FR3VLAConfig
    name = "fr3_vla"

    def __init__(self, config: FR3VLAConfig, **_: Any):
        """UserError for an unusable checkpoint. Statistics of a dataset, which LeRobot passes, are not needed."""
        super().__init__(config)
        self._decider, _metadata = load_decider(config.checkpoint, config.indicator, config.guidance)
        self._network = self._decider.policy  # a module, so that LeRobot counts its parameters
        spec = self._decider.spec
        picture = PolicyFeature(type=FeatureType.VISUAL, shape=(3, *spec.image_size))
        config.input_features = {
            STATE: PolicyFeature(type=FeatureType.STATE, shape=(spec.state_dim,)),
            **{f"{IMAGE_PREFIX}{camera}": picture for camera in self._decider.processor.cameras},
        }
        config.output_features = {ACTION: PolicyFeature(type=FeatureType.ACTION, shape=(spec.action_dim,))}
        self._begun = 0  # episodes, which seed the noise
        self.reset()

    @classmethod
    def from_pretrained(
        cls, pretrained_name_or_path: str | Path | None = None, *, config: FR3VLAConfig | None = None, **_: Any
    ) -> "FR3VLAPolicy":
        """Return the policy of a checkpoint of this project, a folder; config: names it otherwise."""
        return cls(config or FR3VLAConfig(checkpoint=str(pretrained_name_or_path))).eval()

    def reset(self) -> None:
        """Begin an episode."""
        self._agents: list[PolicyAgent] = []

    def select_action(self, batch: dict[str, Any], **_: Any) -> torch.Tensor:
        """Return the next action (B, D) of each episode."""
        observations = list(self._observations(batch))
        if not self._agents:
            self._begin(observations)
        actions = [agent.act(one) for agent, one in zip(self._agents, observations, strict=True)]
        return torch.from_numpy(np.stack(actions))

    def predict_action_chunk(self, batch: dict[str, Any], **_: Any) -> torch.Tensor:
        """Return a chunk (B, T, D), of noise from seed 0, apart from what `select_action` plays."""
        chunks = []
        for one in self._observations(batch):
            generator = torch.Generator().manual_seed(0)
            chunks.append(self._decider.decide(one, one.state, [], generator).chunk)
        return torch.from_numpy(np.stack(chunks))

    def forward(self, batch: dict[str, Any]) -> NoReturn:
        refuse_training()

    def get_optim_params(self) -> NoReturn:
        refuse_training()

    def _begin(self, observations: list[Observation]) -> None:
        for one in observations:
            self._agents.append(PolicyAgent(self._decider, Timing(self.config.execute)))
            self._agents[-1].reset(one, self._begun)
            self._begun += 1

    def _observations(self, batch: dict[str, Any]) -> Iterator[Observation]:
        """Yield what each episode shows."""
        states, tasks = batch[STATE].float().cpu().numpy(), batch.get("task", "")
        images = {}
        for camera in self._decider.processor.cameras:
            pixels = (batch[f"{IMAGE_PREFIX}{camera}"] * 255).round().to(torch.uint8)
            images[camera] = pixels.permute(0, 2, 3, 1).cpu().numpy()
        for i, state in enumerate(states):
            seen = {camera: images[camera][i] for camera in images}
            yield Observation(seen, state, tasks if isinstance(tasks, str) else tasks[i], 0.0)
