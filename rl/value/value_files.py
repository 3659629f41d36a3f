"""A fitted value on disk: value.safetensors (the heads of all folds) and value.json (what it is and how good)."""

import hashlib
import json
from pathlib import Path

from safetensors.torch import load, save

from rl.value.value import ValueConfig, ValueHead
from sim.core.config import typed
from sim.core.errors import UserError
from sim.core.provenance import plain
from sim.dataset.files import write_atomic

WEIGHTS, ABOUT = "value.safetensors", "value.json"


def weights_bytes(heads: list[ValueHead]) -> bytes:
    """All heads, names as <fold>.<parameter>."""
    tensors = {f"{k}.{name}": t.contiguous() for k, head in enumerate(heads) for name, t in head.state_dict().items()}
    return save(tensors)


def weights_hash(heads: list[ValueHead]) -> str:
    """sha256 of the weight file."""
    return hashlib.sha256(weights_bytes(heads)).hexdigest()


def save_value(folder: Path, heads: list[ValueHead], config: ValueConfig, about: dict) -> None:
    """Write both files, each whole or not at all, the description last."""
    write_atomic(folder / WEIGHTS, weights_bytes(heads))
    described = {name: plain(value) for name, value in about.items()}
    content = {"value": plain(config), "readings": heads[0].mean.shape[0], **described}
    write_atomic(folder / ABOUT, json.dumps(content, indent=1).encode())


def read_about(folder: Path) -> dict:
    """The description. UserError when there is none."""
    try:
        return json.loads((folder / ABOUT).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} holds no value: {ABOUT} cannot be read") from error


def load_heads(folder: Path) -> list[ValueHead]:
    """The heads in evaluation mode; for frames none of them has seen, take their mean."""
    about = read_about(folder)
    config = typed(ValueConfig, about["value"])
    tensors = load((folder / WEIGHTS).read_bytes())
    heads = [ValueHead(about["readings"], config) for _ in range(config.folds)]
    for k, head in enumerate(heads):
        own = {name.split(".", 1)[1]: value for name, value in tensors.items() if name.split(".", 1)[0] == str(k)}
        head.load_state_dict(own)
    return [head.eval() for head in heads]
