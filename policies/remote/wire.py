"""Messages of openpi's websocket protocol: msgpack, in which an array is a map of its bytes, dtype and shape.

A client connects, is sent the server's metadata, and then gets an answer to every request. Nothing is pickled.
"""

import math
import re
from typing import Any

import numpy as np

from sim.core.errors import UserError, reason

try:
    import msgpack
    import websockets
except ImportError as error:
    raise UserError(
        f"this Python has no {error.name}, which servers of policies need; install it with: "
        "python -m pip install 'fr3-vla[serve]'"
    ) from error

MAX_BYTES = 16 * 2**20  # of a message: two images of 1080p are 12 MiB

_PLAIN = re.compile(r"[<>|=]?[biuf]\d{1,2}")  # bool, integers and floats: no objects, no records
_ARRAY, _SCALAR, _DATA, _DTYPE, _SHAPE = b"__ndarray__", b"__npgeneric__", b"data", b"dtype", b"shape"


def pack(message: Any) -> bytes:
    """Return a message of maps, lists, text, numbers and arrays as bytes."""
    packed = msgpack.packb(message, default=_packed)
    assert packed is not None
    return packed


def unpack(data: bytes | str) -> Any:
    """Return the message that the bytes are. UserError when they are none."""
    if isinstance(data, str):
        raise UserError(f"text instead of a message: {last_line(data)}")
    try:
        return msgpack.unpackb(data, object_hook=_unpacked)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:  # msgpack's own are ValueErrors
        raise UserError(f"{len(data)} bytes that are no message of openpi's protocol ({reason(error)})") from error


def last_line(text: str) -> str:
    """Return the last line of what a server says of an error, which ends a traceback, shortened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "(nothing)"


def closed(error: websockets.ConnectionClosed) -> str:
    """Return why a connection ended, for people."""
    frame = error.rcvd or error.sent
    if frame is None:
        return "the connection broke"
    if frame.code == websockets.CloseCode.MESSAGE_TOO_BIG:
        return f"a message was larger than the {MAX_BYTES // 2**20} MiB that are taken"
    return f"closed with code {frame.code} {frame.reason}".strip()


def _packed(value: Any) -> dict:
    if not isinstance(value, np.ndarray | np.generic):
        raise TypeError(f"a message cannot hold a {type(value).__name__}")
    if not _PLAIN.fullmatch(value.dtype.str):
        raise TypeError(f"a message cannot hold an array of {value.dtype}")
    if isinstance(value, np.ndarray):
        return {_ARRAY: True, _DATA: value.tobytes(), _DTYPE: value.dtype.str, _SHAPE: value.shape}
    return {_SCALAR: True, _DATA: value.item(), _DTYPE: value.dtype.str}


def _unpacked(value: dict) -> Any:
    """Return a map, or the array or number that it stands for."""
    if _ARRAY not in value and _SCALAR not in value:
        return value
    name = str(value[_DTYPE])
    if not _PLAIN.fullmatch(name):
        raise ValueError(f"an array of {name[:20]!r}")
    dtype = np.dtype(name)
    if _SCALAR in value:
        return dtype.type(value[_DATA])
    shape, data = tuple(value[_SHAPE]), value[_DATA]
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array of shape {shape} in {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape)
