"""Truncated, bit-flipped, emptied and missing files: what is read is right, or one line says what is broken.

Nothing on the disk is changed by reading. What no reader can notice, a changed pixel of a video, is not compared.
"""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from learning import QUICK, about, tiny_model, write_demos

from policies.fusion.pretrained_fusion import read_fusion, save_fusion
from policies.models import checkpoint
from policies.processing.data import EpisodeTable, Source
from policies.training import loop
from policies.training.trainer import Trainer
from sim.core.errors import UserError
from sim.core.provenance import plain
from sim.dataset.reader import Dataset

DAMAGES = ("truncate", "flip", "empty", "remove", "garbage")


def damage(path: Path, how: str, where: float, bit: int) -> None:
    """Damage one file. where: in the file, 0 to 1."""
    data = bytearray(path.read_bytes())
    at = min(int(where * len(data)), len(data) - 1)
    if how == "remove":
        path.unlink()
    elif how == "flip":
        data[at] ^= 1 << bit
        path.write_bytes(data)
    else:
        path.write_bytes({"truncate": data[:at], "empty": b"", "garbage": b"\x93garbage" * 40}[how])


def tree(root: Path) -> dict[str, str]:
    """Every file with a hash of its content."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def read_dataset(root: Path) -> dict[str, np.ndarray]:
    dataset = Dataset(root)
    dataset.stats()
    dataset.fingerprint()
    for episode in range(dataset.num_episodes):
        dataset.episode_metadata(episode)
        for camera in dataset.features.cameras:
            dataset.images(episode, camera)
    table = EpisodeTable(Source(root))
    return {"state": table.state, "action": table.action, "points": table.points, "perturbed": table.perturbed}


def read_checkpoint(root: Path) -> dict[str, torch.Tensor]:
    return dict(checkpoint.load(root)[0].state_dict())


def read_state(root: Path) -> dict[str, torch.Tensor]:
    model = tiny_model(seed=1)
    trainer = Trainer(model, model.loss, QUICK)
    loop.resume(trainer, root)
    return dict(model.state_dict()) if trainer.step else {}


def read_pretrained(root: Path) -> dict[str, torch.Tensor]:
    return read_fusion(root, tiny_model().fusion.config)[0]


def make_state(root: Path) -> None:
    model = tiny_model()
    trainer = Trainer(model, model.loss, QUICK)
    trainer.step = 4
    root.mkdir()
    loop.save_state(trainer, root)


def make_pretrained(root: Path) -> None:
    fusion = tiny_model().fusion
    save_fusion(root, fusion.state_dict(), {"fusion": plain(fusion.config)})


KINDS: dict[str, tuple[Callable[[Path], Any], Callable[[Path], dict]]] = {
    "dataset": (lambda root: write_demos(root, lengths=(6, 5)), read_dataset),
    "checkpoint": (lambda root: checkpoint.save(root, tiny_model(), about()), read_checkpoint),
    "training state": (make_state, read_state),
    "pretrained fusion": (make_pretrained, read_pretrained),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_read_right_or_named_in_one_line(fuzz, tmp_path, kind):
    make, read = KINDS[kind]
    whole, copy = tmp_path / "whole", tmp_path / "copy"
    make(whole)
    right, files = read(whole), sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    outcomes = {"right": 0, "named": 0}

    def check(drawn: tuple[Path, str, float, int]) -> None:
        file, *how = drawn
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)
        damage(copy / file, *how)
        before = tree(copy)
        found, line = outcome(read, copy)
        assert "\n" not in line, (drawn, line)
        if found and file.suffix != ".json":  # a changed letter of a JSON file may be a sensible one
            for name, value in right.items():
                assert same(value, found[name]), (drawn, name)
        outcomes["named" if line else "right"] += 1
        assert tree(copy) == before, drawn

    fuzz(st.tuples(st.sampled_from(files), st.sampled_from(DAMAGES), st.floats(0, 1), st.integers(0, 7)), check)
    assert outcomes["named"]


def outcome(read: Callable[[Path], dict], root: Path) -> tuple[dict, str]:
    """What was read, or the line that says why nothing was."""
    try:
        return read(root), ""
    except UserError as error:
        return {}, str(error)


def same(one: Any, other: Any) -> bool:
    return np.array_equal(np.asarray(one), np.asarray(other), equal_nan=np.asarray(one).dtype.kind == "f")
