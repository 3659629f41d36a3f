"""Training in several processes, which average their gradients as torch's DistributedDataParallel does.

`in_ranks` starts processes of one thread each: convolutions gain little from a second thread on a CPU, a second process
nearly doubles the samples a second. `joined` is for those that torchrun started, each with a GPU of its own where there
are any. Process 0 alone writes and speaks.
"""

import contextlib
import logging
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

from policies.training.optim import OptimConfig, choose_device
from sim.core.errors import UserError, reason
from sim.parallel.interrupts import children_without_interrupts

Work = Callable[[int], None]  # takes the number of its process
LONGEST = timedelta(days=1)  # that processes wait for the first: it may have a dataset to encode
SPEAKS_FIRST_S = 5.0  # a process that meets an error leaves this time to the first, which says the same


def rank() -> int:
    """Return the number of this process, 0 where it is alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def ranks() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


# ---- processes ---------------------------------------------------------------------------------


def in_ranks(work: Work, ranks: int) -> None:
    """Call `work` in `ranks` processes, 0 of them this one; it and its arguments must be picklable."""
    if ranks == 1:
        work(0)
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{Path(folder) / 'meeting'}"
        context = multiprocessing.get_context("spawn")
        others = [context.Process(target=_joined, args=(work, r, ranks, meeting), daemon=True) for r in range(1, ranks)]
        with children_without_interrupts():
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


@contextlib.contextmanager
def joined(config: OptimConfig) -> Iterator[None]:
    """Let the processes that torchrun started train together inside; alone, do nothing.

    UserError when they cannot share a batch equally or lack GPUs.
    """
    processes = int(os.environ["WORLD_SIZE"]) if distributed.is_torchelastic_launched() else 1
    if processes == 1:
        yield
        return
    with _first_speaks(int(os.environ["RANK"])):
        check_shared(config, processes, int(os.environ["LOCAL_WORLD_SIZE"]))
        on_gpu = choose_device(config.device).type == "cuda"
        if on_gpu:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=LONGEST)
        try:
            yield
        finally:
            distributed.destroy_process_group()


def check_shared(config: OptimConfig, processes: int, here: int) -> None:
    """UserError when a batch has no equal shares, or `here`, the processes on this machine, are more than its GPUs."""
    if config.batch % processes:
        raise UserError(f"optim.batch={config.batch}, expected a multiple of {processes}: the processes share a batch")
    if choose_device(config.device).type == "cuda" and here > (gpus := torch.cuda.device_count()):
        raise UserError(
            f"optim.device={config.device}: {here} processes need a GPU each, torch finds {gpus} here; give "
            f"--nproc-per-node={gpus}, or optim.device=cpu"
        )


@contextlib.contextmanager
def _first_speaks(rank: int) -> Iterator[None]:
    """Say nothing but errors that process 0 does not meet: it ends at its own before, and torchrun the others then."""
    if rank:
        logging.disable(logging.WARNING)
    try:
        yield
    except UserError:
        if rank:
            time.sleep(SPEAKS_FIRST_S)
        raise


# ---- what they do together ---------------------------------------------------------------------


@contextlib.contextmanager
def first_alone() -> Iterator[None]:
    """Let process 0 do what is inside before the others do: they find what it wrote."""
    if rank():
        _together(distributed.barrier)
    yield
    if ranks() > 1 and not rank():
        _together(distributed.barrier)


def from_first(value: Any) -> Any:
    """Return the value that process 0 has, on the CPU."""
    if ranks() == 1:
        return value
    given = [value]
    _together(lambda: distributed.broadcast_object_list(given, device=torch.device("cpu")))
    return given[0]


def mean_gradients(model: nn.Module, numbers: Sequence[Tensor] = ()) -> list[Tensor]:
    """Replace the gradients of `model` by their mean over the processes, and return that of some numbers.

    A parameter without gradient in any of them stays without. Alone, do nothing.
    """
    if ranks() == 1:
        return list(numbers)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    given = torch.tensor([float(parameter.grad is not None) for parameter in parameters], device=parameters[0].device)
    told = [number.detach().reshape(1) for number in numbers]
    flat = torch.cat([*(_gradient(parameter).flatten() for parameter in parameters), given, *told])
    _together(lambda: distributed.all_reduce(flat))
    flat /= ranks()
    sizes = [parameter.numel() for parameter in parameters]
    *gradients, given, means = flat.split([*sizes, len(parameters), len(told)])
    for parameter, gradient, anywhere in zip(parameters, gradients, given.tolist(), strict=True):
        parameter.grad = gradient.view_as(parameter) if anywhere else None
    return list(means)


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def _together(call: Callable[[], Any]) -> None:
    """Call what all processes must. UserError where one of them ended."""
    try:
        call()
    except RuntimeError as error:
        raise UserError(f"another process of this training ended ({reason(error)}); run again to go on") from error
