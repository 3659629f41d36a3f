"""How weights are found: options of every training, the learning rate's schedule, the device."""

import logging
import math
from dataclasses import dataclass, replace
from typing import Self

import torch

from sim.core.errors import UserError
from sim.core.options import PROBABILITY, SEED, SHARE, Options, above, at_least, between, one_of, option

DEVICES = ("auto", "cpu", "cuda")
FLOAT32, BFLOAT16 = "float32", "bfloat16"
PRECISIONS = (FLOAT32, BFLOAT16)
WITHOUT_BFLOAT16 = "AVX2"  # instructions that have no products of it

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OptimConfig(Options):
    """Options of gradient descent with AdamW."""

    steps: int = option(8000, "gradient steps", at_least(1))
    batch: int = option(128, "samples of a step", at_least(1))
    learning_rate: float = option(1e-3, "at its highest", above(0.0))
    pretrained_rate: float = option(
        0.2, "times the learning rate, for what reads images and words and does not begin random", above(0.0)
    )
    warmup_steps: int = option(200, "while the learning rate grows", at_least(0))
    final_rate: float = option(0.01, "times the learning rate, at the end of half a cosine", PROBABILITY)
    weight_decay: float = option(1e-4, "of AdamW", at_least(0.0))
    clip_norm: float = option(1.0, "of the gradient", above(0.0))
    ema_decay: float = option(0.998, "of the averaged weights, which are kept; 0: the last weights", SHARE)
    seed: int = option(0, "of batches and noise", SEED)
    threads: int = option(2, "of torch, and of caching", between(1, 256))
    save_every: int = option(500, "steps, for a killed run to go on", at_least(1))
    device: str = option("cpu", "auto: the GPU where there is one", one_of(*DEVICES))
    precision: str = option(
        FLOAT32,
        "of products in training; bfloat16 on a GPU, or a processor with AMX. Weights are float32 in both",
        one_of(*PRECISIONS),
    )

    def shortened(self, steps: int) -> Self:
        """Return these options for fewer steps, of which warm-up is a tenth at most."""
        return replace(self, steps=steps, warmup_steps=min(self.warmup_steps, steps // 10))


def schedule(step: int, config: OptimConfig) -> float:
    """Return the share of the learning rate at a step: linear warm-up, then half a cosine down to `final_rate`."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(config.steps - config.warmup_steps, 1)
    return config.final_rate + (1 - config.final_rate) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def warn_of_emulation(config: OptimConfig) -> None:
    """Say so where bfloat16 is asked of a processor that only emulates it: a step then takes several times as long."""
    able = torch.backends.cpu.get_cpu_capability()
    if config.precision == BFLOAT16 and able == WITHOUT_BFLOAT16 and choose_device(config.device).type == "cpu":
        _log.warning("optim.precision=bfloat16: this processor (%s) emulates it, far slower than float32", able)


def choose_device(name: str, option: str = "optim.device") -> torch.device:
    """Return the device of `auto`, `cpu` or `cuda`. UserError, with the option that named it, for a GPU that is not
    there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(f"{option}=cuda: torch finds no GPU here; give {option}=cpu or {option}=auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
