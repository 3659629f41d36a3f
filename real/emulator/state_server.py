"""The emulator's state ports: 20004 pushes to every client that connects, 20005 (CNDE) to those that ask for it."""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable

import numpy as np

from real.emulator.fault_injection import FaultInjector, RandomFaults
from real.emulator.lossy_line import LossyLine
from real.fairino import cnde, state_frame
from sim.core.errors import UserError

HALF_CYCLE_S = 0.004  # a frame leaves half a cycle early rather than a whole one late
SILENT = ("mute_state", "power_loss")


class StateClient:
    """One connection of port 20004; nothing is expected from the other side."""

    def __init__(self, connection: socket.socket, line: LossyLine, frame_bytes: int):
        self.connection, self.line = connection, line
        self.period_s: float | None = None  # None: as the port's
        self.due_s = 0.0
        self._frame_bytes = frame_bytes
        self._count = itertools.count()

    def receive(self) -> None:
        """Read what the client sent. OSError when it has gone."""
        with contextlib.suppress(BlockingIOError):
            data = self.connection.recv(65536)
            if not data:
                raise ConnectionResetError("closed")
            self.on_data(data)

    def on_data(self, data: bytes) -> None:
        """Ignore it: this port takes no requests."""

    def frame(self, values: dict) -> bytes:
        """Return a frame with the controller's present `values`; empty before the client has started the stream."""
        known = {name: values[name] for name in values if name in (state_frame.FRAME.names or ())}
        return state_frame.encode(known, next(self._count), self._frame_bytes)


class CndeClient(StateClient):
    """One connection of port 20005: configured, started and stopped by the client."""

    def __init__(self, connection: socket.socket, line: LossyLine):
        super().__init__(connection, line, 0)
        self._cutter = cnde.CndeStream()
        self._fields = cnde.layout(cnde.DEFAULT_RECIPE)
        self._started = False

    def on_data(self, data: bytes) -> None:
        for frame in self._cutter.feed(data):
            self._acknowledge(*self._serve(cnde.kind_of(frame), cnde.data_of(frame)))

    def frame(self, values: dict) -> bytes:
        if not self._started:
            return b""
        return cnde.frame(cnde.OUTPUT_DATA, cnde.encode(values, self._fields), next(self._count))

    def _serve(self, kind: int, data: bytes) -> tuple[int, str]:
        if kind == cnde.OUTPUT_CONFIG:
            return self._configure(data)
        if kind in (cnde.START, cnde.STOP):
            self._started = kind == cnde.START
            # The vendor's SDK takes one read for one frame: the first state leaves after the answer.
            self.due_s = time.monotonic() + 2 * HALF_CYCLE_S
            return cnde.ACK_OK, ""
        return cnde.ACK_ERROR, f"type {kind} is not served"

    def _configure(self, data: bytes) -> tuple[int, str]:
        if self._started:
            return cnde.ACK_ERROR, "stop first"
        try:
            names, period_ms = cnde.read_config(data)
            fields = cnde.layout(names)
        except (UserError, ValueError) as error:
            return cnde.ACK_ERROR, f"NOT_FOUND: {error}"
        if not cnde.MIN_PERIOD_MS <= period_ms <= cnde.MAX_PERIOD_MS or fields.itemsize > cnde.MAX_DATA_BYTES:
            return cnde.ACK_ERROR, f"period {period_ms} ms or {fields.itemsize} bytes are out of range"
        self._fields, self.period_s = fields, period_ms / 1000
        return cnde.ACK_OK, ",".join(cnde.TYPES[name] for name in names)

    def _acknowledge(self, code: int, text: str) -> None:
        self.connection.send(cnde.frame(cnde.MESSAGE, bytes((code,)) + text.encode(), next(self._count)))


class StateServer:
    """Sends from the emulator's own cycle; a client that does not read is dropped, never waited for."""

    def __init__(
        self, address: tuple[str, int], period_s: float, injector: FaultInjector,
        new_client: Callable[[socket.socket, LossyLine], StateClient], seed: int = 0,
    ):  # fmt: skip
        self.period_s = period_s
        self.lines: list[LossyLine] = []  # of every connection so far
        self._injector, self._new_client = injector, new_client
        self._rng = np.random.default_rng(seed)
        self._clients: list[StateClient] = []
        self._lock = threading.Lock()  # the bench port drops clients from a thread of its own
        self._listener = socket.create_server(address)
        self._listener.settimeout(0.0)
        self.address = self._listener.getsockname()

    def push(self, read_values: Callable[[], dict]) -> None:
        """Accept new clients, read their requests and send to each what is due."""
        if any(map(self._injector.amount, SILENT)):
            return
        with self._lock:
            self._accept()
            for client in list(self._clients):
                try:
                    self._serve(client, read_values)
                except OSError:
                    self._drop(client)

    def _serve(self, client: StateClient, read_values: Callable[[], dict]) -> None:
        client.receive()
        now, line = time.monotonic(), client.line
        if now >= client.due_s - HALF_CYCLE_S:
            values = read_values()
            if self._injector.amount("zeros") and line.faults.occurs("zeros"):
                values = {**values, "joint_deg": np.zeros_like(values["joint_deg"])}
            if frame := client.frame(values):
                client.due_s = max(client.due_s + (client.period_s or self.period_s), now)
                line.send(frame, now)
        for piece in line.due(now):
            if client.connection.send(piece.data) != len(piece.data):
                raise ConnectionError("the client does not read")
            line.whole += piece.ends

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # nobody asks, or who asked has gone again
            connection, _ = self._listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(0.0)
            line = LossyLine(RandomFaults(self._injector.amount, self._rng.spawn(1)[0]))
            self.lines.append(line)
            self._clients.append(self._new_client(connection, line))

    def _drop(self, client: StateClient) -> None:
        self._clients.remove(client)
        client.connection.close()

    def drop_clients(self) -> None:
        """Close every connection; clients may connect again."""
        with self._lock:
            for client in list(self._clients):
                self._drop(client)

    def close(self) -> None:
        self.drop_clients()
        self._listener.close()
