"""Files of trained weights with a checksum beside them: a changed bit would make another policy, silently."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load, save
from torch import Tensor

from sim.core.errors import why_unread

SHA256 = "weights_sha256"  # key of the file that describes the weights


def as_bytes(weights: Mapping[str, Tensor]) -> tuple[bytes, dict[str, str]]:
    """Return weights as a safetensors file, and their checksum as an entry of the file that describes them."""
    data = save({name: value.contiguous() for name, value in weights.items()})
    return data, {SHA256: hashlib.sha256(data).hexdigest()}


def read_weights(path: Path, sha256: str | None) -> dict[str, Tensor]:
    """Return the weights of a file. ValueError when they are not those of the checksum; None: an older file."""
    data = path.read_bytes()
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(why_unread(path, ValueError(f"{path.name} was changed since it was written")))
    return load(data)
