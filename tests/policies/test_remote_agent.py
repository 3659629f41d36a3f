"""Our client: the same actions as the policy itself, foreign servers of openpi's protocol, and every way to fail."""

import dataclasses
import json
import re
import socket
import threading
import time

import numpy as np
import pytest
from fr3 import FR3
from learning import SIZE, TINY, about, tiny_model
from serving import HOST, plain_server, served, tiny_decider
from websockets.server import ServerProtocol
from websockets.sync.server import serve

from policies import evaluate
from policies.evaluate import EvaluateConfig
from policies.models import checkpoint
from policies.remote import client
from policies.remote.keys import ServerKeys
from policies.remote.policy_session import metadata_of
from policies.remote.remote_agent import connect_agent
from policies.runtime.agent import PolicyAgent
from policies.runtime.chunk_agent import ChunkAgent, Timing
from policies.runtime.decider import Decider
from sim.core.config import load_group
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.robots.robot import RobotConfig
from sim.scene.build import RenderConfig

PROMPT = "put the red cube on the blue plate"
JOINED = dataclasses.replace(TINY, head=dataclasses.replace(TINY.head, joins=True))
AVERAGING = dataclasses.replace(TINY, ensemble=0.01)
DROID = load_group("server_keys", "droid", ServerKeys)
FRANKA = RobotConfig("franka", control_hz=15).load()


def look(step: int, robot=FR3, size=SIZE) -> Observation:
    rng = np.random.default_rng(step)
    images = {camera: rng.integers(0, 255, (*size, 3), dtype=np.uint8) for camera in robot.camera_names}
    state = np.array([*robot.home_rad, 0.8], np.float32) + np.float32(0.01 * step)
    return Observation(images, state, PROMPT, 0.05 * step)


def play(agent: ChunkAgent, seed: int, steps: int = 8) -> np.ndarray:
    agent.reset(look(0), seed)
    actions = []
    for step in range(steps):
        actions.append(agent.act(look(step)))
        agent.note_executed(actions[-1] - np.float32(0.001))
    return np.array(actions)


def refused(url: str, message: str, robot=FR3, keys: ServerKeys | None = None) -> None:
    def first_action() -> None:
        agent = connect_agent(url, robot, keys or ServerKeys(), Timing())
        agent.reset(look(0, robot), 0)
        agent.act(look(0, robot, agent.image_size))

    with pytest.raises(UserError, match=message) as caught:
        first_action()
    assert "\n" not in str(caught.value) and f"server={url}" in str(caught.value)


# ---- a server of ours ------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [TINY, JOINED, AVERAGING], ids=["apart", "joined", "averaging"])
@pytest.mark.parametrize("timing", [Timing(), Timing(execute=1, inference_delay_s=0.05), Timing(ensemble=0.01)])
def test_it_plays_what_the_policy_plays(config, timing):
    decider = tiny_decider(config=config)
    local = PolicyAgent(decider, timing)
    with served(decider) as url:
        remote = connect_agent(url, FR3, ServerKeys(), timing)
        for seed in (3, 4, 3):
            np.testing.assert_array_equal(play(remote, seed), play(local, seed))
        assert (remote.image_size, remote.cameras, remote.chunks) == (local.image_size, local.cameras, local.chunks)
        assert len(remote.server_s) == len(remote.decision_s) == len(local.decision_s)
        assert all(0 < inner < outer for inner, outer in zip(remote.server_s, remote.decision_s, strict=True))


def test_looks_that_a_served_policy_remembers_are_as_far_apart_as_in_training():
    with served(tiny_decider(config=dataclasses.replace(TINY, memory=3, execute=2))) as url:
        with pytest.raises(UserError, match="execute=1: expected 2, the steps between the looks"):
            connect_agent(url, FR3, ServerKeys(), Timing(ensemble=0.01))
        assert connect_agent(url, FR3, ServerKeys(), Timing()).chunks.memory == 3


def test_what_a_served_policy_names_of_its_task_is_kept(monkeypatch):
    decider, decide = tiny_decider(), Decider.decide
    monkeypatch.setattr(
        Decider, "decide", lambda *given: dataclasses.replace(decide(*given), subtask=f"to {given[1].state[0]:.2f}")
    )
    with served(decider) as url:
        agent = connect_agent(url, FR3, ServerKeys(), Timing())
        play(agent, 3)
    looks = range(0, 8, TINY.execute)
    assert agent.subtasks == [f"to {look(step).state[0]:.2f}" for step in looks]


class Rendered(dict):
    """Images that note when they are looked at."""

    looked_at: set[int] = set()

    def __init__(self, step: int):
        super().__init__(look(step).images)
        self.step = step

    def __getitem__(self, camera: str) -> np.ndarray:
        self.looked_at.add(self.step)
        return super().__getitem__(camera)


@pytest.mark.parametrize("delay_s", [0.0, 0.05])
def test_a_policy_of_several_looks_is_sent_those_of_the_steps_before(delay_s):
    said = dataclasses.replace(metadata_of(tiny_decider(), about(), ""), looks=3).message()
    asked: list[list[int]] = []

    def decide(request: dict) -> dict:
        shown = [*request["fr3_vla"].get("before", []), request]
        images = [one["observation/images/front"].tobytes() for one in shown]
        asked.append(
            [next(step for step in range(12) if look(step).images["front"].tobytes() == one) for one in images]
        )
        assert all(
            one["observation/state"][0] == look(step).state[0] for one, step in zip(shown, asked[-1], strict=True)
        )
        return {"actions": np.tile(request["observation/state"], (TINY.chunk, 1))}

    with plain_server(decide, said) as url:
        agent = connect_agent(
            url, FR3, ServerKeys(), Timing(execute=4 if not delay_s else 3, inference_delay_s=delay_s)
        )
        for _ in range(2):  # an episode forgets those of the one before
            asked.clear()
            Rendered.looked_at.clear()
            agent.reset(look(0), 3)
            for step in range(9):
                agent.act(dataclasses.replace(look(step), images=Rendered(step)))
            expected = [[0], [2, 3, 4], [6, 7, 8]] if not delay_s else [[0], [1, 2, 3], [4, 5, 6]]
            assert asked == expected
            assert Rendered.looked_at >= {step for steps in expected for step in steps}
            assert delay_s or Rendered.looked_at == {0, 2, 3, 4, 6, 7, 8}  # others need not be rendered


@pytest.mark.parametrize(
    "estimates",
    [
        [{"name": "object", "pos_w": [0.1, 0.2, 0.3]}],
        [{"name": "object", "pos_w": [0.1, 0.2], "within_m": 0.01}],
        [{"name": "object", "pos_w": [0.1, 0.2, 0.3], "within_m": float("nan")}],
        ["object"],
        7,
    ],
)
def test_estimates_that_are_no_points_are_one_line(estimates):
    said = metadata_of(tiny_decider(), about(), "").message()

    def decide(request: dict) -> dict:
        chunk = np.tile(request["observation/state"], (TINY.chunk, 1))
        return {"actions": chunk, "fr3_vla": {"estimates": estimates}, "server_timing": {"infer_ms": None}}

    with plain_server(decide, said) as url:
        refused(url, "answered estimates that are no named points")


def test_a_policy_of_one_look_has_no_image_rendered_that_it_is_not_sent():
    said = metadata_of(tiny_decider(), about(), "").message()
    steps: list[int] = []

    def decide(request: dict) -> dict:
        steps.append(round((request["observation/state"][0] - look(0).state[0]) / 0.01))
        time.sleep(0.1)  # some steps long: the plan runs out meanwhile
        return {"actions": np.tile(request["observation/state"], (TINY.chunk, 1))}

    with plain_server(decide, said) as url:
        agent = connect_agent(url, FR3, ServerKeys(), Timing(execute=3, inference_delay_s=0.05, in_thread=True))
        Rendered.looked_at.clear()
        agent.reset(look(0), 3)
        for step in range(12):
            agent.act(dataclasses.replace(look(step), images=Rendered(step)))
            time.sleep(0.02)
        agent.reset(look(0), 3)  # waits for what is being decided
    assert steps and Rendered.looked_at == {*steps}


def test_an_evaluation_by_a_server_is_that_of_its_checkpoint(tmp_path):
    made = about(provenance={"seeds": [(0, 40)], "splits": []}, vision="fake-vision", text="fake-text")
    checkpoint.save(tmp_path / "policy", tiny_model(), made)
    config = EvaluateConfig(
        task="pick_place", episodes=2, videos=0, workers=1, checkpoint=str(tmp_path / "policy"),
        render=RenderConfig(height=32, width=32), out=str(tmp_path / "here"),
    )  # fmt: skip
    here = evaluate.evaluate(config)
    with served(metadata=made) as url:
        there = evaluate.evaluate(dataclasses.replace(config, server=url, out=str(tmp_path / "there")))
        with pytest.raises(UserError, match="seeds 30 to 31 share episodes with training"):
            evaluate.evaluate(dataclasses.replace(config, server=url, seed=30))
        with pytest.raises(UserError, match=f"task=stack, expected pick_place, which server={url} was trained on"):
            evaluate.evaluate(dataclasses.replace(config, server=url, task="stack"))
    assert there["episodes"] == here["episodes"] and there["execute"] == here["execute"]
    assert set(here["latency"]) == {"decision"} and set(there["latency"]) == {"decision", "round_trip"}
    written = json.loads((tmp_path / "there" / "results.json").read_text())["latency"]
    assert 0 < written["decision"]["p50_ms"] < written["round_trip"]["p50_ms"] <= written["round_trip"]["p99_ms"]
    assert written["decision"]["n"] == written["round_trip"]["n"] == here["latency"]["decision"]["n"] > 0


def test_another_robot_or_rate_is_refused():
    with served() as url:
        refused(url, "its policy was made with fairino_fr3 at 20 Hz, this is franka at 15 Hz", robot=FRANKA)
        refused(url, "robot.control_hz=20 takes it", robot=RobotConfig("fairino_fr3", control_hz=50).load())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": 3}, "speaks protocol 3 with contract 1, expected 2 with 1: run the same version"),
        ({"contract": "9"}, "speaks protocol 2 with contract 9"),
        ({"chunk": "x"}, "its metadata are not understood .*fr3_vla.chunk='x'"),
        ({"colour": "red"}, "its metadata are not understood .*fr3_vla.colour"),
    ],
)
def test_metadata_of_another_version_are_refused(change, message):
    said = metadata_of(tiny_decider(), about(), "").message()
    said["fr3_vla"].update(change)
    with plain_server(lambda request: {}, said) as url:
        refused(url, message)


# ---- a server that is not ours -----------------------------------------------------------------------


def test_a_foreign_server_is_asked_under_its_own_keys():
    seen = []

    def decide(request: dict) -> dict:
        seen.append(request)
        joints = np.tile(request["observation/joint_position"], (10, 1))
        joints[:, 0] += 0.01 * np.arange(10)
        return {"actions": np.column_stack([joints, np.full(10, 0.25)])}

    with plain_server(decide, {"name": "somebody's"}) as url:
        agent = connect_agent(url, FRANKA, DROID, Timing())
        assert (agent.image_size, agent.cameras, agent.task) == ((224, 224), ("front", "wrist"), "")
        assert (agent.chunks.chunk, agent.chunks.execute, len(seen)) == (10, 8, 1)  # one request to try it out
        seen.clear()
        now = look(3, FRANKA, (224, 224))
        agent.reset(now, 0)
        actions = np.array([agent.act(now) for _ in range(9)])
    assert len(seen) == 2
    assert set(seen[0]) == {
        "observation/exterior_image_1_left", "observation/wrist_image_left", "observation/joint_position",
        "observation/gripper_position", "prompt",
    }  # fmt: skip
    np.testing.assert_array_equal(seen[0]["observation/exterior_image_1_left"], now.images["front"])
    np.testing.assert_array_equal(seen[0]["observation/joint_position"], now.state[:7])
    np.testing.assert_allclose(seen[0]["observation/gripper_position"], [1 - now.state[7]])
    assert seen[0]["prompt"] == PROMPT
    np.testing.assert_allclose(actions[:, 0], now.state[0] + 0.01 * np.array([*range(8), 0]), atol=1e-6)
    np.testing.assert_allclose(actions[:, 7], 0.75)


def test_keys_may_be_changed_one_by_one():
    keys = ServerKeys(images={"wrist": "cam"}, state="state", prompt="task")
    assert keys.cameras(FR3.camera_names) == ("wrist",)
    one = dataclasses.replace(look(0), images={"wrist": look(0).images["wrist"]})
    assert set(keys.request(one)) == {"cam", "state", "task"}
    np.testing.assert_array_equal(keys.request(one)["state"], look(0).state)


def test_a_key_of_a_camera_that_is_not_there_is_one_line():
    """Else the server would decide without its images."""
    with pytest.raises(UserError, match="unknown camera in server_keys.images 'wirst'.*did you mean 'wrist'"):
        ServerKeys(images={"front": "a", "wirst": "b"}).cameras(FR3.camera_names)


def test_a_foreign_server_of_another_rate_is_refused():
    with plain_server(lambda request: {}) as url:
        refused(url, "trained at 15 Hz by server_keys.control_hz, this is fairino_fr3 at 20 Hz", keys=DROID)


TRACEBACK = "Traceback (most recent call last):\n  File \"x.py\", line 1\nKeyError: 'observation/image'\n"
WRONG = {
    "an error": (TRACEBACK, "cannot decide: KeyError: 'observation/image'"),
    "nothing": ("", r"cannot decide: \(nothing\)"),
    "no actions": ({"state": 1, "policy_timing": {}}, r"answered without actions, with \['policy_timing', 'state'\]"),
    "a list": ([1, 2], "answered with a list, expected a map"),
    "another arm": ({"actions": np.zeros((10, 32))}, r"actions of shape \(10, 32\), expected .*\(steps, 7\): 6 joints"),
    "one action": ({"actions": np.zeros(7)}, r"actions of shape \(7,\)"),
    "no steps": ({"actions": np.zeros((0, 7))}, r"actions of shape \(0, 7\)"),
    "nan": ({"actions": np.full((10, 7), np.nan)}, "expected finite numbers"),
    "words": ({"actions": "up"}, "answered without actions"),
    "garbage": (b"\xc1\xc1", "sent 2 bytes that are no message of openpi's protocol"),
    "too long": ({"actions": np.zeros((10, 7)), "more": np.zeros(17 << 20, np.uint8)}, "is lost: a message was larger"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_answer_that_cannot_be_played_is_one_line(name):
    answer, message = WRONG[name]
    with plain_server(lambda request: answer) as url:
        refused(url, message)


def test_chunks_that_change_their_length_are_one_line():
    lengths = iter([10, 5])
    with plain_server(lambda request: {"actions": np.zeros((next(lengths), 7))}) as url:
        refused(url, "answered 5 actions, then 10 were expected")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("welcome", "sent text instead of a message: welcome"),
        (b"\xc1", "sent 1 bytes that are no message"),
        ([1], "its metadata are a list, expected a map"),
    ],
)
def test_metadata_that_are_none_are_one_line(metadata, message):
    with plain_server(lambda request: {}, metadata) as url:
        refused(url, message)


def test_a_server_that_does_not_answer_in_time_is_lost(monkeypatch):
    monkeypatch.setattr(client, "FIRST_ANSWER_S", 0.2)
    go_on = threading.Event()
    with plain_server(lambda request: {"actions": go_on.wait(20)}) as url:
        refused(url, "is lost: no answer for 0.2 s")
        go_on.set()


def test_a_server_that_takes_no_request_is_lost(monkeypatch):
    monkeypatch.setattr(client, "ANSWER_S", 0.2)
    ended = threading.Event()

    def say_hello_and_read_no_more() -> None:
        taken, _ = listening.accept()
        shaking = ServerProtocol()
        while not (asked := shaking.events_received()):
            shaking.receive_data(taken.recv(65536))
        shaking.send_response(shaking.accept(asked[0]))
        shaking.send_binary(b"\x80")  # an empty map
        taken.sendall(b"".join(shaking.data_to_send()))
        ended.wait(20)
        taken.close()

    with socket.create_server((HOST, 0)) as listening:
        thread = threading.Thread(target=say_hello_and_read_no_more)
        thread.start()
        connection = client.ServerConnection(f"ws://{HOST}:{listening.getsockname()[1]}")
        begun_s = time.monotonic()
        with pytest.raises(UserError, match="is lost: the connection broke"):
            connection.infer({"image": b"0" * 32_000_000})  # more than what the kernels keep
        assert time.monotonic() - begun_s < 15
        ended.set()
        thread.join(10)


def test_a_server_that_ends_is_lost():
    def hang_up(connection):
        connection.send(b"\x80")  # an empty map
        connection.recv()
        connection.socket.close()

    with serve(hang_up, HOST, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        refused(f"ws://{HOST}:{server.socket.getsockname()[1]}", "is lost: the connection broke")
        server.shutdown()
        thread.join(20)


def test_an_address_where_no_server_is_is_one_line():
    with socket.create_server((HOST, 0)) as listening:
        url = f"ws://{HOST}:{listening.getsockname()[1]}"
    refused(url, "does not answer .*; start one there: python -m policies.serve checkpoint=CKPT")
    refused("http://127.0.0.1:8000", "expected ws://HOST:PORT or wss://HOST:PORT")
    refused("127.0.0.1:8000", "expected ws://HOST:PORT")
    for no_address in ("ws://127.0.0.1:99999", "ws://host:PORT", "ws://[::1", "ws://a..b:8000"):
        with pytest.raises(UserError, match=f"server={re.escape(no_address)}, expected ws://HOST:PORT"):
            client.ServerConnection(no_address)
    refused("ws://no-such-host.invalid:8000", "does not answer")


def test_what_is_no_websocket_server_is_one_line():
    def hang_up() -> None:
        taken, _ = listening.accept()
        taken.recv(4096)
        taken.sendall(b"SSH-2.0-OpenSSH\r\n")
        taken.close()

    with socket.create_server((HOST, 0)) as listening:
        thread = threading.Thread(target=hang_up)
        thread.start()
        refused(f"ws://{HOST}:{listening.getsockname()[1]}", "is no websocket server")
        thread.join(10)


def test_a_token_is_taken_from_the_environment(monkeypatch):
    token = "abcdefgh12345678"
    with served(token=token) as url:
        monkeypatch.delenv("FR3_SERVER_TOKEN", raising=False)
        refused(url, "refuses: 401, the token is missing or wrong")
        monkeypatch.setenv("FR3_SERVER_TOKEN", token)
        assert play(connect_agent(url, FR3, ServerKeys(), Timing()), 0).any()


@pytest.mark.parametrize("token", ["abcdefgh12345678\n", "p\u00e4sswort12345678"])
def test_a_token_that_cannot_be_sent_is_one_line_that_does_not_show_it(monkeypatch, token):
    monkeypatch.setenv("FR3_SERVER_TOKEN", token)
    with served() as url, pytest.raises(UserError, match=r"FR3_SERVER_TOKEN=\*+, expected printable ASCII") as caught:
        client.ServerConnection(url)
    assert token.strip() not in str(caught.value)
