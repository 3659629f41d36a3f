"""A checkpoint directory is self-sufficient: weights, normalization, configuration, what it was made of.

model.safetensors   the (averaged) weights with the normalization constants
config.json         policy configuration, embodiment, contract and encoder versions, provenance
training.pt         optimizer and generator states for exact resume (loaded weights_only)
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from policies.models.small_vla import SmallVla, VlaConfig
from sim.core.contract import CONTRACT_VERSION
from sim.core.errors import UserError, found_beside
from sim.core.provenance import plain
from sim.core.structured import typed

WEIGHTS, CONFIG, TRAINING = "model.safetensors", "config.json", "training.pt"


@dataclass(frozen=True)
class CheckpointMetadata:
    """What a checkpoint says of itself besides its weights."""

    robot: str
    image_size: tuple[int, int]
    vision: str  # fingerprint of the frozen encoder
    text: str
    task: str
    provenance: dict
    guidance: float = 1.0  # beta that it is played with where nobody says otherwise
    control_hz: int = 20  # actions a second


def save(out: Path, model: SmallVla, about: CheckpointMetadata) -> None:
    """Write weights and configuration, each whole or not at all; the weights last."""
    out.mkdir(parents=True, exist_ok=True)
    content = {"contract": CONTRACT_VERSION, "policy": plain(model.config), **plain(about)}
    _replace(out / CONFIG, lambda path: path.write_text(json.dumps(content, indent=1)))
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    _replace(out / WEIGHTS, lambda path: save_file(tensors, path))


def load(root: Path | str) -> tuple[SmallVla, CheckpointMetadata]:
    """The policy in evaluation mode. UserError when the directory is none, broken or of another contract."""
    root = Path(root)
    if not (root / WEIGHTS).is_file() or not (root / CONFIG).is_file():
        raise UserError(f"{root} is no checkpoint: {WEIGHTS} and {CONFIG} expected there{found_beside(root, WEIGHTS)}")
    try:
        content = json.loads((root / CONFIG).read_text())
        contract = content.pop("contract")
        if contract != CONTRACT_VERSION:
            raise UserError(f"{root} has contract version {contract}, this code has {CONTRACT_VERSION}; train again")
        model = SmallVla(typed(VlaConfig, content.pop("policy"), "policy."))
        model.load_state_dict(load_file(root / WEIGHTS))
    except (ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(f"checkpoint {root} is broken: {str(error).splitlines()[0]}") from error
    return model.eval(), typed(CheckpointMetadata, content)


def save_training(out: Path, state: dict) -> None:
    _replace(out / TRAINING, lambda path: torch.save(state, path))


def load_training(out: Path) -> dict | None:
    """The state that `save_training` wrote, or None."""
    path = out / TRAINING
    return torch.load(path, weights_only=True) if path.is_file() else None


def _replace(path: Path, write) -> None:
    temporary = path.with_name(path.name + ".tmp")
    try:
        write(temporary)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    os.replace(temporary, path)
