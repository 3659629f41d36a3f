"""A server of openpi's protocol: a policy for clients elsewhere, one decision at a time."""

import contextlib
import hmac
import http
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import websockets
from websockets.sync.server import Server, ServerConnection, serve

from policies.remote.protocol import HEADER, PROTOCOL
from policies.remote.token import authorization
from policies.remote.wire import MAX_BYTES, closed, pack, unpack
from policies.runtime.latency import percentiles, shown
from sim.core.console import event
from sim.core.errors import UserError, reason

MAX_CLIENTS = 16
HEALTH = "/healthz"

_log = logging.getLogger(__name__)


class Session(Protocol):
    """What is kept for one client."""

    def infer(self, request: Any) -> dict[str, Any]:
        """Return the answer to a request. UserError when it is not understood."""
        ...


class PolicyServer:
    """Answers clients until it is closed. A client's faults end that client's connection, with one line."""

    def __init__(
        self, metadata: dict[str, Any], session: Callable[[], Session], host: str, port: int, token: str | None
    ):
        """session: called for every client. UserError when the port is taken or the address is not this machine's."""
        self._metadata, self._session, self._token = pack(metadata), session, token
        self._one_at_a_time = threading.Lock()
        self._seats = threading.BoundedSemaphore(MAX_CLIENTS)
        try:
            self._server: Server = serve(
                self._serve_client, host, port, compression=None, max_size=MAX_BYTES, process_request=self._admit,
                origins=[None],  # pages in a browser name theirs: a page of a stranger must not ask
            )  # fmt: skip
        except OSError as error:
            raise UserError(f"cannot listen on {host}:{port} ({error.strerror or error})") from error
        self.port: int = self._server.socket.getsockname()[1]

    def run(self) -> None:
        """Serve until `close`, or Ctrl-C."""
        with self._server:
            self._server.serve_forever()

    def close(self) -> None:
        self._server.shutdown()

    def _admit(self, connection: ServerConnection, request: websockets.Request) -> websockets.Response | None:
        """Return None for a client that may connect, else what it is told."""
        if request.path == HEALTH:
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        tokens = request.headers.get_all("Authorization")
        given = tokens[0] if len(tokens) == 1 else ""  # of several none is the client's
        if self._token and not hmac.compare_digest(given.encode(), authorization(self._token).encode()):
            return self._refuse(connection, http.HTTPStatus.UNAUTHORIZED, "the token is missing or wrong")
        versions = request.headers.get_all(HEADER)
        if versions not in ([], [str(PROTOCOL)]):  # openpi's clients know none
            line = f"the client speaks protocol {' and '.join(versions)[:20]}, this server {PROTOCOL}"
            return self._refuse(connection, http.HTTPStatus.BAD_REQUEST, line)
        return None

    def _refuse(self, connection: ServerConnection, status: http.HTTPStatus, why: str) -> websockets.Response:
        _log.warning("%s refused: %s", _name(connection), why)
        return connection.respond(status, why + "\n")

    def _serve_client(self, connection: ServerConnection) -> None:
        name = _name(connection)
        if not self._seats.acquire(blocking=False):
            _log.warning("%s refused: %d clients are connected", name, MAX_CLIENTS)
            connection.close(websockets.CloseCode.TRY_AGAIN_LATER, f"{MAX_CLIENTS} clients are connected")
            return
        _log.info("%s connected", name, extra=event("connected", client=name))
        decision_s: list[float] = []
        try:
            self._answer(connection, decision_s)
        except websockets.ConnectionClosedOK:
            _log_end(logging.INFO, name, "left", decision_s)
        except websockets.ConnectionClosed as error:
            faulty = error.rcvd or error.sent  # else it broke off, as a program that was killed does
            _log_end(logging.WARNING if faulty else logging.INFO, name, f"lost: {closed(error)}", decision_s)
        except UserError as error:
            _log_end(logging.WARNING, name, f"refused: {reason(error)}", decision_s)
            with contextlib.suppress(websockets.ConnectionClosed):  # it may have left meanwhile
                connection.send(reason(error))  # text, as openpi's server does of an error
                connection.close(websockets.CloseCode.UNSUPPORTED_DATA)
        finally:
            self._seats.release()

    def _answer(self, connection: ServerConnection, decision_s: list[float]) -> None:
        """Answer a client's requests until it leaves; the time of each decision is appended."""
        session = self._session()
        connection.send(self._metadata)
        while True:
            request = unpack(connection.recv())
            with self._one_at_a_time:
                begun = time.perf_counter()
                answer = session.infer(request)
                decision_s.append(time.perf_counter() - begun)
            connection.send(pack({**answer, "server_timing": {"infer_ms": decision_s[-1] * 1e3}}))


def _log_end(level: int, client: str, how: str, decision_s: list[float]) -> None:
    timing = f", {shown(decision_s)}" if decision_s else ""
    _log.log(
        level, "%s %s after %d decisions%s", client, how, len(decision_s), timing,
        extra=event("disconnected", client=client, decisions=len(decision_s), **percentiles(decision_s)),
    )  # fmt: skip


def _name(connection: ServerConnection) -> str:
    host, port, *_ = connection.remote_address
    return f"{host}:{port}"
