"""What the second of two processes imports: work whose results process 0 compares."""

from pathlib import Path

import torch
from learning import QUICK, about, tiny_model, training_data
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from policies.processing.data import Source
from policies.training.fit import fit
from policies.training.ranks import first_alone, from_first, mean_gradients, rank

ROWS, WIDTH = 12, 3


class Line(nn.Module):
    """y = w x, beside a parameter that no loss uses."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([0.3, -0.2, 0.1]))
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.w


def samples() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return torch.randn(ROWS, WIDTH, generator=g), torch.randn(ROWS, generator=g)


def halves() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows of this process, as uneven as losses are: each half has its own scale."""
    mine = slice(rank() * ROWS // 2, (rank() + 1) * ROWS // 2)
    x, y = samples()
    return x[mine], y[mine]


def averaged(found: dict) -> None:
    """Note the gradient and loss that `mean_gradients` leaves, and those of torch's DistributedDataParallel."""
    x, y = halves()
    ours, theirs = Line(), DistributedDataParallel(Line(), find_unused_parameters=True)
    loss = (ours(x) - y).square().mean()
    loss.backward()
    (found["loss"],) = mean_gradients(ours, [loss])
    found["gradient"], found["unused"] = ours.w.grad, ours.unused.grad
    (theirs(x) - y).square().mean().backward()
    found["torch"] = theirs.module.w.grad


def going_on(demos: Path, out: Path, found: dict) -> None:
    """Go on with a training that one process began in `out`, each process with other weights at first."""
    policy = fit(tiny_model(seed=7 + rank()), training_data(Source(demos)), QUICK, out, about())
    found["weights"] = policy.state_dict()


class Work:
    """Does both; what process 0 found is in `found` there."""

    def __init__(self, demos: Path, out: Path):
        self.demos, self.out, self.found = demos, out, {}

    def __call__(self, rank: int) -> None:
        averaged(self.found)
        going_on(self.demos, self.out, self.found)
        with first_alone():
            seen = (self.out / "first").exists()
            (self.out / "first").touch()
        second = torch.tensor([float(seen)])
        distributed.all_reduce(second)
        self.found["seen_by"] = second.item()
        self.found["from_first"] = from_first(rank)
