"""One trainer for policies, grounding pretraining and the value: AdamW, schedule, clipping, EMA, exact resume.

    trainer = Trainer(model, loss, OptimConfig(steps=8000, batch=128), slow=model.pretrained_parameters())
    train(trainer, data.sample, out)
    averaged = trainer.averaged()

A caller with a rhythm of its own, epochs and early stopping, calls `trainer.update(batch)` itself.
"""

import copy
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from policies.training.optim import BFLOAT16, OptimConfig, choose_device, schedule
from sim.core.errors import UserError

# The first optimizer imports triton where torch is built for CUDA. Its LLVM crashes a process in which Mesa's was
# loaded before, to render without a GPU: so it is loaded with this module, before any scene is drawn.
if importlib.util.find_spec("triton"):
    importlib.import_module("triton")


class OnDevice(Protocol):
    """A batch: whatever the loss takes, movable to a device."""

    def to(self, device: torch.device) -> Any: ...


B = TypeVar("B", bound=OnDevice)
SharedMean = Callable[[nn.Module, Sequence[Tensor]], list[Tensor]]
Loss = Callable[[Any, torch.Generator], tuple[Tensor, dict[str, Tensor]]]


class NotFinite(UserError):
    """Training met a loss or a gradient that is no number. The weights are those of before that step."""


class Trainer(Generic[B]):
    """Weights, their average, optimizer, schedule and random generator: all that a resume needs."""

    def __init__(
        self, model: nn.Module, loss: Loss, config: OptimConfig, slow: Sequence[nn.Parameter] = (),
        share: SharedMean | None = None,
    ):  # fmt: skip
        """loss: (batch, generator) -> scalar and its detached parts by name, of `model`. slow: parameters of
        `model` that learn at `config.pretrained_rate` times the rate; frozen ones are left alone. share: replaces
        the gradients by the mean over processes that train the same model on batches of their own, and returns that of
        their losses.
        """
        self.device = choose_device(config.device)
        self.model, self.config, self.step = model.to(self.device).train(), config, 0
        self._loss, self._share = loss, share
        self.made_of: dict[str, Any] = {}  # what a resumed training keeps to, by name
        # Updated once here, which copies: the first training step then averages with a small decay.
        self._average = AveragedModel(model, multi_avg_fn=_ema(config.ema_decay)) if config.ema_decay else None
        if self._average:
            self._average.update_parameters(model)
        self.optimizer = torch.optim.AdamW(
            _groups(model, slow, config), weight_decay=config.weight_decay, betas=(0.9, 0.99), fused=True
        )
        self.schedule = LambdaLR(self.optimizer, lambda step: schedule(step, config))
        self.generator = torch.Generator().manual_seed(config.seed)

    def update(self, batch: B) -> dict[str, Tensor]:
        """Take one gradient step; return the parts of the loss. NotFinite names the step, nothing is changed then."""
        drawn, running = self.generator.get_state(), [buffer.clone() for buffer in self.model.buffers()]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == BFLOAT16):
            loss, parts = self._loss(batch.to(self.device), self.generator)
        self.optimizer.zero_grad()
        loss.backward()
        if self._share:
            loss, *shared = self._share(self.model, [loss, *parts.values()])
            parts = dict(zip(parts, shared, strict=True))
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        for what, value in (("loss", loss), ("gradient", norm)):
            if not torch.isfinite(value):
                self._undo(drawn, running)
                raise NotFinite(f"{what} is {value.item()} at step {self.step + 1}")
        self.optimizer.step()
        self.schedule.step()
        if self._average:
            self._average.update_parameters(self.model)
        self.step += 1
        return parts

    @torch.no_grad()
    def _undo(self, drawn: Tensor, running: Sequence[Tensor]) -> None:
        """Take back what computing a loss changes: the generator's state, and buffers, as a norm's running means."""
        self.generator.set_state(drawn)
        for buffer, before in zip(self.model.buffers(), running, strict=True):
            buffer.copy_(before)

    def averaged(self) -> nn.Module:
        """Return a copy of the model with the averaged weights, on the CPU, in evaluation mode."""
        return copy.deepcopy(self._average.module if self._average else self.model).cpu().eval()

    def state(self) -> dict:
        """Return everything that `restore` needs."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self._average.state_dict() if self._average else None,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state(),
        }

    def restore(self, state: dict) -> None:
        """Go on exactly where `state` was taken."""
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        if self._average:
            self._average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["generator"])


def _groups(model: nn.Module, slow: Sequence[nn.Parameter], config: OptimConfig) -> list[dict]:
    known = {id(parameter) for parameter in slow}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    rest = [parameter for parameter in trained if id(parameter) not in known]
    reduced = [parameter for parameter in trained if id(parameter) in known]
    groups = ((rest, 1.0), (reduced, config.pretrained_rate))
    return [{"params": group, "lr": rate * config.learning_rate} for group, rate in groups if group]


def _ema(decay: float):
    """Return an average for AveragedModel whose decay grows from 0.1 to `decay`, as few steps are worth less."""

    def average(averaged, current, count: Tensor | int) -> None:
        n = int(count)
        get_ema_multi_avg_fn(min(decay, n / (9 + n)))(averaged, current, count)

    return average
