"""How much of a machine a gradient step uses: processes that spin beside it, matrix products, the work of a sample."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from policies.benchmark.encoders import median_ms
from policies.models import checkpoint
from policies.processing.data import EpisodeTable, Source, TrainingData
from policies.processing.observation import ObservationProcessor

SIDE = 1024  # of the matrices that are multiplied
SAMPLES = 16
SPIN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"  # ends when its parent does


@contextlib.contextmanager
def spinning(count: int) -> Iterator[None]:
    """Keep as many processors busy."""
    beside = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for process in beside:
            process.kill()
            process.wait()


def matrix_gflops(threads: int) -> float:
    """Return at what rate torch multiplies large matrices, 1e9 operations a second: what a step could reach at most."""
    torch.set_num_threads(threads)
    a, b = torch.rand(2, SIDE, SIDE).unbind()
    return 2 * SIDE**3 / median_ms(lambda: a @ b) / 1e6


def sample_gflop(root: Path, demos: Path) -> float:
    """Return the operations of one sample, forwards and backwards, in 1e9, of the policy in `root`; an optimizer's are
    not counted."""
    policy, _ = checkpoint.load(root)
    data = TrainingData([EpisodeTable(Source(demos))], ObservationProcessor(policy))
    batch = data.sample(np.random.default_rng(0), SAMPLES)
    with FlopCounterMode(display=False) as counter:
        loss, _ = policy.train().loss(batch, torch.Generator().manual_seed(0))
        loss.backward()
    return counter.get_total_flops() / SAMPLES / 1e9
