"""A checkpoint as an agent: pictures, state and instruction in, one action a period out."""

import time
from pathlib import Path

import numpy as np
import torch

from policies.heads.advantage_conditioning import Indicator
from policies.language.minilm import FrozenText
from policies.models import checkpoint
from policies.vision.efficientnet import FrozenVision
from sim.core.contract import Observation
from sim.core.errors import UserError, nearest


class PolicyAgent:
    """Plays action chunks of a policy: `execute` steps of each, then it looks again.

    Satisfies `sim.episode.loop.Agent`, in simulation and on the robot.
    """

    def __init__(
        self, root: Path | str, indicator: Indicator = Indicator.POSITIVE, guidance: float | None = None,
        lead_s: float = 0.0,
    ):  # fmt: skip
        """UserError when the checkpoint is unusable or was made with other frozen encoders.

        guidance: beta; None: the checkpoint's own.
        lead_s: how late this robot takes up a command, beyond what the policy was trained with. The head of every
        chunk but an episode's first is left out: while it would play, the arm still follows the chunk before.
        """
        torch.set_num_threads(1)
        self.model, self.about = checkpoint.load(root)
        self.vision, self.text = FrozenVision(threads=1), FrozenText()
        for name, here in (("vision", self.vision.fingerprint), ("text", self.text.fingerprint)):
            if getattr(self.about, name) != here:
                raise UserError(
                    f"checkpoint {root} was made with {name} encoder {getattr(self.about, name)}, here is {here}"
                )
        self.indicator, self.guidance = indicator, self.about.guidance if guidance is None else guidance
        self._lead = round(lead_s * self.about.control_hz)
        most_s = (self.model.config.chunk - self.model.config.execute) / self.about.control_hz
        if not 0.0 <= lead_s <= most_s:
            raise UserError(
                f"lead_s={lead_s:g}: expected 0 to {most_s:g}, what the policy's chunks reach beyond what is played"
            )
        self.image_size = self.about.image_size
        self._instruction: str | None = None
        self.decision_s: list[float] = []  # how long each look-to-chunk took

    def reset(self, observation: Observation, seed: int) -> None:
        """Begin an episode; the seed fixes the flow's noise."""
        self._generator = torch.Generator().manual_seed(seed)
        self._chunk: list[np.ndarray] = []
        self._skip = 0

    def act(self, observation: Observation) -> np.ndarray:
        if not self._chunk:
            # Drawn here if need be: a camera's time is not the policy's.
            images = np.stack([observation.images[camera] for camera in self.model.config.cameras])
            begun = time.perf_counter()
            chunk = self._decide(observation, images)
            self._chunk = list(chunk[self._skip : self._skip + self.model.config.execute])
            self._skip = self._lead
            self.decision_s.append(time.perf_counter() - begun)
        return self._chunk.pop(0)

    @property
    def upcoming(self) -> np.ndarray:
        """(n, D) what is left to play of the chunk: the motion guard looks ahead."""
        return np.array(self._chunk, np.float32).reshape(-1, self.model.config.action_dim)

    def flags(self) -> dict[str, bool]:
        return {}

    def _decide(self, observation: Observation, images: np.ndarray) -> np.ndarray:
        """(T, D) absolute targets; images (cameras, H, W, 3)."""
        config = self.model.config
        words, mask = self._read(observation.instruction)
        state = torch.from_numpy(observation.state)[None]
        noise = torch.randn(1, config.chunk, config.action_dim, generator=self._generator)
        chunk, self.points_m = self.model.act(
            self._maps(images), words, mask, state, noise, self.indicator, self.guidance
        )
        return chunk[0].numpy()

    def _read(self, instruction: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Token states and mask, encoded once as long as the instruction stays the same."""
        if instruction != self._instruction:
            words, mask = self.text.encode([instruction])
            self._instruction, self._words = instruction, (torch.from_numpy(words), torch.from_numpy(mask))
        return self._words

    def _maps(self, images: np.ndarray) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        cameras = self.model.config.cameras
        if images.shape[1:3] != tuple(self.image_size):
            raise UserError(f"pictures are {images.shape[1:3]}, the policy was trained on {tuple(self.image_size)}")
        fine, coarse = (torch.from_numpy(maps) for maps in self.vision.encode(images))
        return {camera: (fine[i : i + 1], coarse[i : i + 1]) for i, camera in enumerate(cameras)}


def parse_indicator(name: str) -> Indicator:
    """ "positive", "negative" or "unknown"; UserError otherwise."""
    try:
        return Indicator[name.upper()]
    except KeyError:
        raise UserError(nearest(name, [i.name.lower() for i in Indicator], "indicator")) from None


def load_agent(
    root: Path | str, indicator: str = "positive", guidance: float | None = None, lead_s: float = 0.0
) -> PolicyAgent:
    """The agent of a checkpoint directory, told to act with this advantage."""
    return PolicyAgent(root, parse_indicator(indicator), guidance, lead_s)
