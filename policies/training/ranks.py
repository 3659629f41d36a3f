"""Training in several processes of one thread each, which average their gradients.

Convolutions gain little from a second thread on a CPU; a second process nearly doubles the samples a second.
"""

import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import distributed, nn

from sim.parallel.interrupts import deaf_children

Work = Callable[[int], None]  # takes the number of its process


def in_ranks(work: Work, ranks: int) -> None:
    """Call `work` in `ranks` processes, 0 of them this one; it and its arguments must be picklable."""
    if ranks == 1:
        work(0)
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{Path(folder) / 'meeting'}"
        context = multiprocessing.get_context("spawn")
        others = [context.Process(target=_joined, args=(work, r, ranks, meeting), daemon=True) for r in range(1, ranks)]
        with deaf_children():
            for process in others:
                process.start()
        try:
            _joined(work, 0, ranks, meeting)
        finally:
            for process in others:
                process.join(10)
                process.terminate()


def _joined(work: Work, rank: int, ranks: int, meeting: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=ranks)
    try:
        work(rank)
    finally:
        distributed.destroy_process_group()


def mean_gradients(model: nn.Module) -> None:
    """Replace the gradients of `model` by their mean over the processes; alone, do nothing."""
    if not distributed.is_initialized():
        return
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    flat = torch.cat([_gradient(parameter).flatten() for parameter in parameters])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        parameter.grad = part.view_as(parameter)


def _gradient(parameter: nn.Parameter) -> torch.Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
