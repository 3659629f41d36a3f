"""A fitted value on disk: value.safetensors (the heads of all folds) and value.json (what it is and how good)."""

import hashlib
import json
from pathlib import Path

from safetensors.torch import save

from rl.value.value_head import ValueConfig, ValueHead
from sim.core.errors import UserError
from sim.core.files import write_atomic
from sim.core.provenance import plain

WEIGHTS, METADATA = "value.safetensors", "value.json"


def weights_bytes(heads: list[ValueHead]) -> bytes:
    """Serialize all heads, parameters named <fold>.<parameter>."""
    tensors = {f"{k}.{name}": t.contiguous() for k, head in enumerate(heads) for name, t in head.state_dict().items()}
    return save(tensors)


def weights_hash(heads: list[ValueHead]) -> str:
    """Return the sha256 of the weight file."""
    return hashlib.sha256(weights_bytes(heads)).hexdigest()


def save_value(folder: Path, heads: list[ValueHead], config: ValueConfig, metadata: dict) -> None:
    """Write both files, each whole or not at all, the metadata last."""
    write_atomic(folder / WEIGHTS, weights_bytes(heads))
    described = {name: plain(value) for name, value in metadata.items()}
    content = {"value": plain(config), "features": heads[0].mean.shape[0], **described}
    write_atomic(folder / METADATA, json.dumps(content, indent=1).encode())


def read_metadata(folder: Path) -> dict:
    """Read value.json. UserError when there is none."""
    try:
        return json.loads((folder / METADATA).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} holds no value: {METADATA} cannot be read") from error
