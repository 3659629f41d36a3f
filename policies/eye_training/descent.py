"""How the small networks of the eye are trained: AdamW, its rate over one cycle, until the steps are done."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

RATE, WEIGHT_DECAY, LARGEST_GRADIENT = 2e-3, 1e-2, 1.0
LOG_EVERY = 500  # steps
Log = Callable[[int, dict], None]


def descend(
    module: nn.Module, losses: Callable[[], dict[str, Tensor]], steps: int, log: Log | None = None,
    warm_up: float = 0.3,
) -> None:  # fmt: skip
    """Train `module` by the sum of what `losses` returns at every step. warm_up: share of them while the rate rises."""
    optimizer = torch.optim.AdamW(module.parameters(), RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=warm_up)
    for step in range(steps):
        parts = losses()
        optimizer.zero_grad()
        torch.stack(list(parts.values())).sum().backward()
        nn.utils.clip_grad_norm_(module.parameters(), LARGEST_GRADIENT)
        optimizer.step()
        schedule.step()
        if log and step % LOG_EVERY == 0:
            log(step, {name: round(value.item(), 4) for name, value in parts.items()})
