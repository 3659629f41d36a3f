"""The emulator's XML-RPC server: argument counts and faults as the controller's, and injected faults of its answers."""

import time
import xmlrpc.client
from socketserver import ThreadingMixIn
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

import numpy as np

from real.emulator.fault_injection import FaultInjector, RandomFaults
from real.emulator.method_table import Table
from real.emulator.vendor_methods import NOT_SERVED
from real.fairino.fault_codes import UNKNOWN_METHOD, WRONG_ARITY

POWER_POLL_S = 0.05
TRUNCATED_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 9\r\n\r\n<methodRe"


class Dispatcher:
    """Methods by wire name, each with the number of arguments that it takes on this release."""

    def __init__(self, table: Table):
        self._table = table

    def _dispatch(self, method: str, params: tuple) -> object:
        """Answer one request; called by the server."""
        if method not in self._table:
            known = "not served by this emulator" if method in NOT_SERVED else "unknown method"
            raise xmlrpc.client.Fault(UNKNOWN_METHOD, f"{known}: {method}")
        entry = self._table[method]
        if len(params) != entry.arguments:
            raise xmlrpc.client.Fault(WRONG_ARITY, f"{method} takes {entry.arguments} arguments, got {len(params)}")
        return entry(*params)


class _Handler(SimpleXMLRPCRequestHandler):
    rpc_paths = ("/RPC2", "/")
    protocol_version = "HTTP/1.1"  # keeps the connection
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        server: RpcServer = self.server  # pyright: ignore[reportAssignmentType]
        if server.faults.amount("power_loss"):
            while server.faults.amount("power_loss"):
                time.sleep(POWER_POLL_S)
            self.close_connection = True  # connections do not survive a loss of power
            return
        if slow_s := server.faults.amount("slow_rpc"):
            server.faults.count("slow_rpc")
            time.sleep(slow_s)
        if server.faults.occurs("dead_rpc"):
            self.close_connection = True
        elif server.faults.occurs("garbled_rpc"):
            self.wfile.write(TRUNCATED_ANSWER)
            self.close_connection = True
        else:
            super().do_POST()


class RpcServer(ThreadingMixIn, SimpleXMLRPCServer):
    """One thread per connection: a ServoJ that blocks delays no other client."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], table: Table, injector: FaultInjector):
        self.faults = RandomFaults(injector.amount, np.random.default_rng(0))
        super().__init__(address, requestHandler=_Handler, logRequests=False)
        self.register_instance(Dispatcher(table))

    def handle_error(self, request, client_address) -> None:
        """Ignore a client that hung up."""
