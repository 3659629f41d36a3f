"""The whole program but the policy: a scripted agent on the emulator, recorded and counted."""

import dataclasses
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fr3 import FR3
from other_agent import write_agent
from running import HOST, Running, Swing
from waiting import PATIENCE_S

from policies.runtime.chunk_agent import Timing
from real.core.faults import RobotFault, RobotUnreachable
from real.fairino import protocol
from real.rollout.rollout import RolloutConfig, _load, newest_checkpoint, rollout
from real.workcell import emulator_process
from real.workcell.connect import RobotConnection
from real.workcell.emulator_process import EmulatorProcess
from rl.data.pool import Interventions, open_pool
from sim.core.config import load
from sim.core.errors import UserError
from sim.core.structured import typed
from sim.dataset.reader import Dataset

STUB_AGENT = """
import types
def load_agent(root, indicator, guidance, lead_s):
    spec = types.SimpleNamespace(robot="fairino_fr3", control_hz=20)
    processor = types.SimpleNamespace(check_instruction=str)
    return types.SimpleNamespace(image_size=(8, 8), task="", spec=spec, processor=processor)
"""
ROOT = Path(__file__).resolve().parents[2]


def robot_at(running: Running, **changes) -> RobotConnection:
    return RobotConnection(ip=HOST, start="never", deadline_s=5.0, **running.ports, **changes)


def swing(checkpoint: Path) -> Swing:
    return Swing(image_size=(8, 10))


def test_a_rollout_ends_the_servo_session_that_a_killed_one_has_left(running, tmp_path, caplog):
    running.controller.set_mode(0)
    running.controller.set_enabled(1)
    assert running.controller.servo_start() == 0
    config = RolloutConfig(robot_at(running), str(tmp_path), episodes=1, seed=3, out=str(tmp_path / "out"))
    with caplog.at_level(logging.WARNING):
        assert rollout(config, swing)["n"] == 1
    assert any("servo session of another client" in record.message for record in caplog.records)


def test_a_rollout_records_every_episode_and_its_outcome(running, tmp_path):
    config = RolloutConfig(robot_at(running), str(tmp_path), episodes=2, seed=3, out=str(tmp_path / "out"))
    content = rollout(config, swing)
    assert (content["n"], content["success_rate"]) == (2, 0.0)
    assert 0.6 < content["ci_high"] < 0.7  # Wilson, 0 of 2: 0.658
    assert [episode["seed"] for episode in content["episodes"]] == [3, 4]
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == content
    dataset = Dataset(tmp_path / "out")
    assert dataset.num_episodes == 2
    columns = dataset.columns(0)
    assert columns["observation.state"].shape == (12, FR3.action_dim)
    assert np.abs(columns["action"] - columns["observation.state"]).max() < 0.6
    # More episodes into the same directory: the run goes on where it stood.
    more = rollout(RolloutConfig(config.robot, str(tmp_path), 3, 3, config.out), swing)
    assert [episode["seed"] for episode in more["episodes"]] == [3, 4, 5]
    assert Dataset(tmp_path / "out").num_episodes == 3
    assert not running.controller.in_servo


def test_a_fault_ends_the_run_and_the_episodes_are_kept(running, tmp_path):
    class Careless(Swing):
        def act(self, observation):
            if self._step == 5:
                running.controller.press_emergency_stop()
            return super().act(observation)

    config = RolloutConfig(robot_at(running), str(tmp_path), 3, 0, str(tmp_path / "out"))
    with pytest.raises(RobotFault):
        rollout(config, lambda checkpoint: Careless((8, 10)))
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (content["n"], content["cut_off"]) == (0, 1)
    assert content["episodes"][0]["fault"]
    assert Dataset(tmp_path / "out").num_episodes == 1
    running.controller.release_emergency_stop()
    running.controller.reset_errors()
    more = rollout(config, swing)
    assert (more["n"], more["cut_off"]) == (2, 1)
    assert [(one["seed"], one["cut_off"]) for one in more["episodes"]] == [(0, True), (1, False), (2, False)]
    pool = open_pool([tmp_path / "out"])
    assert pool.cut_off.tolist() == [True, False, False]
    assert not pool.value_mask(Interventions.CUT)[pool.rows(0)].any() and pool.counted[pool.rows(1)].all()


def test_a_dry_run_moves_nothing_and_prints_the_checks(running, tmp_path, caplog):
    assert rollout(RolloutConfig(robot_at(running), str(tmp_path), mode="dry"), swing) == {}
    text = caplog.text
    for name in ("controller", "mode", "drives", "joints", "camera wrist", "schema", "images", "start"):
        assert name in text
    assert "nothing was moved" in text
    assert not running.controller.enabled


def test_a_robot_in_fault_is_refused_before_motion(running, tmp_path):
    running.controller.press_emergency_stop()
    with pytest.raises(UserError, match="not fit to move"):
        rollout(RolloutConfig(robot_at(running), str(tmp_path)), swing)
    assert not list(tmp_path.iterdir())


def test_a_robot_that_does_not_answer_is_one_error(tmp_path):
    with pytest.raises(RobotUnreachable, match="does not answer"):
        rollout(RolloutConfig(RobotConnection(ip=HOST, rpc_port=1, start="never"), str(tmp_path)), swing)


def test_the_newest_checkpoint_is_taken(tmp_path):
    with pytest.raises(UserError, match="no checkpoint"):
        newest_checkpoint(tmp_path)
    for age, name, kind in ((100, "old", "policy"), (50, "new", "policy"), (0, "other", "value")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({kind: {}}))
        weights = tmp_path / name / "model.safetensors"
        weights.touch()
        os.utime(weights, (1e9 - age, 1e9 - age))
    assert newest_checkpoint(tmp_path) == tmp_path / "new"


def test_results_of_another_run_are_not_added_to(running, tmp_path):
    config = RolloutConfig(robot_at(running), "a", 1, 0, str(tmp_path / "out"))
    rollout(config, swing)
    for changed in ({"indicator": "negative"}, {"guidance": 3.0}, {"lead_s": 0.1}):
        name, value = next(iter(changed.items()))
        with pytest.raises(UserError, match=f"was made with {name}=.*, not {value}; name a new out=DIR"):
            rollout(dataclasses.replace(config, **changed), swing)
    with pytest.raises(UserError, match="seed=0, not 7"):
        rollout(RolloutConfig(config.robot, "a", 1, 7, config.out), swing)
    (tmp_path / "out" / "results.json").write_text("{}")
    with pytest.raises(UserError, match="not of a rollout"):
        rollout(config, swing)
    (tmp_path / "out" / "results.json").unlink()  # as after a kill
    with pytest.raises(UserError, match=r"provenance.json was made with checkpoint=a, not b; name a new out=DIR"):
        rollout(dataclasses.replace(config, checkpoint="b"), swing)
    with pytest.raises(UserError, match="was made with guidance=None, not 3.0"):
        rollout(dataclasses.replace(config, guidance=3.0), swing)
    rollout(dataclasses.replace(config, episodes=2), swing)
    assert Dataset(tmp_path / "out").num_episodes == 2


@pytest.mark.parametrize("robot", ["none", "emulator", "fr3"])
def test_every_robot_of_conf_is_a_robot_config(robot):
    words = ["robot.instruction=go"] if robot == "fr3" else []
    config = load("rollout", RolloutConfig, [f"robot={robot}", *words, "episodes=4"])
    assert config.episodes == 4
    assert config.robot.kind == ("hardware" if robot == "fr3" else "emulator")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: typed(RobotConnection, {"ipp": "x"}, "robot."), "did you mean 'robot.ip'"),
        (
            lambda: typed(RobotConnection, {"rpc_port": "x"}, "robot."),
            "robot.rpc_port='x' is of type str, expected int",
        ),
        (lambda: typed(RolloutConfig, {"robot": RobotConnection(), "episodes": True}), "episodes=True"),
        (lambda: RobotConnection(kind="hardwar"), "did you mean 'hardware'"),
        (lambda: RolloutConfig(RobotConnection(kind="hardware")), "robot.instruction is missing"),
        (lambda: RolloutConfig(RobotConnection(instruction="go")), "robot.instruction='go': the emulator's bench"),
        (lambda: RobotConnection(kind="hardware", start="always"), "robot.start=always, expected never"),
        (lambda: RobotConnection(kind="hardware", firmware="3.8.2"), "robot.firmware=3.8.2, expected 3.9.6"),
        (lambda: RobotConnection(kind="hardware", force_sensor=True), "robot.force_sensor=True, expected False"),
        (lambda: RolloutConfig(RobotConnection(), mode="go"), "unknown mode"),
        (lambda: RolloutConfig(RobotConnection(), episodes=0), "episodes=0"),
    ],
)
def test_a_wrong_option_is_named(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_the_real_emulator_process_is_driven_and_ends(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(emulator_process, "END_S", PATIENCE_S)
    with EmulatorProcess((32, 48)) as process:
        robot = RobotConnection(ip=HOST, start="never", deadline_s=10.0, **process.ports)
        config = RolloutConfig(robot, str(tmp_path), mode="dry")
        rollout(config, lambda checkpoint: Swing((32, 48)))
    assert "48x32" in caplog.text
    assert "NOT OK" not in caplog.text
    assert process._process.returncode == 0


@pytest.mark.parametrize(
    ("options", "start_s", "said"),
    [({}, 0.05, "still busy after 0.05 s"), ({"firmware": "9.9"}, 300.0, "firmware=9.9, expected")],
)
def test_an_emulator_that_does_not_start_says_why(options, start_s, said, monkeypatch):
    monkeypatch.setattr(emulator_process, "START_S", start_s)
    with pytest.raises(RobotUnreachable, match=f"the emulator did not start: .*{said}"):
        EmulatorProcess((32, 48), **options)


@pytest.mark.parametrize("port", ["camera_port", "bench_port"])
def test_an_emulator_that_is_not_whole_is_named_before_the_rollout(running, tmp_path, port):
    """As beside `make test-sdk`, whose emulator has only the controller's ports where they are looked for."""
    robot = dataclasses.replace(robot_at(running), start="if_absent", **{port: 1})
    with pytest.raises(UserError, match=f"not at robot.{port}=1; .* robot.start=always"):
        rollout(RolloutConfig(robot, str(tmp_path), out=str(tmp_path / "out")), swing)


def test_a_whole_emulator_is_used_and_none_is_started(running, tmp_path):
    robot = dataclasses.replace(robot_at(running), start="if_absent")
    rollout(RolloutConfig(robot, str(tmp_path), episodes=1, seed=3, out=str(tmp_path / "out")), swing)
    assert running.controller.enabled  # by the rollout


def test_the_program_exits_2_when_the_robot_is_silent(tmp_path):
    words = ["robot=fr3", "robot.ip=127.0.0.1", "robot.rpc_port=1", "robot.instruction=go", f"checkpoint={tmp_path}"]
    write_agent(tmp_path, STUB_AGENT)
    search = f"{tmp_path}:{ROOT}"
    done = subprocess.run(
        [sys.executable, "-P", "-m", "real.rollout", *words],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": search}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "does not answer" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_robot_without_a_driver_and_an_old_kind(tmp_path):
    with pytest.raises(UserError, match="robot.name=franka: it has no driver, expected one of fairino_fr3"):
        RobotConnection(name="franka")
    old = RobotConnection(kind="fr3")
    assert (old.kind, old.is_hardware, old.default_mode) == ("hardware", True, "dry")
    assert not RobotConnection().is_hardware


def test_the_ports_are_the_controllers():
    found = RobotConnection()
    ports = (found.rpc_port, found.state_port, found.cnde_port, found.servo_port)
    assert ports == (protocol.RPC_PORT, protocol.LEGACY_PORT, protocol.CNDE_PORT, protocol.UDP_PORT)


def test_a_run_that_is_complete_plays_nothing_and_tells_so(running, tmp_path, caplog):
    config = RolloutConfig(robot_at(running), str(tmp_path), 1, 3, str(tmp_path / "out"))
    first = rollout(config, swing)
    assert "holds" not in caplog.text
    assert rollout(config, swing) == first
    assert "holds 1 episodes of this run already, episodes=1: nothing is played" in caplog.text


def test_timing_is_what_the_options_say():
    config = RolloutConfig(execute=4, ensemble=0.01, inference_delay_s=0.1, look_hz=2.5, lead_s=0.05)
    assert config.timing == Timing(4, 0.05, 0.1, in_thread=True, ensemble=0.01, look_hz=2.5)
    assert RolloutConfig().timing == Timing()


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "runtime.agent.load_agent"),
        ({"watch": True}, "runtime.self_correction.load_watching_agent"),
        ({"graph": __file__}, "export.graph_decider.load_graph_agent"),
    ],
)
def test_the_agent_is_the_one_that_is_chosen(changes, name, monkeypatch):
    about = SimpleNamespace(robot=FR3.name, control_hz=FR3.control_hz)
    agent = SimpleNamespace(spec=about, processor=SimpleNamespace(check_instruction=str))
    given = {}

    def load(root, indicator, guidance, timing, **options):
        given.update(guidance=guidance, **options)
        return agent

    monkeypatch.setattr(f"policies.{name}", load)
    assert _load(RolloutConfig(guidance=3.0, **changes), "runs/policy") is agent
    assert given["guidance"] == 3.0 and given.get("graph") == (Path(__file__) if "graph" in changes else None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"graph": __file__, "watch": True}, "watch=true: one of them decides"),
        ({"graph": __file__, "server": "ws://x"}, "server=ws://x: one of them decides"),
        ({"graph": "none.onnx"}, "graph=none.onnx: no such file; policies.export writes one"),
    ],
)
def test_a_graph_that_cannot_decide_is_refused_before_anything_is_loaded(changes, message):
    with pytest.raises(UserError, match=message):
        RolloutConfig(**changes)
