"""Labels beside a dataset: meta/<name>.parquet, one row a frame; the raw data stays as it is."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from sim.core.errors import UserError, nearest
from sim.core.files import write_atomic
from sim.dataset.rows import opened_parquet, parquet_bytes, to_arrow, to_numpy

KEYS = ("episode_index", "frame_index")
PROVENANCE = b"provenance"


def _path(root: Path | str, name: str) -> Path:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) or name == "tasks":
        raise ValueError(f"sidecar name {name!r}, expected letters, digits, '_', '.', '-'; not tasks")
    return Path(root) / "meta" / f"{name}.parquet"


def write_sidecar(
    root: Path | str,
    name: str,
    columns: Mapping[str, np.ndarray],
    provenance: dict | None = None,
) -> None:
    """Write meta/<name>.parquet, replacing an older one in one step.

    columns: arrays (N,) or (N, n); episode_index and frame_index int (N,) give the frame that a row
    labels. provenance: JSON values, e.g. the dataset's fingerprint and the label's parameters.
    Raises ValueError when a key or a row is missing, UserError when the disk is full.
    """
    path = _path(root, name)
    arrays = {key: np.asarray(values) for key, values in columns.items()}
    for key in KEYS:
        if key not in arrays or arrays[key].dtype.kind not in "iu":
            raise ValueError(f"sidecar {name!r} needs the integer column {key!r}")
    lengths = {key: len(values) for key, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"sidecar {name!r} has columns of different lengths: {lengths}")
    arrays |= {key: arrays[key].astype(np.int64) for key in KEYS}
    table = pa.table({key: to_arrow(values) for key, values in arrays.items()})
    text = json.dumps(provenance or {}, default=str)
    write_atomic(path, parquet_bytes(table.replace_schema_metadata({PROVENANCE: text})))


def _read(root: Path | str, name: str) -> pa.Table:
    path = _path(root, name)
    if not path.is_file():
        there = [p.stem for p in path.parent.glob("*.parquet") if p.stem != "tasks"]
        raise UserError(f"{path.parent}: {nearest(name, there, 'sidecar')}")
    with opened_parquet(path) as file:
        return file.read(use_threads=False)


def read_sidecar(root: Path | str, name: str) -> dict[str, np.ndarray]:
    """Read the columns of meta/<name>.parquet. Raises UserError when it is missing or broken."""
    table = _read(root, name)
    return {key: to_numpy(table[key]) for key in table.column_names}


def sidecar_provenance(root: Path | str, name: str) -> dict:
    """Return the provenance given to `write_sidecar`. Raises UserError when the file is missing or broken."""
    return json.loads((_read(root, name).schema.metadata or {}).get(PROVENANCE, b"{}"))
