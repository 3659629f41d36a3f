"""Cells of a matrix: an algorithm, how strongly it is guided, and what one training seed makes of the start's data.

Files of a cell, in OUT/cells/ALGORITHM/seed_SEED (cells of one algorithm share all but the evaluation):
    value/ labels.json policy/      as in a round of rl.recap
    evaluation_GUIDANCE/            results.json
    minutes.json                    what each stage took
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from policies.evaluate import evaluate
from rl.algorithms.base import ALGORITHMS
from rl.data.rollouts import Behaviour
from rl.learning.online import read_log
from rl.learning.round import Round
from rl.run.offline_run import OfflineRun
from sim.core.errors import UserError
from sim.episode.results import FILE as RESULTS
from sim.run.timer import Timer

IMITATION = "imitation"


@dataclass(frozen=True)
class Cell:
    """One line of a matrix."""

    name: str
    algorithm: str  # IMITATION: none
    guidance: float = 1.0

    def folder(self, root: Path, seed: int) -> Path:
        """Return where a training seed's files lie under the matrix' directory."""
        return root / "cells" / self.algorithm / f"seed_{seed}"

    @property
    def trained(self) -> bool:
        """Whether it is trained once with each training seed; the start itself is one policy with one evaluation."""
        return self.algorithm != IMITATION

    def minutes(self, root: Path, seed: int) -> float:
        """Return what its labels, retraining and evaluation took; 0 for the start itself."""
        taken = Timer(self.folder(root, seed)).read()
        return sum(taken.get(stage, 0.0) for stage in ("label", "retrain", self.evaluation(root, seed).name))

    def episodes(self, root: Path, seed: int) -> int:
        """Return how many episodes it was given, demonstrations among them, and played; 0 for the start itself."""
        return self._given(root, seed) + sum(row["episodes"] for row in read_log(self.folder(root, seed))[-1:])

    def curve(self, root: Path, seed: int) -> list[tuple[int, float]]:
        """Return of every update of an algorithm that played the episodes learned from before it, and its success."""
        rows, given = read_log(self.folder(root, seed)), self._given(root, seed)
        before = [0, *(row["episodes"] for row in rows)]
        return [(given + n, row["success_rate"]) for n, row in zip(before, rows, strict=False)]

    def _given(self, root: Path, seed: int) -> int:
        path = self.folder(root, seed) / "labels.json"
        return json.loads(path.read_text())["episodes"] if path.is_file() else 0

    def evaluation(self, root: Path, seed: int) -> Path:
        """Return the folder of its results.json."""
        if not self.trained:
            return root / "start" / "round_0" / "evaluation"
        return self.folder(root, seed) / f"evaluation_{self.guidance:g}"


def parse_cell(name: str, default_guidance: float) -> Cell:
    """Return the cell of imitation, NAME or NAME@GUIDANCE. UserError names what is wrong."""
    algorithm, at, guidance = name.partition("@")
    if algorithm == IMITATION and not at:
        return Cell(name, IMITATION)
    if not ALGORITHMS.get(algorithm).conditioned:
        if at:
            raise UserError(f"cells: {name}, expected {algorithm}: it does not learn good from bad, nothing is guided")
        return Cell(name, algorithm)
    try:
        beta = float(guidance) if at else default_guidance
    except ValueError:
        beta = -1.0
    if not 0 <= beta < float("inf"):
        raise UserError(f"cells: {name}, expected a guidance of 0 or more after @")
    return Cell(name, algorithm, beta)


def parse_cells(names: Sequence[str], default_guidance: float) -> list[Cell]:
    """Return the cells of these names. UserError when two are the same."""
    cells = [parse_cell(name, default_guidance) for name in names]
    for i, cell in enumerate(cells):
        for other in cells[:i]:
            if (other.algorithm, other.guidance) == (cell.algorithm, cell.guidance):
                raise UserError(f"cells: {cell.name} is {other.name}; expected each once")
    return cells


def run_cell(start: OfflineRun, root: Path, cell: Cell, seed: int) -> None:
    """Label, retrain and evaluate with one training seed; what was done before is kept."""
    config, folder, timer = start.config, cell.folder(root, seed), Timer(cell.folder(root, seed))
    learning = replace(config, seed=seed, retrain=replace(config.retrain, seed=seed))
    first = start.round(1)
    data = Round(1, folder, first.datasets, first.pretrained, first.time_limits, learning, first.rollouts)
    algorithm = ALGORITHMS.get(cell.algorithm)()
    if not data.labels_path.is_file():
        with timer("label"):
            data.write_labels(algorithm.label(data), cell.algorithm, conditioned=algorithm.conditioned)
    with timer("retrain"):
        algorithm.improve(data)  # resumes, and leaves a finished policy as it is
    out = cell.evaluation(root, seed)
    if not (out / RESULTS).is_file():
        with timer(out.name):
            played = Behaviour(str(data.policy), cell.guidance)
            evaluate(start.evaluation(out, played, config.evaluation_episodes, config.videos))
