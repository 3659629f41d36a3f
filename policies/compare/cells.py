"""Cells of a comparison: a policy, a task, a training seed. Each is trained and played once.

Files of a cell, in OUT/cells/PRESET-HEAD/TASK/seed_SEED, PRESET alone with its own head:
    policy/           checkpoint
    evaluation/       results.json of `policies.evaluate`, of its second playing evaluation_1/, and so on
    minutes.json      processor minutes of training steps; encoding images for all cells is left out
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from policies import train
from policies.core.interface import PolicyConfig
from policies.core.parts import HeadConfig
from policies.evaluate import EvaluateConfig, evaluate
from policies.models import checkpoint
from policies.models.vla import VlaConfig
from sim.core.config import group_values
from sim.core.errors import UserError
from sim.core.provenance import plain
from sim.core.structured import typed
from sim.episode import results
from sim.run.timer import Timer

TRAINING = "train"  # in minutes.json


@dataclass(frozen=True)
class Cell:
    """One line of the table, but for its training seeds."""

    name: str
    policy: PolicyConfig
    task: str
    files: str  # the name of its folder: unlike `name`, always with the preset

    def folder(self, root: Path, seed: int) -> Path:
        """Return where a training seed's files lie."""
        return root / "cells" / self.files.replace("/", "-") / self.task / f"seed_{seed}"


def parse_cells(
    presets: Sequence[str], heads: Sequence[str] | None, tasks: Sequence[str], fusion_of: str | None = None
) -> list[Cell]:
    """Return every preset with its own head, or with each of these, at every task. UserError names what is wrong.

    fusion_of: the policy whose fusion each gets instead of its own.
    """
    cells = []
    for preset in presets:
        policy = load_preset(preset)
        if fusion_of is not None:
            policy = with_fusion_of(policy, fusion_of)
        for head in heads or (None,):
            names = [preset] if head is None else [head] if len(presets) == 1 else [preset, head]
            chosen = policy if head is None else with_head(policy, head)
            files = preset if head is None else f"{preset}-{head}"
            cells += [Cell("/".join(names), chosen, task, files) for task in tasks]
    if len({(cell.name, cell.task) for cell in cells}) < len(cells):
        raise UserError(f"presets={list(presets)} heads={list(heads or ())} tasks={list(tasks)}, expected each once")
    return cells


def load_preset(name: str) -> PolicyConfig:
    """Return a policy of conf/policy. UserError names the nearest."""
    return typed(PolicyConfig, group_values("policy", name), "policy.")


def with_head(policy: PolicyConfig, text: str) -> PolicyConfig:
    """Return a policy with another head: NAME, or NAME:OPTION=VALUE for one that is not as it comes."""
    if not isinstance(policy, VlaConfig):
        raise UserError(f"heads: policy {policy.name!r} has no head to exchange; give heads=null")
    name, *options = text.split(":")
    try:
        # As a command line reads them: to plain YAML, 1e-3 is a word.
        values = cast(dict, OmegaConf.to_container(OmegaConf.from_dotlist(options)))
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"heads: {text}, expected NAME:OPTION=VALUE with a number or a word for VALUE") from error
    return replace(policy, head=typed(HeadConfig, {"name": name, **values}, "policy.head."))


def with_fusion_of(policy: PolicyConfig, name: str) -> PolicyConfig:
    """Return a policy with what another of conf/policy sees and reads by: its vision, language and fusion."""
    donor = load_preset(name)
    if not (isinstance(policy, VlaConfig) and isinstance(donor, VlaConfig)):
        raise UserError(f"fusion_of={name}: policy {policy.name!r} and {donor.name!r}, expected two with a fusion")
    return replace(policy, vision=donor.vision, language=donor.language, fusion=donor.fusion)


def train_cell(cell: Cell, folder: Path, config: train.TrainConfig) -> None:
    """Train the cell's policy; a killed training goes on, a finished one is left alone. UserError for another's."""
    out = folder / "policy"
    if (out / checkpoint.WEIGHTS).is_file():
        check_is_of(cell, out)
    else:
        minutes = Timer(folder, clock=time.process_time)
        train.train(replace(config, policy=cell.policy, out=str(out)), timed=minutes(TRAINING))


def check_is_of(cell: Cell, out: Path) -> None:
    """UserError when a finished checkpoint is not of the cell's policy."""
    if plain(checkpoint.load(out)[0].config) != plain(cell.policy):
        raise UserError(f"{out} holds another policy than {cell.name} of now; expected the same: name another out=DIR")


def play_cell(cell: Cell, folder: Path, config: EvaluateConfig) -> None:
    """Play the cell's policy and write results.json; what is played is left alone."""
    out = played_in(folder, config.draw)
    if not (out / results.FILE).is_file():
        evaluate(replace(config, task=cell.task, checkpoint=str(folder / "policy"), out=str(out)))


def played_in(folder: Path, draw: int) -> Path:
    """Return where a cell's results of a playing lie."""
    return folder / (f"evaluation_{draw}" if draw else "evaluation")
