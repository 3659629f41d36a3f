"""How weights are found: options of every training, the learning rate's schedule, the device."""

import math
from dataclasses import dataclass

import torch

from sim.core.errors import UserError, nearest

DEVICES = ("auto", "cpu", "cuda")
POSITIVE = ("steps", "batch", "learning_rate", "clip_norm", "threads", "save_every")


@dataclass(frozen=True)
class OptimConfig:
    """Options of gradient descent with AdamW."""

    steps: int = 8000
    batch: int = 128
    learning_rate: float = 1e-3
    pretrained_rate: float = 0.2  # times the learning rate, for what grounding pretraining has trained
    warmup_steps: int = 200
    final_rate: float = 0.01  # times the learning rate, at the end of half a cosine; 1: constant
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    ema_decay: float = 0.998  # of the exponential average of the weights, which is what is kept; 0: none
    seed: int = 0
    threads: int = 2
    save_every: int = 500
    device: str = "cpu"  # auto: the GPU where there is one; cuda

    def __post_init__(self) -> None:
        for name in POSITIVE:
            if not getattr(self, name) > 0:
                raise UserError(f"optim.{name}={getattr(self, name)}, expected more than 0")
        if not 0.0 <= self.ema_decay < 1.0:
            raise UserError(f"optim.ema_decay={self.ema_decay}, expected 0 to less than 1")
        if self.device not in DEVICES:
            raise UserError(nearest(self.device, DEVICES, "device"))


def schedule(step: int, config: OptimConfig) -> float:
    """Return the share of the learning rate at a step: linear warm-up, then half a cosine down to `final_rate`."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(config.steps - config.warmup_steps, 1)
    return config.final_rate + (1 - config.final_rate) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def choose_device(name: str) -> torch.device:
    """Return the device of `auto`, `cpu` or `cuda`. UserError for a GPU that is not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device=cuda: torch finds no GPU here; give device=cpu or device=auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
