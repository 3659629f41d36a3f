"""One call to what is no controller, or a bad one: an error within the deadline."""

import socket
import threading
import time

import pytest
from running import HOST
from waiting import PATIENCE_S

from real.core.faults import RobotUnreachable
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
