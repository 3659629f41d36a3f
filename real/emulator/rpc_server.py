"""The emulator's XML-RPC server: argument counts and faults as the controller's, and bad lines on demand."""

import time
import xmlrpc.client
from collections.abc import Callable
from socketserver import ThreadingMixIn
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

import numpy as np

from real.emulator.accidents import Accidents, Chance
from real.fairino.xmlrpc import UNKNOWN_METHOD, WRONG_ARITY

DARK_POLL_S = 0.05
NO_XML = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 9\r\n\r\n<methodRe"


class Dispatcher:
    """Methods by wire name, each with the number of arguments it takes on this release."""

    def __init__(self, table: dict[str, tuple[int, Callable]]):
        self._table = table

    def _dispatch(self, method: str, params: tuple):
        """Called by the server for every request."""
        if method not in self._table:
            raise xmlrpc.client.Fault(UNKNOWN_METHOD, f"unknown method {method}")
        count, function = self._table[method]
        if len(params) != count:
            raise xmlrpc.client.Fault(WRONG_ARITY, f"{method} takes {count} arguments, got {len(params)}")
        return function(*params)


class _Handler(SimpleXMLRPCRequestHandler):
    rpc_paths = ("/RPC2", "/")
    protocol_version = "HTTP/1.1"  # keeps the connection
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        server: RpcServer = self.server  # pyright: ignore[reportAssignmentType]
        if server.chance.amount("power_loss"):
            while server.chance.amount("power_loss"):
                time.sleep(DARK_POLL_S)
            self.close_connection = True  # after the power came back nobody knows this connection
            return
        if slow_s := server.chance.amount("slow_rpc"):
            server.chance.count("slow_rpc")
            time.sleep(slow_s)
        if server.chance.happens("dead_rpc"):
            self.close_connection = True
        elif server.chance.happens("garbled_rpc"):
            self.wfile.write(NO_XML)
            self.close_connection = True
        else:
            super().do_POST()


class RpcServer(ThreadingMixIn, SimpleXMLRPCServer):
    """A thread a connection; a blocked ServoJ holds up nobody else."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], table: dict[str, tuple[int, Callable]], accidents: Accidents):
        self.chance = Chance(accidents.amount, np.random.default_rng(0))
        super().__init__(address, requestHandler=_Handler, logRequests=False)
        self.register_instance(Dispatcher(table))

    def handle_error(self, request, client_address) -> None:
        """A client that hung up is no news."""
