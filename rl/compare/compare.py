"""`python -m rl.compare +exp=recap_matrix [lane=points|pixels] [task=pick_place] [cells=[recap@1,recap@3,all_data]]`

Compares algorithms on the same data. One start (demonstrations, an imitation policy, its rollouts and interventions)
is made as `rl.recap` makes it; every cell labels it, retrains and is evaluated, once with each training seed:

    imitation        the start itself
    NAME             an algorithm of rl/algorithms, or of a plug-in
    NAME@GUIDANCE    one that learns good from bad, played with this guidance; its cells share one retrained policy

Start, data, gradient steps and evaluation seeds are the same for all. Success is tested by McNemar's test and
successes an hour by a permutation test on pairs, each against `reference` and corrected for their number by Holm. With
several training seeds, which all play the same layouts, both tests are permutation tests of layouts.
A killed run goes on at the cell it stopped in. matrix.json keeps raw counts, minutes and episodes of every cell,
matrix.md and matrix.png show them.
"""

import logging
from dataclasses import dataclass, fields, replace
from pathlib import Path

from rl.compare.cells import Cell, parse_cells, run_cell
from rl.compare.matrix import MATRIX, write_matrix
from rl.run.kept import kept
from rl.run.offline_run import OfflineRun
from rl.run.options import RecapConfig
from sim.core.errors import UserError, keeps, nearest
from sim.core.files import Lock
from sim.core.options import EACH_ONCE, FOLDER, NOT_EMPTY, SEED, option
from sim.core.tracker import open_tracker

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CompareConfig(RecapConfig):
    """Options of the program: those of the start and of learning, and the cells."""

    out: str = option("runs/recap_matrix", "the matrix' directory; the start lies in OUT/start", FOLDER)
    cells: tuple[str, ...] = option(
        (
            "imitation",
            "all_data",
            "filtered_imitation",
            "positives_only",
            "random_bit",
            "recap@1",
            "recap@2",
            "recap@3",
        ),
        "what is compared: imitation, NAME, NAME@GUIDANCE",
        NOT_EMPTY,
    )
    reference: str = option("recap@3", "the cell that the others are tested against")
    train_seeds: tuple[int, ...] = option((0,), "every cell is trained once with each", NOT_EMPTY, SEED, EACH_ONCE)

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_cells(self.cells, self.guidance)
        for name, only in (("rounds", 1), ("algorithm", "recap")):
            if (value := getattr(self, name)) != only:
                raise UserError(f"{name}={value}: cells= says what is compared, in one round; leave it out")
        if self.reference not in self.cells:
            raise UserError(nearest(self.reference, self.cells, "reference"))

    @property
    def start(self) -> RecapConfig:
        """The run whose first round's data all cells learn from."""
        given = {one.name: getattr(self, one.name) for one in fields(RecapConfig)}
        return RecapConfig(**given | {"out": str(self.root / "start"), "rounds": 1})

    @property
    def parsed_cells(self) -> list[Cell]:
        return parse_cells(self.cells, self.guidance)

    @property
    def learners(self) -> list[RecapConfig]:
        """What learns from the start, as runs of their own; a matrix checks no indicator."""
        return [
            replace(self.start, algorithm=cell.algorithm, guidance=cell.guidance, check_episodes=0)
            for cell in self.parsed_cells
            if cell.trained
        ]


def compare(config: CompareConfig, start: OfflineRun) -> Path:
    """Make the start, run every cell, write the matrix after each; return its JSON file."""
    start.collect_demonstrations()
    start.imitate()
    start.evaluate(0)
    start.evaluate_expert()
    start.collect(1)
    for seed in config.train_seeds:
        for cell in config.parsed_cells:
            if cell.trained:
                _log.info("cell %s, training seed %d", cell.name, seed)
                run_cell(start, config.root, cell, seed)
            write_matrix(config.root, config.parsed_cells, config.train_seeds, config.reference)
    return config.root / MATRIX


def main(config: CompareConfig) -> None:
    tracked = open_tracker(config.tracker, config.root, config)
    with keeps(lambda: kept(config.folders)), Lock(config.root, "."), tracked as tracker:
        _log.info("%s", compare(config, OfflineRun(config.start, tracker, config.learners)))
