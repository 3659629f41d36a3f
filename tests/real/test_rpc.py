"""One call to what is no controller, or a bad one: an error within the deadline."""

import select
import socket
import struct
import threading
import time

import pytest
from running import HOST
from waiting import PATIENCE_S, wait_for

from real.core.faults import RobotUnreachable
from real.fairino.driver import FairinoDriver
from real.fairino.ports import address_of
from real.fairino.xmlrpc import RpcLink


@pytest.mark.parametrize(
    "begin",
    [b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 100000\r\n\r\n<", b"HTTP/1.1 200 OK\r\nDate:", b""],
)
def test_a_dripping_answer_does_not_stretch_the_deadline(begin):
    """Body, headers or status line, byte by byte."""

    def drip(server):
        client, _ = server.accept()
        client.sendall(begin)
        try:
            while True:
                client.sendall(b" ")
                time.sleep(0.02)
        except OSError:
            client.close()

    with socket.create_server((HOST, 0)) as server:
        threading.Thread(target=drip, args=(server,), daemon=True).start()
        link = RpcLink(server.getsockname(), 0.3)
        begin_s = time.monotonic()
        with pytest.raises(RobotUnreachable, match=r"did not answer GetControllerIP within 0.3 s"):
            link("GetControllerIP")
        assert time.monotonic() - begin_s < PATIENCE_S


@pytest.mark.parametrize(
    "value", ["<int>1x</int>", "<double>abc</double>", "<boolean>2</boolean>", "<base64>a</base64>"]
)
def test_an_answer_with_a_value_that_is_none_is_one_error(value):
    body = f"<methodResponse><params><param><value>{value}</value></param></params></methodResponse>"

    def answer(server):
        client, _ = server.accept()
        client.recv(4096)
        client.sendall(
            f"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )

    with socket.create_server((HOST, 0)) as server:
        threading.Thread(target=answer, args=(server,), daemon=True).start()
        with pytest.raises(RobotUnreachable, match="something other than XML-RPC"):
            RpcLink(server.getsockname(), PATIENCE_S)("GetControllerIP")


def test_a_web_server_that_is_no_controller_is_one_error():
    def answer(server):
        client, _ = server.accept()
        client.recv(4096)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        client.close()

    with socket.create_server((HOST, 0)) as server:
        threading.Thread(target=answer, args=(server,), daemon=True).start()
        with pytest.raises(RobotUnreachable, match="something other than XML-RPC"):
            RpcLink(server.getsockname(), PATIENCE_S)("GetControllerIP")


@pytest.mark.parametrize("ip", ["192.168..2", "x" * 70])
def test_an_address_that_is_none_is_one_error(ip):
    with pytest.raises(RobotUnreachable, match="check its power and the address"):
        RpcLink((ip, 20003), PATIENCE_S)("GetControllerIP")


ANSWER = b"<methodResponse><params><param><value><int>0</int></value></param></params></methodResponse>"


def serving(answers: list[bool]) -> tuple[socket.socket, list[bytes]]:
    """Return a server and what it is sent, a request a connection: answered and the connection ended, or reset."""
    server, requests = socket.create_server((HOST, 0)), []

    def serve() -> None:
        for answered in answers:
            try:
                client, _ = server.accept()
            except OSError:  # the test has ended
                return
            requests.append(client.recv(65536))
            if answered:
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER))
            else:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()

    threading.Thread(target=serve, daemon=True).start()
    return server, requests


def test_a_command_whose_connection_is_reset_is_not_sent_again():
    """A stop may have come between."""
    server, requests = serving([False, True])
    with server, pytest.raises(RobotUnreachable, match="does not answer"):
        RpcLink(server.getsockname(), PATIENCE_S)("MoveGripper", 1, 0)
    assert len(requests) == 1


def test_a_connection_that_ended_between_two_calls_is_made_anew():
    server, requests = serving([True, True])
    with server:
        link = RpcLink(server.getsockname(), PATIENCE_S)
        assert link("GetControllerIP") == 0
        wait_for(lambda: select.select([link._transport._connection[1].sock], [], [], 0)[0])
        assert link("GetControllerIP") == 0
    assert len(requests) == 2


def test_the_name_of_a_controller_is_looked_up_once_and_one_that_is_none_is_one_error():
    with pytest.raises(RobotUnreachable, match=r"the controller at 192\.168\.\.2 has no address .*check robot\.ip"):
        FairinoDriver("192.168..2")
    assert address_of("localhost") == "127.0.0.1"
