"""`python -m policies.transfer checkpoints=[runs/policy,runs/policy_full] [episodes=200] [out=runs/transfer]`

How much of a policy is left outside the world it was trained in: each checkpoint plays the same seeds
as usual, drawn by the other renderer (Filament), with dynamics that no training reaches (twin=shifted),
and with both. Together they stand in for the real arm.
"""

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from policies.evaluate import EvaluateConfig, evaluate
from sim.config import CONF, run_program
from sim.errors import UserError
from sim.randomize.ranges import RandomizeConfig
from sim.scene.build import RenderConfig

RENDERERS, TWINS = ("opengl", "filament"), ("trained", "shifted")
CONDITIONS = {f"{renderer}, {twin}": (renderer, twin) for twin, renderer in itertools.product(TWINS, RENDERERS)}


@dataclass(frozen=True)
class TransferConfig:
    """Options of the program."""

    checkpoints: tuple[str, ...] = ("runs/policy",)
    task: str = "pick_place"
    episodes: int = 200
    seed: int = 900_000
    out: str = "runs/transfer"
    workers: int = 2
    randomize: RandomizeConfig = field(default_factory=RandomizeConfig)

    def __post_init__(self) -> None:
        if not self.checkpoints:
            raise UserError("checkpoints=[]: name at least one")


def condition(config: TransferConfig, checkpoint: str, renderer: str, twin: str) -> EvaluateConfig:
    """The evaluation of one cell of the table."""
    moved = {str(name): tuple(bounds) for name, bounds in OmegaConf.load(CONF / "twin" / f"{twin}.yaml").items()}
    return EvaluateConfig(
        checkpoint=checkpoint, task=config.task, episodes=config.episodes, seed=config.seed, workers=config.workers,
        out=str(Path(config.out) / Path(checkpoint).name / f"{renderer}_{twin}"), films=0,
        randomize=replace(config.randomize, **moved),
        render=RenderConfig(renderer=renderer),
    )  # fmt: skip


def main(config: TransferConfig) -> None:
    """Measure every cell and print the table, a line each checkpoint."""
    table = Table("checkpoint", *CONDITIONS, title=f"success of {config.episodes}, 95 % interval")
    for checkpoint in config.checkpoints:
        cells = []
        for renderer, twin in CONDITIONS.values():
            found = evaluate(condition(config, checkpoint, renderer, twin))
            cells.append(f"{found['success_rate']:.1%} ({found['ci_low']:.0%} to {found['ci_high']:.0%})")
        table.add_row(checkpoint, *cells)
    Console().print(table)


if __name__ == "__main__":
    run_program("transfer", TransferConfig, main, __doc__)
