"""What the tests of serving share: a tiny policy behind a real socket, and peers that know openpi's protocol alone."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import numpy as np
from learning import about, tiny_model
from websockets.sync.client import connect
from websockets.sync.server import serve

from policies.core.indicator import Indicator
from policies.models.checkpoint import CheckpointMetadata
from policies.remote.policy_session import PolicySession, metadata_of
from policies.remote.server import PolicyServer
from policies.runtime.decider import Conditioning, Decider

HOST = "127.0.0.1"


@contextlib.contextmanager
def running(server: PolicyServer) -> Iterator[str]:
    """A server in a thread; its URL."""
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"ws://{HOST}:{server.port}"
    finally:
        server.close()
        thread.join(20)


@contextlib.contextmanager
def served(decider: Decider | None = None, metadata: CheckpointMetadata | None = None, token: str | None = None):
    """A tiny policy that is served; the URL."""
    decider = decider or tiny_decider()
    message = metadata_of(decider, metadata or about(), "0" * 64).message()
    with running(PolicyServer(message, lambda: PolicySession(decider), HOST, 0, token)) as url:
        yield url


def tiny_decider(**model: Any) -> Decider:
    return Decider(tiny_model(**model), Conditioning(Indicator.POSITIVE, 1.0))


# ---- peers of openpi's protocol, which know nothing of this project's code -------------------------


def to_bytes(message: Any) -> bytes:
    def array(value):
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}

    return msgpack.packb(message, default=array)


def from_bytes(data: bytes) -> Any:
    def array(value):
        if b"__ndarray__" not in value:
            return value
        return np.ndarray(buffer=value[b"data"], dtype=value[b"dtype"], shape=value[b"shape"])

    return msgpack.unpackb(data, object_hook=array)


class PlainClient:
    """Speaks what openpi-client speaks: metadata on connect, then a request and an answer."""

    def __init__(self, url: str, **headers: str):
        self.socket = connect(url, compression=None, max_size=None, additional_headers=headers, proxy=None)
        self.metadata = from_bytes(self.socket.recv(30))

    def infer(self, request: dict) -> dict:
        self.socket.send(to_bytes(request))
        answer = self.socket.recv(60)
        if isinstance(answer, str):
            raise RuntimeError(answer)
        return from_bytes(answer)


@contextlib.contextmanager
def plain_server(decide: Callable[[dict], Any], metadata: Any = None) -> Iterator[str]:
    """A server as openpi has it: metadata on connect, then an answer to every request; text is an error's."""

    def handle(connection):
        first = metadata if metadata is not None else {}
        connection.send(first if isinstance(first, bytes | str) else to_bytes(first))
        for request in connection:
            answer = decide(from_bytes(request))
            connection.send(answer if isinstance(answer, str | bytes) else to_bytes(answer))

    with serve(handle, HOST, 0, compression=None, max_size=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://{HOST}:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join(20)
