"""A policy behind openpi's protocol: our server under an independent client, what it refuses, and that it lives on."""

import dataclasses
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import msgpack
import numpy as np
import pytest
import torch
from fr3 import FR3
from learning import SIZE, TINY, about, tiny_model
from serving import HOST, PlainClient, from_bytes, running, served, tiny_decider, to_bytes
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from policies.language.minilm import FrozenText, MiniLmConfig
from policies.models import checkpoint
from policies.remote.server import MAX_CLIENTS, PolicyServer
from policies.remote.wire import MAX_BYTES, pack, unpack
from policies.runtime.decider import Decider
from policies.serve import ServeConfig
from policies.vision.efficientnet import EfficientNetConfig, FrozenVision
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.core.estimate import Estimate

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "abcdefgh12345678"
PROMPT = "put the red cube on the blue plate"
STATE = np.array([*FR3.home_rad, 1.0], np.float32)


def images(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {camera: rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8) for camera in FR3.camera_names}


def request(seed: int = 0, **changes) -> dict:
    shown = {f"observation/images/{camera}": image for camera, image in images(seed).items()}
    return {**shown, "observation/state": STATE, "prompt": PROMPT, **changes}


def without(key: str) -> dict:
    return {name: value for name, value in request().items() if name != key}


@pytest.fixture(scope="module")
def decider():
    return tiny_decider()


@pytest.fixture
def url(decider):
    with served(decider) as found:
        yield found


# ---- what is answered ------------------------------------------------------------------------------


def test_a_client_of_the_protocol_alone_gets_the_chunks_of_the_policy(url, decider):
    client = PlainClient(url)
    said = client.metadata["fr3_vla"]
    assert (said["protocol"], said["robot"], said["control_hz"]) == (2, FR3.name, 20)
    assert (said["chunk"], said["execute"], said["image_size"]) == (TINY.chunk, TINY.execute, list(SIZE))
    generator = torch.Generator().manual_seed(0)
    for look in range(3):
        answer = client.infer(request(look))
        expected = decider.decide(Observation(images(look), STATE, PROMPT, 0.0), STATE, [], generator).chunk
        np.testing.assert_array_equal(answer["actions"], expected)
        assert answer["actions"].dtype == np.float32
        assert 0 < answer["server_timing"]["infer_ms"] < 60_000


def test_every_client_has_noise_of_its_own(url):
    one, other = PlainClient(url), PlainClient(url)
    first = one.infer(request())["actions"]
    one.infer(request())
    np.testing.assert_array_equal(other.infer(request())["actions"], first)
    seeded = {**request(), "fr3_vla": {"seed": 7}}
    np.testing.assert_array_equal(one.infer(seeded)["actions"], other.infer(seeded)["actions"])


def test_chunks_are_the_only_arrays_of_an_answer(decider, monkeypatch):
    """openpi's ActionChunkBroker takes every array of an answer for one row a step: three of a point would end it."""
    decide, found = Decider.decide, [Estimate("object", np.array([-0.3, 0.1, 0.02]), 0.004)]
    monkeypatch.setattr(Decider, "decide", lambda *given: dataclasses.replace(decide(*given), estimates=found))
    with served(decider) as url:
        answer = PlainClient(url).infer(request())
    assert answer["fr3_vla"]["estimates"] == [{"name": "object", "pos_w": [-0.3, 0.1, 0.02], "within_m": 0.004}]
    assert [name for name, value in answer.items() if isinstance(value, np.ndarray)] == ["actions"]


def test_the_program_serves_until_it_is_interrupted(tmp_path):
    made = about(vision=FrozenVision().fingerprint, text=FrozenText().fingerprint)
    real = dataclasses.replace(TINY, vision=EfficientNetConfig(), language=MiniLmConfig())
    checkpoint.save(tmp_path, tiny_model(config=real), made)
    words = [sys.executable, "-m", "policies.serve", f"checkpoint={tmp_path}", "port=0"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout
        serving = program.stdout.readline()  # tables and lines are flushed one by one
        client = PlainClient(next(word for word in serving.split() if word.startswith("ws://")).rstrip(";"))
        assert client.infer(request())["actions"].any()
        program.send_signal(signal.SIGINT)
        with pytest.raises(ConnectionClosed):
            client.socket.recv(30)
        out, err = program.communicate(timeout=60)
    assert serving.startswith(f"serving {tmp_path} on ws://127.0.0.1:") and (program.returncode, err) == (0, "")
    assert out.splitlines()[0].endswith(" connected") and " after 1 decisions, decision p50 " in out.splitlines()[1]


def test_health_is_told_by_http(url):
    with urllib.request.urlopen(f"{url.replace('ws', 'http', 1)}/healthz", timeout=10) as answer:
        assert answer.read() == b"OK\n"


@pytest.mark.parametrize("name", ["|b1", "|u1", "<i2", ">i4", "<i8", "<f2", "<f4", ">f8"])
def test_an_array_survives_both_ways(name):
    array = np.arange(12).reshape(3, 4).astype(name)
    for message in (unpack(to_bytes({"x": array})), from_bytes(pack({"x": array}))):
        assert message["x"].dtype == array.dtype
        np.testing.assert_array_equal(message["x"], array)
    number = array.ravel()[5]
    assert unpack(pack({"x": number}))["x"] == number


@pytest.mark.slow
def test_the_published_client_is_served(url, decider):
    """`make test-openpi` lays openpi-client beside the tests; nothing of it is ours."""
    published = pytest.importorskip("openpi_client.websocket_client_policy")
    host, port = url.removeprefix("ws://").split(":")
    client = published.WebsocketClientPolicy(host, int(port))
    assert client.get_server_metadata()["fr3_vla"]["robot"] == FR3.name
    expected = PlainClient(url).infer(request())["actions"]
    np.testing.assert_array_equal(client.infer(request())["actions"], expected)
    with pytest.raises(RuntimeError, match="the request has no 'observation/state'"):
        client.infer(without("observation/state"))
    with served(decider, token=TOKEN) as guarded:
        host, port = guarded.removeprefix("ws://").split(":")
        assert published.WebsocketClientPolicy(host, int(port), api_key=TOKEN).infer(request())["actions"].any()


# ---- what is refused, with one line, while the server lives on ---------------------------------------


def hostile(field: str, value: object) -> bytes:
    whole = {b"__ndarray__": True, b"data": b"1234", b"dtype": "<f4", b"shape": (1,)}
    return to_bytes(request(**{"observation/state": {**whole, field.encode(): value}}))


REFUSED = {
    "text": ("hello", "text instead of a message: hello"),
    "no msgpack": (b"\xc1\xff\x00", "3 bytes that are no message of openpi's protocol"),
    "deep": (b"\x91" * 5000, "5000 bytes that are no message"),
    "a list": (to_bytes([1, 2]), "the request is a list, expected a map"),
    "no state": (without("observation/state"), "the request has no 'observation/state', expected float32"),
    "no image": (without("observation/images/wrist"), "the request has no 'observation/images/wrist', expected uint8"),
    "another size": (
        request(**{"observation/images/front": np.zeros((48, 32, 3), np.uint8)}),
        r"'observation/images/front' is uint8 of shape \(48, 32, 3\), expected .* of shape \(32, 32, 3\)",
    ),
    "floats": (request(**{"observation/images/front": np.zeros((32, 32, 3))}), "is float64 of shape .* uint8"),
    "seven joints": (request(**{"observation/state": np.zeros(8)}), r"of shape \(8,\), expected .* shape \(7,\)"),
    "nan": (request(**{"observation/state": STATE * np.nan}), "expected finite numbers"),
    "infinite as float32": (request(**{"observation/state": np.full(7, 1e39)}), "expected finite numbers"),
    "an int8 of 300": (
        msgpack.packb({b"__npgeneric__": True, b"data": 300, b"dtype": "|i1"}),
        "that are no message of openpi's protocol",
    ),
    "a number": (request(**{"observation/state": 3}), "'observation/state' is a int"),
    "no prompt": (without("prompt"), "the request has no 'prompt'"),
    "a long prompt": (request(prompt="x" * 3000), "up to 2000 letters"),
    "a seed": (request(fr3_vla={"seed": -1}), "the request's seed is -1, expected 0 to"),
    "a seed that is none": (request(fr3_vla={"seed": True}), "the request's seed is True, expected 0 to"),
    "under way": (request(fr3_vla={"under_way": np.zeros((2, 6))}), r"'under_way' is float64 of shape \(2, 6\)"),
    "objects": (hostile("dtype", "|O8"), "an array of '|O8'"),
    "records": (hostile("dtype", "f4,f4"), "an array of 'f4,f4'"),
    "a lying shape": (hostile("shape", (1 << 40, 1 << 40)), r"an array of shape \(1099511627776, 1099511627776\)"),
    "a negative shape": (hostile("shape", (-1, -1)), "no message"),
    "a shape of text": (hostile("shape", "ab"), "no message"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_understood_is_one_line_and_the_server_lives(url, name, caplog):
    sent, message = REFUSED[name]
    client = PlainClient(url)
    client.socket.send(to_bytes(sent) if isinstance(sent, dict) else sent)
    answer = client.socket.recv(30)
    assert isinstance(answer, str) and "\n" not in answer
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(answer)
    with pytest.raises(ConnectionClosed):
        client.socket.recv(30)
    assert PlainClient(url).infer(request())["actions"].any()
    assert sum("refused" in record.getMessage() for record in caplog.records) == 1
    assert not [record for record in caplog.records if record.exc_info]


def test_a_message_that_is_too_large_is_not_read(url, caplog):
    large = PlainClient(url)
    with pytest.raises(ConnectionClosed):
        large.infer(request(more=np.zeros(MAX_BYTES, np.uint8)))
    # A gigabyte announced by its header, of which nothing follows: refused at once, not waited for.
    announced = PlainClient(url)
    announced.socket.socket.sendall(bytes([0x82, 0xFF]) + (1 << 30).to_bytes(8, "big") + b"mask")
    with pytest.raises(ConnectionClosed) as caught:
        announced.socket.recv(30)
    assert caught.value.rcvd and caught.value.rcvd.code == 1009
    assert PlainClient(url).infer(request())["actions"].any()
    lines = [one.getMessage() for one in caplog.records if "larger than the 16 MiB" in one.getMessage()]
    assert len(lines) == 2


def test_a_client_that_says_nothing_or_breaks_off_is_let_go(url):
    host, port = url.removeprefix("ws://").split(":")
    for sent in (b"", b"\x00\xff garbage \r\n\r\n", b"GET / HTTP/1.1\r\n"):
        with socket.create_connection((host, int(port)), 5) as raw:
            raw.sendall(sent)
    gone = PlainClient(url)
    gone.socket.socket.close()
    assert PlainClient(url).infer(request())["actions"].any()


def test_more_clients_than_seats_are_turned_away(url):
    clients = [PlainClient(url) for _ in range(MAX_CLIENTS)]
    with pytest.raises(ConnectionClosed, match=f"{MAX_CLIENTS} clients are connected"):
        PlainClient(url)
    assert all(client.infer(request())["actions"].any() for client in clients)


def test_a_page_in_a_browser_may_not_connect(url):
    with pytest.raises(InvalidStatus, match="403"):
        PlainClient(url, Origin="http://evil.example")


def test_a_token_lets_in_and_nothing_else_does(decider, caplog):
    with served(decider, token=TOKEN) as url:
        assert PlainClient(url, Authorization=f"Api-Key {TOKEN}").infer(request())["actions"].any()
        for headers in ({}, {"Authorization": "Api-Key abcdefgh12345679"}, {"Authorization": TOKEN}):
            with pytest.raises(InvalidStatus, match="401"):
                PlainClient(url, **headers)
    assert TOKEN not in caplog.text


def test_another_protocol_is_refused(url, caplog):
    with pytest.raises(InvalidStatus, match="400"):
        PlainClient(url, **{"FR3-VLA-Protocol": "3"})
    assert "the client speaks protocol 3, this server 2" in caplog.text


@pytest.mark.parametrize(
    ("name", "status", "line"),
    [
        ("Authorization", 401, "the token is missing or wrong"),
        ("FR3-VLA-Protocol", 400, "the client speaks protocol 2 and 3, this server 2"),
    ],
)
def test_a_header_that_comes_twice_is_one_line(decider, caplog, name, status, line):
    sent = Headers({"Authorization": f"Api-Key {TOKEN}", "FR3-VLA-Protocol": "2"})
    sent[name] = "3"  # adds another
    with served(decider, token=TOKEN) as url, pytest.raises(InvalidStatus, match=str(status)):
        connect(url, additional_headers=sent, proxy=None)
    assert [record.getMessage().partition("refused: ")[2] for record in caplog.records] == [line]
    assert not [record for record in caplog.records if record.exc_info]


# ---- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": "0.0.0.0"}, "host=0.0.0.0 lets other machines in: give token=TEXT or set FR3_SERVER_TOKEN, 16"),
        ({"host": "10.0.0.7"}, "host=10.0.0.7 lets other machines in"),
        ({"host": "nosuchhost.invalid"}, "host=nosuchhost.invalid: cannot be resolved .*expected an address of this"),
        ({"host": "a" * 64 + ".de"}, "cannot be resolved"),
        ({"token": "short"}, r"token=\*\*\*\*\*, expected 16 or more letters and digits"),
        ({"token": "sixteen letters!"}, "expected 16 or more letters and digits"),
        ({"port": 70000}, "port=70000"),
        ({"indicator": "postive"}, "did you mean 'positive'"),
    ],
)
def test_wrong_options_are_one_line(options, message, monkeypatch):
    monkeypatch.delenv("FR3_SERVER_TOKEN", raising=False)
    with pytest.raises(UserError, match=message) as caught:
        ServeConfig(**options)
    assert "\n" not in str(caught.value)


def test_loopback_needs_no_token_and_the_environment_may_hold_one(monkeypatch):
    monkeypatch.delenv("FR3_SERVER_TOKEN", raising=False)
    assert [ServeConfig(host=host).secret for host in ("127.0.0.1", "127.3.0.1", "::1", "localhost")] == [None] * 4
    monkeypatch.setenv("FR3_SERVER_TOKEN", TOKEN)
    assert ServeConfig(host="0.0.0.0").secret == TOKEN
    assert ServeConfig(token=TOKEN.upper()).secret == TOKEN.upper()


def test_a_port_that_is_taken_is_one_line():
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot listen on {HOST}:{port} "):
            PolicyServer({}, dataclasses.dataclass, HOST, port, None)  # pyright: ignore[reportArgumentType]


def test_a_fault_of_the_policy_ends_one_connection():
    class Broken:
        def infer(self, request):
            raise ZeroDivisionError

    with running(PolicyServer({}, Broken, HOST, 0, None)) as url:
        for _ in range(2):
            with pytest.raises(ConnectionClosed):
                PlainClient(url).infer(request())


def test_a_client_that_left_before_it_was_refused_leaves_one_line(caplog):
    left, before = threading.Event(), threading.enumerate()

    class Refusing:
        def infer(self, request):
            left.wait(20)
            raise UserError("not understood")

    with running(PolicyServer({}, Refusing, HOST, 0, None)) as url:
        client = PlainClient(url)
        client.socket.send(to_bytes(request()))
        client.socket.close()
        left.set()
    for thread in set(threading.enumerate()) - set(before):  # the connection's, which logs
        thread.join(20)
    assert sum("refused: not understood" in record.getMessage() for record in caplog.records) == 1
    assert not [record for record in caplog.records if record.exc_info]
