"""Time of a whole decision by what computes it: torch, as programs play a policy, and the exported graph."""

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
from policies.export.graph import ExportedPolicy, write_graph
from policies.export.noise import RecordedNoise
from policies.export.whole_policy import draw_look
from policies.models.vla import VlaConfig
from policies.runtime.decider import Conditioning, Decider
from policies.runtime.latency import percentiles
from sim.core.contract import GROUNDING_COLUMNS, Observation
from sim.robots.robot import RobotConfig

SIDE_PX = 96
DECISIONS = 100
WARM_UP = 5  # decisions that are not counted
BACKENDS = ("torch", "onnxruntime")


def default_decider() -> Decider:
    """Return the default policy with random weights, whose times are those of trained ones."""
    robot = RobotConfig().load()
    size = (SIDE_PX, SIDE_PX)
    spec = PolicySpec(robot.name, robot.camera_names, size, robot.action_dim, robot.action_dim, GROUNDING_COLUMNS)
    policy = VlaConfig().build(spec).eval()
    for weights in policy.parameters():
        if not weights.any():  # last layers begin at zero: all chunks would be the same
            nn.init.normal_(weights, std=0.05)
    return Decider(policy, Conditioning(Indicator.POSITIVE))


def backend_table(decisions: int = DECISIONS) -> tuple[Table, list[dict]]:
    """Time decisions on the same looks by turns, on one thread; return the table and its rows."""
    torch.set_num_threads(1)
    decider = default_decider()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.onnx"
        difference = write_graph(decider, path)
        exported = ExportedPolicy(decider, path)
        looks = _looks(decider, decisions + WARM_UP)
        with RecordedNoise() as recorded:
            decider.decide(looks[0], looks[0].state, [], torch.Generator())
        ways: dict[str, Callable[[Observation], np.ndarray]] = {
            "torch": lambda look: decider.decide(look, look.state, [], torch.Generator()).chunk,
            "onnxruntime": lambda look: exported.decide(look, recorded.drawn),
        }
        times = _by_turns(ways, looks)
    rows = [{"backend": name, **percentiles(times[name][WARM_UP:])} for name in BACKENDS]
    table = Table(
        "backend", "p50, ms", "p99, ms", title=f"{decisions} decisions; chunks differ by {difference:.0e} rad"
    )
    for row in rows:
        table.add_row(row["backend"], f"{row['p50_ms']:.2f}", f"{row['p99_ms']:.2f}")
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
