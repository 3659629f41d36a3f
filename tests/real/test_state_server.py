"""The emulator's state port under two threads: its cycle sends while the bench port drops the clients."""

import contextlib
import socket
import threading
import time

import numpy as np

from real.emulator.fault_injection import FaultInjector
from real.emulator.state_server import StateClient, StateServer
from real.fairino.state_frame import FRAME_BYTES


def test_clients_dropped_while_a_frame_is_made_do_not_end_the_cycle():
    server = StateServer(
        ("127.0.0.1", 0), 0.008, FaultInjector({}), lambda connection, line: StateClient(connection, line, FRAME_BYTES)
    )
    dropping = threading.Thread(target=server.drop_clients, daemon=True)

    def read_values() -> dict:
        dropping.start()
        dropping.join(0.2)  # longer than it needs, were it not to wait
        return {"joint_deg": np.zeros(6)}

    with contextlib.closing(server), socket.create_connection(server.address, 5) as client:
        while not dropping.ident:  # until the connection has been accepted
            server.push(read_values)
            time.sleep(0.001)
        dropping.join(5)
        client.settimeout(5)
        received = b"".join(iter(lambda: client.recv(4096), b""))
        assert len(received) == FRAME_BYTES  # the frame under way came whole, then the stream ended
