"""A connection to a server of openpi's protocol."""

import atexit
import socket
import time
from typing import Any

import websockets
from websockets.sync.client import connect

from policies.remote.protocol import HEADER, PROTOCOL
from policies.remote.token import authorization, sent_token
from policies.remote.wire import MAX_BYTES, closed, last_line, pack, unpack
from sim.core.contract import MAX_DECISION_S
from sim.core.errors import UserError, reason

CONNECT_S, CLOSE_S = 10.0, 1.0
FIRST_ANSWER_S = 180.0  # openpi's servers compile their network at the first request
ANSWER_S = MAX_DECISION_S  # the arm is held that long at most
START = "start one there: python -m policies.serve checkpoint=CKPT"


class ServerConnection:
    """One client of one server. Every failure is a UserError that names the server, and ends the connection."""

    def __init__(self, url: str):
        """Connect. The token is that of the environment variable FR3_SERVER_TOKEN, where there is one."""
        self.url = url
        token = sent_token()
        headers = {HEADER: str(PROTOCOL), **({"Authorization": authorization(token)} if token else {})}
        try:
            self._socket = connect(
                url, compression=None, max_size=MAX_BYTES, open_timeout=CONNECT_S, proxy=None,
                additional_headers=headers, ping_interval=None, close_timeout=CLOSE_S,
            )  # fmt: skip
        except (OSError, TimeoutError) as error:
            raise UserError(f"server={url} does not answer ({reason(error)}); {START}") from error
        except (websockets.InvalidURI, ValueError) as error:  # ValueError: a port or a name that there cannot be
            raise UserError(f"server={url}, expected ws://HOST:PORT or wss://HOST:PORT") from error
        except websockets.InvalidStatus as error:
            raise UserError(f"server={url} refuses: {_refusal(error.response)}") from error
        except (websockets.InvalidHandshake, EOFError) as error:
            raise UserError(f"server={url} is no websocket server ({reason(error)})") from error
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; `send` itself waits for a peer that takes no bytes for good
            self._socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * ANSWER_S))
        atexit.register(self.close)  # the server then sees a client leave, not a line break
        self._answer_s = FIRST_ANSWER_S
        self.metadata: Any = unpack_from(url, self._receive(CONNECT_S))

    def infer(self, request: dict[str, Any]) -> tuple[dict[str, Any], float]:
        """Send an observation; return the answer and how long it took, s."""
        begun = time.perf_counter()
        try:
            self._socket.send(pack(request))
        except websockets.ConnectionClosed as error:
            raise UserError(f"server={self.url} is lost: {closed(error)}") from error
        answer = self._receive(self._answer_s)
        self._answer_s = ANSWER_S
        if isinstance(answer, str):
            self.close()
            raise UserError(f"server={self.url} cannot decide: {last_line(answer)}")
        message = unpack_from(self.url, answer)
        if not isinstance(message, dict):
            raise UserError(f"server={self.url} answered with a {type(message).__name__}, expected a map")
        return message, time.perf_counter() - begun

    def close(self) -> None:
        self._socket.close()

    def _receive(self, timeout_s: float) -> str | bytes:
        try:
            return self._socket.recv(timeout_s)
        except TimeoutError as error:
            self.close()
            raise UserError(f"server={self.url} is lost: no answer for {timeout_s:g} s") from error
        except websockets.ConnectionClosed as error:
            raise UserError(f"server={self.url} is lost: {closed(error)}") from error


def unpack_from(url: str, data: bytes | str) -> Any:
    """Return a server's message. UserError that names the server."""
    try:
        return unpack(data)
    except UserError as error:
        raise UserError(f"server={url} sent {error}") from error


def _refusal(response: websockets.Response) -> str:
    said = last_line(response.body.decode(errors="replace")) if response.body else response.reason_phrase
    return f"{response.status_code}, {said}"
