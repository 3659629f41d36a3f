"""One episode's two tables: its frames, and its row of metadata and statistics."""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sim.core.errors import UserError, why_unread
from sim.core.files import write_atomic
from sim.dataset.schema import (
    CHUNK_SIZE,
    IMAGE_PREFIX,
    STANDARD_COLUMNS,
    TASKS_PATH,
    Column,
    Features,
    file_indices,
    meta_path,
)

REMEDY = "restore it from a copy, or record again into a new out=DIR"
OWN_KEYS = (
    "episode_index",
    "tasks",
    "length",
    "dataset_from_index",
    "dataset_to_index",
    "content_sha256",
)
OWN_PREFIXES = ("data/", "videos/", "meta/", "stats/")


def is_metadata(key: str) -> bool:
    """Return whether a column of the episodes table is a caller's metadata, not the format's own."""
    return key not in OWN_KEYS and not key.startswith(OWN_PREFIXES)


def plain(value):
    """Return a value as plain Python: numpy scalars and arrays unpacked without a change of value."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def metadata_type(key: str, value) -> pa.DataType:
    """Return the column type that keeps a value exactly. Raises ValueError for what no column can hold."""
    if isinstance(value, list):
        kinds = {metadata_type(key, item) for item in value} or {pa.float64()}
        if kinds == {pa.int64(), pa.float64()}:
            kinds = {pa.float64()}
        if len(kinds) == 1:
            return pa.list_(kinds.pop())
    for python_type, arrow_type in (
        (bool, pa.bool_()),  # before int: a bool is an int
        (int, pa.int64()),
        (float, pa.float64()),
        (str, pa.string()),
    ):
        if isinstance(value, python_type):
            if arrow_type == pa.int64() and not -(2**63) <= value < 2**63:
                raise ValueError(f"metadata {key!r} is {value}, expected 64 bits; store it as a str")
            return arrow_type
    raise ValueError(f"metadata {key!r} is {value!r}, expected a bool, int, float, str or list of one")


def as_column(key: str, values, column: Column, length: int) -> np.ndarray:
    """Return values as the column's dtype, (T,) for a scalar column and (T, n) else.

    Raises ValueError for another length or shape, or a dtype that does not convert.
    """
    array = np.asarray(values)
    if column.shape == (1,) and array.shape == (length, 1):
        array = array[:, 0]
    expected = (length,) if column.shape == (1,) else (length, *column.shape)
    if array.shape != expected:
        raise ValueError(f"column {key!r} has shape {array.shape}, expected {expected}")
    if not np.can_cast(array.dtype, column.dtype, "same_kind"):
        raise ValueError(f"column {key!r} is {array.dtype}, expected {column.dtype}")
    return array.astype(column.dtype)


def standard_columns(length: int, fps: int, episode: int, first: int, task: int) -> dict[str, np.ndarray]:
    """Return the columns every dataset has; `first` is the index of the episode's first frame."""
    frame = np.arange(length, dtype=np.int64)
    return {
        "timestamp": (frame / fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full(length, episode, np.int64),
        "index": first + frame,
        "task_index": np.full(length, task, np.int64),
    }


def frames_table(columns: dict[str, np.ndarray], features: Features) -> pa.Table:
    """Return the frames of an episode, columns in the schema's order."""
    kinds = {**features.columns, **STANDARD_COLUMNS}
    arrays = {key: to_arrow(columns[key], kind.arrow_type) for key, kind in kinds.items()}
    return pa.table(arrays)


def to_arrow(values: np.ndarray, kind: pa.DataType | None = None) -> pa.Array:
    """Return (T,) as a plain column, (T, n) as lists of fixed size n."""
    if values.ndim == 1:
        return pa.array(values, None if kind is None else kind)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    """Return the inverse of `to_arrow`; other programs may have written lists of any size, all equally long here."""
    if not (pa.types.is_fixed_size_list(column.type) or pa.types.is_list(column.type)):
        return column.to_numpy()
    flat = pa.chunked_array([chunk.flatten() for chunk in column.chunks], column.type.value_type)
    return flat.to_numpy().reshape(len(column), -1)


def fitted(values: np.ndarray, column: Column) -> np.ndarray:
    """Return values of a column's own type, which another program may have written wider. ValueError or TypeError for
    what is no number, or of another shape."""
    if values.shape[1:] != (() if column.shape == (1,) else column.shape):
        raise ValueError(f"vectors of {values.shape[1:]}, expected {column.shape}")
    return values.astype(column.dtype, copy=False)


def parquet_bytes(table: pa.Table) -> bytes:
    """Return a parquet file of one row group, as the format requires for an episode."""
    return _parquet(table, use_dictionary=True, row_group_size=max(len(table), 1))


def row_bytes(table: pa.Table) -> bytes:
    """Return a parquet file for one wide row: what helps long columns would only triple its size."""
    return _parquet(table, use_dictionary=False, write_statistics=False, store_schema=False)


def _parquet(table: pa.Table, **options) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="snappy", write_page_checksum=True, **options)
    return sink.getvalue().to_pybytes()


def episode_row(episode: int, task: str, length: int, first: int, fps: int, cameras: tuple[str, ...]) -> dict:
    """Return the format's own part of an episode's row: where its frames are."""
    where = file_indices(episode)
    row = {"episode_index": episode, "tasks": [task], "length": length}
    row |= {f"data/{key}": value for key, value in where.items()}
    row |= {"dataset_from_index": first, "dataset_to_index": first + length}
    for camera in cameras:
        video = f"videos/{IMAGE_PREFIX}{camera}"
        row |= {f"{video}/{key}": value for key, value in where.items()}
        row |= {f"{video}/from_timestamp": 0.0, f"{video}/to_timestamp": length / fps}
    return row | {f"meta/episodes/{key}": value for key, value in where.items()}


def row_table(row: dict, metadata_types: dict[str, pa.DataType], stats: dict) -> pa.Table:
    """Return one row: the format's own part, the metadata (null where absent), statistics by feature."""
    arrays = {key: pa.array([value]) for key, value in row.items() if key not in metadata_types}
    for key, kind in metadata_types.items():
        arrays[key] = pa.array([row.get(key)], kind)
    for feature, values in stats.items():
        for name, value in values.items():
            arrays[f"stats/{feature}/{name}"] = pa.array([value.tolist()])
    return pa.table(arrays)


def read_row(root: Path, episode: int) -> pa.Table:
    """Read an episode's committed row without its statistics. Raises UserError when the file is missing or broken."""
    return _read(meta_path(root, episode), stats=False)


def _read(path: Path, *, stats: bool) -> pa.Table:
    with opened_parquet(path) as file:
        names = [n for n in file.schema_arrow.names if n.startswith("stats/") == stats]
        return file.read(names, use_threads=False)


@contextlib.contextmanager
def opened_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a parquet file whose pages are checked as they are read. UserError when it is missing or broken."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"cannot read {path}: {why_unread(path, error)}") from error


def read_rows(root: Path) -> list[dict]:
    """Read the rows of all episodes, in order and without statistics, however many a file holds.

    Raises UserError when a file is broken or an episode is missing.
    """
    found = [row for path in _row_files(root) for row in _read(path, stats=False).to_pylist()]
    try:
        by_episode = {row["episode_index"]: row for row in found}
    except KeyError as error:
        raise UserError(f"dataset {root} is broken: meta/episodes has no column {error}") from error
    _check_complete(root, set(by_episode), len(found))
    return [by_episode[episode] for episode in range(len(found))]


def read_stats(root: Path) -> list[dict[str, dict[str, np.ndarray]]]:
    """Read the statistics of all episodes, in no order: feature -> statistic -> array."""
    return [_stats(row) for path in _row_files(root) for row in _read(path, stats=True).to_pylist()]


def _stats(row: dict) -> dict[str, dict[str, np.ndarray]]:
    stats: dict[str, dict[str, np.ndarray]] = {}
    for key, value in row.items():
        _, feature, name = key.split("/")
        stats.setdefault(feature, {})[name] = np.array(value)
    return stats


def _row_files(root: Path) -> list[Path]:
    return sorted((root / "meta" / "episodes").glob("chunk-*/file-*.parquet"))


def add_metadata_columns(root: Path, metadata_types: dict[str, pa.DataType]) -> None:
    """Give the first episode's row these columns, null where it has none.

    LeRobot takes the schema of all rows from the first file and refuses a later one with more.
    """
    path = meta_path(root, 0)
    with pq.ParquetFile(path) as file:
        table = file.read(use_threads=False)
    for key, kind in metadata_types.items():
        if key not in table.column_names:
            table = table.append_column(key, pa.nulls(1, kind))
    write_atomic(path, row_bytes(table))


def count_episodes(root: Path) -> int:
    """Return how many episodes are committed where each has a file. Raises UserError when one in between is missing."""
    found = set()
    for path in _row_files(root):
        chunk, file = re.findall(r"\d+", f"{path.parent.name}/{path.name}")
        found.add(int(chunk) * CHUNK_SIZE + int(file))
    _check_complete(root, found, len(found))
    return len(found)


def _check_complete(root: Path, episodes: set[int], count: int) -> None:
    if missing := sorted(set(range(count)) - episodes):
        path = meta_path(root, missing[0])
        what = f"the row of episode {missing[0]}" if path.is_file() else f"{path}"
        raise UserError(f"dataset {root} is broken: {what} is missing, but later episodes exist; {REMEDY}")


def resumed_tasks(root: Path, named: list[str]) -> list[str]:
    """Return the tasks by the numbers that the frames know them by; named: those of the episodes as they first appear,
    which number them where there is no tasks.parquet. One that no episode names, of a run killed before its commit,
    is left out at the end.

    Raises UserError where the file cannot be read, lacks a named task or does not count from 0.
    """
    if not (root / TASKS_PATH).exists():
        return named
    numbered = read_tasks(root)
    tasks = [text for _, text in sorted(numbered.items())]
    if sorted(numbered) != list(range(len(tasks))) or not set(named) <= set(tasks):
        raise UserError(f"{root / TASKS_PATH} does not have the tasks that the episodes name, from 0 on; {REMEDY}")
    while tasks and tasks[-1] not in named:
        tasks.pop()
    return tasks


def read_tasks(root: Path) -> dict[int, str]:
    """Return number -> task, as tasks.parquet has them. UserError where the file cannot be read."""
    table = _read(root / TASKS_PATH, stats=False)
    texts = [name for name in table.column_names if name != "task_index"]  # pandas may have left it without a name
    if len(texts) != 1 or len(texts) == len(table.column_names):
        raise UserError(f"cannot read {root / TASKS_PATH}: expected a task_index and a text; {REMEDY}")
    return dict(zip(table["task_index"].to_pylist(), table[texts[0]].to_pylist(), strict=True))


def write_tasks(root: Path, tasks: list[str]) -> None:
    """Write tasks.parquet with the text as pandas index: LeRobot would otherwise, without an
    error, take the row number for the text."""
    index = {
        "task_index": pa.array(range(len(tasks)), pa.int64()),
        "task": pa.array(tasks, "string"),
    }
    description = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            _pandas_column("task_index", "int64", "int64"),
            _pandas_column("task", "unicode", "object"),
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    table = pa.table(index).replace_schema_metadata({"pandas": json.dumps(description)})
    write_atomic(root / TASKS_PATH, parquet_bytes(table))


def _pandas_column(name: str, pandas_type: str, numpy_type: str) -> dict:
    return {
        "name": name,
        "field_name": name,
        "pandas_type": pandas_type,
        "numpy_type": numpy_type,
        "metadata": None,
    }
