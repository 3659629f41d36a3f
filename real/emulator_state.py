"""The emulator's state port: pushes a frame to everyone who connected, unasked."""

import contextlib
import socket
import time


class StateServer:
    """Sends from the emulator's own cycle; a client that does not read is dropped, never waited for."""

    def __init__(self, address: tuple[str, int], period_s: float):
        self.period_s = period_s
        self.muted = False  # connected but silent, for rehearsing a dead link
        self._due_s = 0.0
        self._clients: list[socket.socket] = []
        self._listener = socket.create_server(address)
        self._listener.settimeout(0.0)
        self.address = self._listener.getsockname()

    def push(self, make_frame) -> None:
        """Accept who waits; when the period is over, send `make_frame()` to each in one piece."""
        self._accept()
        now = time.monotonic()
        # Half a cycle early rather than a whole one late.
        if self.muted or not self._clients or now < self._due_s - 0.004:
            return
        self._due_s = max(self._due_s + self.period_s, now)
        frame = make_frame()
        for client in list(self._clients):
            try:
                whole = client.send(frame) == len(frame)
            except OSError:
                whole = False
            if not whole:
                self._drop(client)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            client, _ = self._listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.settimeout(0.0)
            self._clients.append(client)

    def _drop(self, client: socket.socket) -> None:
        self._clients.remove(client)
        client.close()

    def drop_clients(self) -> None:
        """Hang up on everyone; they may come again."""
        for client in list(self._clients):
            self._drop(client)

    def close(self) -> None:
        self.drop_clients()
        self._listener.close()
