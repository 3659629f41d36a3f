"""Time of a whole decision by what computes it: torch, as programs play a policy, and exported graphs."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.table import Table
from torch import nn

from policies.core.indicator import Indicator
from policies.core.spec import PolicySpec
from policies.export.graph import write_graph
from policies.export.graph_decider import GraphDecider
from policies.export.whole_policy import draw_look
from policies.models.vla import VlaConfig
from policies.runtime.agent import load_decider
from policies.runtime.decider import Conditioning, Decider
from policies.runtime.latency import percentiles
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.robots.robot import RobotConfig

SIDE_PX = 96
DECISIONS = 100
WARM_UP = 5  # decisions that are not counted
BACKENDS = ("torch", "onnxruntime")


def default_decider() -> Decider:
    """Return the default policy with random weights, whose times are those of trained ones."""
    policy = VlaConfig().build(PolicySpec.of(RobotConfig().load(), (SIDE_PX, SIDE_PX))).eval()
    for weights in policy.parameters():
        if not weights.any():  # last layers begin at zero: all chunks would be the same
            nn.init.normal_(weights, std=0.05)
    return Decider(policy, Conditioning(Indicator.POSITIVE))


def backend_table(checkpoint: str | None = None, decisions: int = DECISIONS) -> tuple[Table, list[dict]]:
    """Time decisions on the same looks by turns, on one thread; return the table and its rows.

    checkpoint: by torch and by every graph in its folder; None: the default policy with random weights and its graph.
    UserError for a folder without a graph.
    """
    if checkpoint is None:
        torch.set_num_threads(1)
        decider = default_decider()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "policy.onnx"
            write_graph(decider, path)
            return _timed(decider, {"onnxruntime": path}, decisions)
    decider, _ = load_decider(checkpoint)
    graphs = {path.name: path for path in sorted(Path(checkpoint).glob("*.onnx"))}
    if not graphs:
        raise UserError(f"checkpoint={checkpoint} holds no graph: policies.export writes one there")
    return _timed(decider, graphs, decisions)


def _timed(decider: Decider, graphs: dict[str, Path], decisions: int) -> tuple[Table, list[dict]]:
    deciders = {"torch": decider, **{name: GraphDecider(decider, path) for name, path in graphs.items()}}
    ways: dict[str, Callable[[Observation], np.ndarray]] = {
        name: lambda look, one=one: one.decide(look, look.state, [], torch.Generator()).chunk
        for name, one in deciders.items()
    }
    times = _by_turns(ways, _looks(decider, decisions + WARM_UP))
    mib = {name: round(path.stat().st_size / 2**20, 2) for name, path in graphs.items()}
    rows = [
        {"backend": name, **percentiles(seconds[WARM_UP:]), "mib": mib.get(name)} for name, seconds in times.items()
    ]
    table = Table("backend", "p50, ms", "p99, ms", "file, MiB", title=f"{decisions} decisions")
    for row in rows:
        table.add_row(row["backend"], f"{row['p50_ms']:.2f}", f"{row['p99_ms']:.2f}", str(row["mib"] or "-"))
    return table, rows


def _looks(decider: Decider, count: int) -> list[Observation]:
    rng = np.random.default_rng(0)
    return [draw_look(decider.spec, rng, decider.processor.cameras) for _ in range(count)]


def _by_turns(ways: dict[str, Callable], looks: list[Observation]) -> dict[str, list[float]]:
    """Return the seconds of every decision by each way."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for look in looks:
        for name, decide in ways.items():
            begun = time.perf_counter()
            decide(look)
            times[name].append(time.perf_counter() - begun)
    return times
