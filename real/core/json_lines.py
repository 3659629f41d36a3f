"""A request-response protocol: one JSON line each, the response followed by as many raw bytes as it states.

It serves what a real controller does not: the emulator's camera images and its bench.
A response is {"error": text} or what the handler returns; a handler
may return (dict, bytes), the dict then gets "bytes": length.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import cast

from real.core.faults import RobotUnreachable
from sim.core.errors import UserError

MAX_LINE_BYTES = 1 << 16
Answer = dict | tuple[dict, bytes]


class JsonLineServer(ThreadingTCPServer):
    """Serves one handler function; `handle(request) -> Answer`. UserError and KeyError go to the client."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handle: Callable[[dict], Answer]):
        self.handle = handle
        super().__init__(address, _LineHandler)

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def handle_error(self, request, client_address) -> None:
        """Ignore a client that hung up."""


class _LineHandler(StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        while line := self.rfile.readline(MAX_LINE_BYTES):
            head, body = self._answer(line)
            self.wfile.write(json.dumps(head).encode() + b"\n" + body)

    def _answer(self, line: bytes) -> tuple[dict, bytes]:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise UserError(f"{str(request)[:40]!r} is not a request; expected a JSON object")
            answer = cast(JsonLineServer, self.server).handle(request)
        except UserError as error:
            return {"error": str(error)}, b""
        # RuntimeError is also RecursionError, of JSON nested too deeply.
        except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
            return {"error": f"{type(error).__name__}: {error}"}, b""
        head, body = answer if isinstance(answer, tuple) else (answer, b"")
        return {**head, "bytes": len(body)}, body


class JsonLineClient:
    """One connection, opened on first use and again after an error; serves one thread at a time."""

    def __init__(self, name: str, address: tuple[str, int], deadline_s: float):
        self.name, self.address, self.deadline_s = name, address, deadline_s
        self._lock = threading.Lock()
        self._file = None

    def request(self, request: dict) -> tuple[dict, bytes]:
        """Return the response's line and bytes. RobotUnreachable when none comes in time, UserError when it is an
        error."""
        with self._lock:
            try:
                head, body = self._exchange(json.dumps(request).encode() + b"\n")
            except (OSError, ValueError) as error:
                self._drop()
                where = f"{self.name} at {self.address[0]}:{self.address[1]}"
                raise RobotUnreachable(f"{where} does not answer ({error or type(error).__name__})") from error
        if "error" in head:
            raise UserError(f"{self.name}: {head['error']}")
        return head, body

    def _exchange(self, line: bytes) -> tuple[dict, bytes]:
        if self._file is None:
            connection = socket.create_connection(self.address, self.deadline_s)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._file = connection.makefile("rwb")
            connection.close()  # the file keeps the socket open
        self._file.write(line)
        self._file.flush()
        answer = self._file.readline()
        if not answer:
            raise ConnectionError("connection closed")
        head = json.loads(answer)
        body = self._file.read(head.get("bytes", 0))
        if len(body) < head.get("bytes", 0):
            raise ConnectionError("connection closed")
        return head, body

    def _drop(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # closing flushes what could not be sent
                self._file.close()
            self._file = None

    def close(self) -> None:
        with self._lock:
            self._drop()
