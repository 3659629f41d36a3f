"""Whole decisions of several checkpoints on the same recorded frames, by turns: time, energy, memory.

Time is what the deciding thread itself computed, which other programs disturb least. Looking makes inputs of images and
words, by encoders or a frozen eye; acting makes a chunk of these.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.table import Table

from policies.benchmark.energy import EnergyMeter
from policies.models.checkpoint import WEIGHTS
from policies.processing.data import EpisodeTable, Source
from policies.processing.resize import resize
from policies.runtime.agent import load_decider
from policies.runtime.decider import Decider
from policies.runtime.latency import percentiles
from sim.core.console import track
from sim.core.contract import TURN_COLUMNS, Observation
from sim.core.errors import UserError
from sim.core.usage import peak_memory_mib

FRAMES = 200
WARM_UP = 5  # decisions that are not counted


@dataclass
class Spent:
    """What every decision of a checkpoint took."""

    seconds: list[float] = field(default_factory=list)
    looking: list[float] = field(default_factory=list)  # of these, to make inputs of images and words
    joules: list[float] = field(default_factory=list)  # empty where nothing counts them


def side_by_side(checkpoints: Sequence[str], data: str, meter: EnergyMeter | None = None) -> tuple[Table, list[dict]]:
    """Decide on frames of a dataset by turns, on one thread; return the table and its rows.

    UserError for a checkpoint that cannot be played, or a dataset of another robot or without the policy's cameras.
    """
    meter, frames = meter or EnergyMeter(), Frames(data)
    deciders = {root: frames.decider(root) for root in checkpoints}
    spent = {root: Spent() for root in checkpoints}
    for i, row in enumerate(track(frames.spread(WARM_UP + FRAMES), "deciding")):
        for root, decider in deciders.items():
            _decide(decider, frames.look(row, decider), i, spent[root], meter)
    rows = [_row(root, spent[root], deciders[root], spent[checkpoints[0]]) for root in checkpoints]
    return _table(rows, meter), rows


class Frames:
    """Recorded frames as looks, and the true points of the one that was looked at last."""

    def __init__(self, data: str):
        self._table = EpisodeTable(Source(Path(data)))
        self._row = 0

    def decider(self, root: str) -> Decider:
        """Return the policy of a checkpoint."""
        decider, _ = load_decider(root, ground_truth=self._truth)
        if (robot := self._table.spec.robot) != decider.spec.robot:
            raise UserError(f"data={self._table.dataset.root} is of robot {robot}, {root} of {decider.spec.robot}")
        return decider

    def spread(self, count: int) -> list[int]:
        """Return rows over the whole dataset, some twice where it has fewer."""
        return np.linspace(0, len(self._table.frame) - 1, count).astype(int).tolist()

    def look(self, row: int, decider: Decider) -> Observation:
        """Return what a policy looks at in a frame."""
        self._row, table = row, self._table
        episode, frame = int(table.episode[row]), int(table.frame[row])
        images = {
            camera: np.array(resize(table.dataset.images(episode, camera, [frame]), decider.spec.image_size)[0])
            for camera in decider.processor.cameras
        }
        depth = {camera: table.dataset.depth(episode, camera, [frame])[0] for camera in decider.processor.depth_cameras}
        told = table.dataset.instruction(episode)
        return Observation(images, table.state[row], told, 0.0, touch=table.touch[row], depth=depth)

    def _truth(self) -> dict[str, np.ndarray]:
        table = self._table
        points = dict(zip(table.spec.points, table.truth[self._row], strict=True))
        return points | dict(zip(TURN_COLUMNS, table.turn[self._row], strict=True))


def _decide(decider: Decider, look: Observation, seed: int, spent: Spent, meter: EnergyMeter) -> None:
    generator = torch.Generator().manual_seed(seed)
    before_uj = [] if meter.missing else meter.read_uj()
    begun = time.thread_time()
    seen = decider.see(look)
    looked = time.thread_time()
    decider.decide(look, look.state, [], generator, None, seen)
    spent.seconds.append(time.thread_time() - begun)
    spent.looking.append(looked - begun)
    if not meter.missing:
        spent.joules.append(meter.joules(before_uj))


def _row(root: str, spent: Spent, decider: Decider, first: Spent) -> dict:
    seconds = spent.seconds[WARM_UP:]
    return {
        "checkpoint": root,
        "mean_ms": 1e3 * float(np.mean(seconds)),
        "looking_ms": 1e3 * float(np.mean(spent.looking[WARM_UP:])),
        **percentiles(seconds),
        "of_first": float(np.mean(seconds) / np.mean(first.seconds[WARM_UP:])),
        "joules": float(np.mean(spent.joules[WARM_UP:])) if spent.joules else None,
        "parameters": sum(one.numel() for one in decider.policy.parameters()),
        "weights_mib": (Path(root) / WEIGHTS).stat().st_size / 2**20,
    }


def _table(rows: list[dict], meter: EnergyMeter) -> Table:
    energy = f"energy not measured: {meter.missing}" if meter.missing else "energy of the processor, other programs too"
    caption = f"{energy}; memory of this process with all of them: {peak_memory_mib():.0f} MiB at most"
    times = ("mean, ms", "looking", "acting", "p50", "p99", "of the first")
    heads = ("checkpoint", *times, "mJ", "parameters", "weights, MiB")
    table = Table(*heads, title=f"{FRAMES} decisions", caption=caption)
    for row in rows:
        millijoules = "-" if row["joules"] is None else f"{1e3 * row['joules']:.1f}"
        acting_ms = row["mean_ms"] - row["looking_ms"]
        spent_ms = (row["mean_ms"], row["looking_ms"], acting_ms, row["p50_ms"], row["p99_ms"])
        times = (*(f"{ms:.2f}" for ms in spent_ms), f"{row['of_first']:.3f}")
        table.add_row(row["checkpoint"], *times, millijoules, str(row["parameters"]), f"{row['weights_mib']:.1f}")
    return table
