"""XML-RPC to the controller with a deadline on every call.

The vendor's SDK loops forever on a dead socket; this does not. Never introspects:
`system.listMethods` has been seen to wedge a controller.
"""

import http.client
import select
import socket
import threading
import time
import xmlrpc.client
from collections.abc import Callable
from typing import cast
from xml.parsers.expat import ExpatError

from real.core.faults import RobotUnreachable
from real.fairino.fault_codes import UNKNOWN_METHOD, WRONG_ARITY, ControllerFault


class _DeadlineSocket(socket.socket):
    """A connected socket whose every wait ends after `remaining_s()`, which raises TimeoutError when it is over."""

    def __init__(self, connected: socket.socket, remaining_s: Callable[[], float]):
        super().__init__(fileno=connected.detach())
        self._remaining_s = remaining_s

    def sendall(self, *args) -> None:
        self.settimeout(self._remaining_s())
        super().sendall(*args)

    def recv_into(self, *args) -> int:
        self.settimeout(self._remaining_s())
        return super().recv_into(*args)


class _DeadlineConnection(http.client.HTTPConnection):
    """An HTTP connection that waits for no byte, of headers neither, longer than `remaining_s()`."""

    def __init__(self, host: str, remaining_s: Callable[[], float]):
        super().__init__(host)
        self._remaining_s = remaining_s

    def connect(self) -> None:
        self.timeout = self._remaining_s()
        super().connect()
        self.sock = _DeadlineSocket(self.sock, self._remaining_s)


class _DeadlineTransport(xmlrpc.client.Transport):
    """A kept-alive connection whose every wait ends when the call's time is over."""

    accept_gzip_encoding = False

    def __init__(self) -> None:
        super().__init__()
        self.ends_s = 0.0  # monotonic
        self.sent_s = 0.0  # monotonic, when the last request was handed to the network

    def _remaining_s(self) -> float:
        remaining = self.ends_s - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("deadline")
        return remaining

    def request(self, host, handler, request_body, verbose=False):  # noqa: FBT002 (xmlrpc's signature)
        """Send once. Python's own sends again after a reset: a motion, where a stop may have come between."""
        return self.single_request(host, handler, request_body, verbose)

    def make_connection(self, host) -> http.client.HTTPConnection:
        if self._connection[1] is None:
            self._connection = host, _DeadlineConnection(cast(str, host), self._remaining_s)
        connection = cast(_DeadlineConnection, self._connection[1])
        # Between two calls nothing is due: what can be read is the end of the connection, and another is made.
        if connection.sock is not None and select.select([connection.sock], [], [], 0)[0]:
            connection.close()
        return connection

    def send_content(self, connection: http.client.HTTPConnection, request_body) -> None:
        super().send_content(connection, request_body)
        self.sent_s = time.monotonic()

    def parse_response(self, response: http.client.HTTPResponse) -> tuple:
        with response:
            data = response.read()
        parser, unmarshaller = self.getparser()
        try:
            parser.feed(data)
            parser.close()
            return unmarshaller.close()
        # Python's parser passes on errors of int(), float() and its own bookkeeping for a malformed answer.
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise xmlrpc.client.ResponseError(f"{type(error).__name__}: {error}") from error


class RpcLink:
    """One connection to the controller, for one thread at a time; others wait.

    address: for messages and the connection, (ip, port). deadline_s: for each whole call.
    """

    def __init__(self, address: tuple[str, int], deadline_s: float):
        self.address = address
        self.deadline_s = deadline_s
        self.slowest_s = 0.0  # of all calls so far, answered or not
        self._lock = threading.Lock()
        self._transport = _DeadlineTransport()
        self._proxy = xmlrpc.client.ServerProxy(
            f"http://{address[0]}:{address[1]}/RPC2", transport=self._transport, allow_none=True
        )

    @property
    def sent_s(self) -> float:
        """When the last request left this program, monotonic."""
        return self._transport.sent_s

    def __call__(self, method: str, *args):
        """Return the raw answer of `method`.

        Raises RobotUnreachable when no answer came in time, RobotFault when the controller's release
        does not know the method or its arguments.
        """
        begin_s = time.monotonic()
        if not self._lock.acquire(timeout=self.deadline_s):
            raise RobotUnreachable(f"{self._name()} is busy with another call; {method} was not sent")
        try:
            self._transport.ends_s = begin_s + self.deadline_s
            return getattr(self._proxy, method)(*args)
        except xmlrpc.client.Fault as fault:
            raise ControllerFault(self._explain(method, len(args), fault)) from fault
        except (xmlrpc.client.Error, ExpatError) as error:
            raise RobotUnreachable(
                f"{self._name()} answered {method} with something other than XML-RPC: {error}"
            ) from error
        except (OSError, UnicodeError, http.client.HTTPException) as error:  # the second: an address that is none
            self._transport.close()
            raise RobotUnreachable(self._silence(method, error)) from error
        finally:
            self.slowest_s = max(self.slowest_s, time.monotonic() - begin_s)
            self._lock.release()

    def act(self, method: str, *args) -> None:
        """Call an action method. RobotFault with the controller's code when it refuses."""
        answer = self(method, *args)
        code = answer[0] if isinstance(answer, list) and answer else answer
        if not isinstance(code, int):
            raise ControllerFault(f"{method} answered {answer!r}, expected an error code")
        if code:
            raise ControllerFault(f"{method} refused", code)

    def query(self, method: str, *args, least: int = 0) -> list:
        """Return the values of a query method, without the leading error code. RobotFault for fewer than `least`."""
        answer = self(method, *args)
        if isinstance(answer, int):
            raise ControllerFault(f"{method} refused", answer)
        if not isinstance(answer, list) or not answer:
            raise ControllerFault(f"{method} answered {answer!r}, expected [code, value, ...]")
        if answer[0]:
            raise ControllerFault(f"{method} refused", answer[0])
        if len(answer) <= least:
            raise ControllerFault(f"{method} answered {answer!r}, expected a code and {least} values")
        return answer[1:]

    def close(self) -> None:
        self._transport.close()

    def _name(self) -> str:
        return f"the controller at {self.address[0]}:{self.address[1]}"

    def _silence(self, method: str, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"{self._name()} did not answer {method} within {self.deadline_s:g} s; is the network cable in?"
        return f"{self._name()} does not answer ({error}); check its power and the address (robot.ip=...)"

    def _explain(self, method: str, given: int, fault: xmlrpc.client.Fault) -> str:
        known = {
            UNKNOWN_METHOD: f"{method} does not exist on this controller's release",
            WRONG_ARITY: f"{method} does not take {given} arguments on this controller's release",
        }
        return f"{known.get(fault.faultCode, f'{method} failed')} ({fault.faultCode}: {fault.faultString})"
