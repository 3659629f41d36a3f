"""The two ports of the controller's state, behind one interface."""

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from real.fairino import cnde, state_frame
from real.fairino.controller_state import ControllerState
from real.fairino.framing import FrameCutter
from real.fairino.protocol import CNDE_PORT, LEGACY_PORT

CONNECT_S = 0.5
PERIOD_MS = 8
ANSWER_S = 0.5


@dataclass
class Connection:
    """One open connection: the parser of its frames, and the reader of the state in one (None: not a state)."""

    connection: socket.socket
    cutter: FrameCutter
    read: Callable[[bytes, float], ControllerState | None]
    first: list[bytes]  # frames that came while the connection was set up


class StatePort(Protocol):
    """name: for messages. `open` raises OSError when the controller does not offer it."""

    name: str
    address: tuple[str, int]

    def open(self) -> Connection: ...


class LegacyPort:
    """Port 20004: sends as soon as it is connected."""

    name = "20004 (legacy frames)"

    def __init__(self, ip: str, port: int = LEGACY_PORT):
        self.address = (ip, port)

    def open(self) -> Connection:
        connection = socket.create_connection(self.address, CONNECT_S)
        return Connection(connection, state_frame.FrameStream(), state_frame.parse, [])


class CndePort:
    """Port 20005: is configured and started by the client."""

    name = "20005 (CNDE)"

    def __init__(self, ip: str, port: int = CNDE_PORT):
        self.address = (ip, port)
        self._fields = cnde.layout(cnde.RECIPE)

    def open(self) -> Connection:
        connection = socket.create_connection(self.address, CONNECT_S)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            cutter = cnde.CndeStream(self._fields.itemsize)
            connection.sendall(cnde.frame(cnde.OUTPUT_CONFIG, cnde.config_data(cnde.RECIPE, PERIOD_MS)))
            self._expect_ok(connection, cutter)
            connection.sendall(cnde.frame(cnde.START, count=1))
            first = self._expect_ok(connection, cutter)
        except OSError:
            connection.close()
            raise
        return Connection(connection, cutter, self._read, first)

    def _expect_ok(self, connection: socket.socket, cutter: cnde.CndeStream) -> list[bytes]:
        """Return the frames after the acknowledgement. OSError when the controller refuses or does not answer."""
        for frames in _received(connection, cutter):
            for at, frame in enumerate(frames):
                if cnde.kind_of(frame) == cnde.OUTPUT_DATA:
                    return frames[at:]  # some controllers start to send without acknowledging
                if cnde.kind_of(frame) == cnde.MESSAGE:
                    self._raise_refusal(cnde.data_of(frame))
                    return frames[at + 1 :]
        raise TimeoutError(f"{self.name} does not acknowledge")

    def _raise_refusal(self, answer: bytes) -> None:
        if answer[:1] != bytes((cnde.ACK_OK,)):
            raise ConnectionRefusedError(f"{self.name}: {answer[1:].decode(errors='replace') or 'refused'}")

    def _read(self, frame: bytes, stamp_s: float) -> ControllerState | None:
        if cnde.kind_of(frame) != cnde.OUTPUT_DATA:
            return None
        return cnde.parse(cnde.data_of(frame), self._fields, stamp_s)


def _received(connection: socket.socket, cutter: FrameCutter) -> Iterator[list[bytes]]:
    """Yield what arrives within ANSWER_S, cut into frames."""
    ends_s = time.monotonic() + ANSWER_S
    while (remaining_s := ends_s - time.monotonic()) > 0:
        connection.settimeout(remaining_s)
        data = connection.recv(65536)
        if not data:
            raise ConnectionResetError("closed")
        yield cutter.feed(data)
