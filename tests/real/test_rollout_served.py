"""A server decides for the arm, in a thread or not: what is recorded, and that a lost one ends in a stop."""

import json
import logging
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from fr3 import FR3
from running import HOST, Running
from serving import plain_server
from waiting import wait_for

from policies.remote.keys import ServerKeys
from policies.remote.remote_agent import RemoteAgent, connect_agent
from policies.runtime.chunk_agent import Timing
from real.rollout.rollout import RolloutConfig, rollout
from real.workcell.connect import RobotConnection
from sim.core.errors import UserError
from sim.dataset.reader import Dataset

CHUNK = 16


def swing(request: dict) -> dict:
    """A chunk that turns joint 1 slowly."""
    chunk = np.tile(request["observation/state"], (CHUNK, 1))
    chunk[:, 0] += 0.004 * np.arange(1, CHUNK + 1)
    return {"actions": chunk, "server_timing": {"infer_ms": 0.5}}


def connected(url: str, timing: Timing) -> RemoteAgent:
    agent = connect_agent(url, FR3, ServerKeys(), timing)
    agent.image_size = (8, 10)  # of the emulator that tests drive
    return agent


def options(running: Running, url: str, out: Path, **changes) -> RolloutConfig:
    robot = RobotConnection(ip=HOST, start="never", deadline_s=5.0, **running.ports)
    return RolloutConfig(robot, server=url, out=str(out), episodes=1, seed=3, **changes)


@pytest.mark.parametrize("delay_s", [0.0, 0.1])
def test_a_server_drives_the_arm_and_its_latency_is_kept(running, tmp_path, caplog, delay_s):
    threads = set()
    with plain_server(swing) as url, caplog.at_level(logging.INFO):
        config = options(running, url, tmp_path / "out", inference_delay_s=delay_s)
        agent = connected(url, config.timing)
        decide = agent._decide
        agent._decide = lambda *look: (
            threads.add(threading.current_thread() is threading.main_thread()) or decide(*look)
        )
        content = rollout(config, lambda _: agent)
    assert content["n"] == 1 and content["checkpoint"] == url and content["inference_delay_s"] == delay_s
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    decision, round_trip = written["latency"]["decision"], written["latency"]["round_trip"]
    assert decision["p50_ms"] == 0.5 < round_trip["p50_ms"] <= round_trip["p99_ms"]
    assert decision["n"] == round_trip["n"] == len(agent.decision_s) >= 2
    columns = Dataset(tmp_path / "out").columns(0)
    assert np.ptp(columns["action"][:, 0]) > 0.01  # it moved
    assert "round trip of" in caplog.text
    assert threads == {not delay_s}  # with a delay, no period waits for a decision


@pytest.mark.parametrize("delay_s", [0.0, 0.1])
def test_a_lost_server_ends_in_a_stop_with_one_line_and_the_episode_is_kept(running, tmp_path, delay_s):
    requests = []

    def decide(request: dict) -> dict | str:
        requests.append(request)
        return swing(request) if len(requests) < 3 else "out of memory"

    with plain_server(decide) as url:
        config = options(running, url, tmp_path / "out", inference_delay_s=delay_s)
        with pytest.raises(UserError, match="cannot decide: out of memory") as caught:
            rollout(config, lambda _: connected(url, config.timing))
    assert "\n" not in str(caught.value) and url in str(caught.value)
    assert not running.controller.in_servo
    data = Dataset(tmp_path / "out")
    assert data.num_episodes == 1 and "out of memory" in data.episode_metadata(0)["robot/fault"]
    wait_for(lambda: np.abs(running.world.joint_velocity_rad_s()).max() < 1e-6)
    before = running.world.state()
    time.sleep(0.3)
    np.testing.assert_array_equal(running.world.state(), before)


def test_options_that_are_the_servers_are_refused(running, tmp_path):
    for changes, message in (
        ({"guidance": 2.0}, "server=ws://x decides: indicator and guidance are options of policies.serve there"),
        ({"indicator": "negative"}, "indicator and guidance are options"),
        ({"checkpoint": "runs/policy"}, "server=ws://x and checkpoint=runs/policy: expected one of the two"),
    ):
        with pytest.raises(UserError, match=message):
            options(running, "ws://x", tmp_path, **changes)


def test_what_was_decided_before_is_kept_when_nothing_is_decided_now(running, tmp_path):
    with plain_server(swing) as url:
        config = options(running, url, tmp_path / "out")
        first = rollout(config, lambda _: connected(url, config.timing))
        assert rollout(config, lambda _: connected(url, config.timing))["latency"] == first["latency"]
