"""A rollout with a person: keys, takeovers, leading by hand, and every way a run ends before its time."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from listening import Answering, reacting
from other_agent import write_agent
from running import HOST, Running, Swing
from scripted import ScriptedOperator
from waiting import wait_for

from real.core.json_lines import JsonLineClient
from real.core.shutdown import ShutdownRequest
from real.rollout.rollout import RolloutConfig, rollout
from real.workcell.connect import RobotConnection
from real.workcell.emulator_process import EmulatorProcess
from rl.data.pool import open_pool
from sim.core.errors import UserError
from sim.dataset.reader import Dataset
from sim.teleop.device import Command
from sim.teleop.operator import Operator

ROOT = Path(__file__).resolve().parents[2]
MOVES_DEG_S = 1.0  # a ServoJ target this fast is the policy's: until then the arm is only held
PROGRAM_S = 200.0  # torch alone takes a minute to import on a busy machine
# The real program, but the policy: it swings joint 1, and the limits are patient with a busy test machine.
STUB = """
import functools, types
import real.fairino.driver, real.control.watchdog, real.fairino.servo_link, real.workcell.episode_runner
import real.cameras.camera
from running import Swing
from sim.guard.motion_guard import MotionGuard
real.fairino.driver.MAX_STATE_AGE_S = real.control.watchdog.MAX_BEAT_AGE_S = real.fairino.servo_link.COUNTED_S = 5.0
real.workcell.episode_runner.MotionGuard = functools.partial(MotionGuard, max_age_s=10.0)
real.cameras.camera.ANSWER_S = 20.0
def load_agent(root, indicator, guidance, lead_s):
    agent = Swing(({height}, {width}))
    agent.spec = types.SimpleNamespace(robot="fairino_fr3", control_hz=20)
    return agent
"""


def swing(checkpoint: Path) -> Swing:
    return Swing((8, 10))


def config(running: Running, tmp_path: Path, **options) -> RolloutConfig:
    robot = RobotConnection(ip=HOST, start="never", deadline_s=5.0, **running.ports)
    return RolloutConfig(robot, str(tmp_path), seed=3, out=str(tmp_path / "out"), **{"episodes": 1, **options})


def long_episodes(running: Running, limit_s: float = 600.0) -> None:
    running.world.task = types.SimpleNamespace(name="pick_place", time_limit_s=limit_s, settle_s=0.1)


def test_a_person_takes_over_hands_back_and_judges(running, tmp_path):
    long_episodes(running)
    script = {4: [Command.INTERVENE], 16: [Command.RESUME_POLICY], 20: [Command.SUCCESS]}
    operator = ScriptedOperator(script, {6: [0, 0, 1, 0, 0, 0]})
    content = rollout(config(running, tmp_path), swing, operator)
    assert content["success_rate"] == 1.0
    data = Dataset(tmp_path / "out")
    columns, metadata = data.columns(0), data.episode_metadata(0)
    assert columns["intervention"].tolist() == [4 <= k < 16 for k in range(21)]
    assert (metadata["source"], metadata["intervention/reason"]) == ("intervention", "operator")
    assert (metadata["operator/verdict"], metadata["robot/fault"]) == ("success", "")
    assert open_pool([tmp_path / "out"]).intervention.sum() == 12
    for name in ("delay.observation_s", "delay.decision_s", "delay.send_s"):
        assert ((columns[name] >= 0) & (columns[name] < 3)).all(), name
    assert columns["delay.send_s"].max() > 0
    # The tool rose at its speed; the pace after the takeover is limited, nothing jumps.
    steps = np.diff(columns["action"][:, :6], axis=0)
    assert np.abs(np.diff(steps[3:16], axis=0)).max() < 0.03
    assert columns["action"][15, 1:4].tolist() != columns["action"][5, 1:4].tolist()


def test_an_arm_led_by_hand_is_recorded_where_it_was(running, tmp_path):
    long_episodes(running)
    hand = JsonLineClient("hand", running.address("bench_port"), 5.0)

    class Leading(ScriptedOperator):
        """Pulls joint 1 by 0.5 deg a period while the arm gives way."""

        def take(self, *wanted):
            if Command.INTERVENE in wanted and running.controller.drag_teach_active:
                joints = running.controller.measured_deg() + [0.5, 0, 0, 0, 0, 0]
                hand.request({"do": "guide", "joint_deg": joints.tolist()})
            return super().take(*wanted)

    operator = Leading({2: [Command.INTERVENE], 14: [Command.RESUME_POLICY], 18: [Command.FAILURE]})
    rollout(config(running, tmp_path, device="drag"), swing, operator)
    data = Dataset(tmp_path / "out")
    columns, metadata = data.columns(0), data.episode_metadata(0)
    assert (metadata["source"], metadata["intervention/reason"]) == ("intervention", "operator by hand")
    assert metadata["robot/fault"] == ""
    assert columns["intervention"].tolist() == [2 <= k < 14 for k in range(19)]
    state, action = columns["observation.state"], columns["action"]
    np.testing.assert_array_equal(action[2:14, :6], state[3:15, :6])
    assert np.rad2deg(state[13, 0] - state[3, 0]) > 3
    assert np.isnan(columns["delay.send_s"][2:14]).all()
    assert np.isfinite(columns["delay.send_s"][14:]).all()
    assert running.controller.robot_mode == 0
    assert not running.controller.drag_teach_active


def test_the_controller_refuses_what_does_not_go_with_a_hand_on_the_arm(running, driver):
    driver.power_on()
    with pytest.raises(UserError, match="128"):
        driver.drag_teach(on=True)  # automatic mode
    driver.set_mode(1)
    driver.drag_teach(on=True)
    with pytest.raises(UserError, match="123"):
        driver.set_mode(0)
    driver.drag_teach(on=False)
    driver.set_mode(0)
    bench = JsonLineClient("hand", running.address("bench_port"), 5.0)
    with pytest.raises(UserError, match="does not follow a hand"):
        bench.request({"do": "guide", "joint_deg": [0] * 6})


def test_confirm_waits_for_the_person_before_every_episode(running, tmp_path):
    said, operator = [], Answering()

    def say(text):
        said.append(text)
        if "Enter" in text:
            assert not running.controller.in_servo
            operator.answer = Command.CONFIRM if sum("Enter" in line for line in said) < 3 else Command.STOP

    with pytest.raises(KeyboardInterrupt), reacting(say):
        rollout(config(running, tmp_path, episodes=3, mode="confirm"), swing, operator)
    assert Dataset(tmp_path / "out").num_episodes == 2
    assert not running.controller.in_servo


def test_nobody_at_the_keyboard_and_nothing_moves(running, tmp_path):
    with pytest.raises(UserError, match="nobody is at the keyboard"):
        rollout(config(running, tmp_path, mode="confirm"), swing)
    robot = RobotConnection(kind="hardware", ip=HOST, instruction="go", **running.ports)
    with pytest.raises(UserError, match="nobody is at the keyboard"):
        rollout(RolloutConfig(robot, str(tmp_path), mode="auto"), swing)
    assert not running.controller.enabled


def test_a_policy_that_breaks_leaves_its_episode_and_an_arm_at_rest(running, tmp_path):
    long_episodes(running)

    class Broken(Swing):
        def act(self, observation):
            if self._step == 6:
                raise ZeroDivisionError("weights")
            return super().act(observation)

    with pytest.raises(ZeroDivisionError):
        rollout(config(running, tmp_path), lambda checkpoint: Broken((8, 10)))
    assert not running.controller.in_servo
    data = Dataset(tmp_path / "out")
    assert (data.length(0), data.episode_metadata(0)["robot/fault"]) == (6, "ZeroDivisionError: weights")


def test_a_stop_key_stops_the_arm_from_its_own_thread_while_the_policy_thinks(running, tmp_path):
    long_episodes(running)
    shutdown, operator, stopped = ShutdownRequest(), Operator([]), []
    operator.on_stop = lambda: shutdown.request("the operator's stop key")

    class Thinking(Swing):
        def act(self, observation):
            if self._step == 4:
                operator.press(Command.STOP)
                wait_for(lambda: not running.controller.in_servo)
                stopped.append(True)
            return super().act(observation)

    with pytest.raises(KeyboardInterrupt):
        rollout(config(running, tmp_path, episodes=2), lambda checkpoint: Thinking((8, 10)), operator, shutdown)
    assert stopped
    data = Dataset(tmp_path / "out")
    assert data.num_episodes == 1
    assert data.episode_metadata(0)["robot/fault"] == "the operator's stop key"


def test_an_end_asked_for_on_the_way_to_the_start_is_no_fault(running, tmp_path):
    shutdown, prepare = ShutdownRequest(), running.world.reset

    def reset(seed: int) -> None:
        prepare(seed)
        shutdown.request("SIGINT")

    running.world.reset = reset
    with pytest.raises(KeyboardInterrupt, match="SIGINT"):
        rollout(config(running, tmp_path), swing, shutdown=shutdown)
    assert not running.controller.in_servo
    assert running.controller.monitor.max_target_deg_s < MOVES_DEG_S
    assert not (tmp_path / "out" / "meta").exists()  # no episode, no dataset


@contextlib.contextmanager
def program(tmp_path: Path, ports: dict, size: tuple[int, int], stdin: int) -> Iterator[subprocess.Popen]:
    """`python -m real.rollout` on the emulator at these ports."""
    write_agent(tmp_path, STUB.format(height=size[0], width=size[1]))
    words = ["robot=emulator", "robot.start=never", "episodes=2", f"checkpoint={tmp_path}", f"out={tmp_path / 'out'}"]
    words += [f"robot.{name}={port}" for name, port in ports.items()] + ["robot.deadline_s=5.0"]
    search = f"{tmp_path}:{ROOT}:{ROOT / 'tests' / 'real'}:{ROOT / 'tests' / 'sim'}"
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "real.rollout", *words], stdin=stdin, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": search},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # also where the tests run under nohup
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def frames_recorded(tmp_path: Path) -> int:
    data = Dataset(tmp_path / "out")
    assert data.num_episodes == 1
    length = data.length(0)
    assert len(data.columns(0)["action"]) == length
    assert data.images(0, "front").shape[0] == length
    return length


@pytest.mark.parametrize(
    ("how", "fault"),
    [("SIGTERM", "SIGTERM"), ("SIGTSTP", "SIGTSTP"), ("SIGQUIT", "SIGQUIT"), ("x", "stop key"), ("SIGHUP", "SIGHUP")],
)
def test_the_program_ends_in_order_and_keeps_the_episode(running, tmp_path, how, fault):
    long_episodes(running)
    keys, terminal = pty.openpty()
    monitor = running.controller.monitor
    with program(tmp_path, running.ports, (8, 10), terminal) as process:
        wait_for(lambda: monitor.max_target_deg_s > MOVES_DEG_S or process.poll() is not None, PROGRAM_S)
        if how == "x":
            os.write(keys, b"x")
        elif process.poll() is None:
            if how == "SIGHUP":  # a session that was lost: nobody takes what is said any more
                process.stdout.close()
            process.send_signal(getattr(signal, how))
        output = process.wait(PROGRAM_S) if how == "SIGHUP" else process.communicate(timeout=PROGRAM_S)
    assert process.returncode == 130, output
    assert not running.controller.in_servo
    wait_for(lambda: np.abs(running.world.joint_velocity_rad_s()).max() == 0)
    assert frames_recorded(tmp_path) >= 1
    assert fault in Dataset(tmp_path / "out").episode_metadata(0)["robot/fault"]
    os.close(keys)
    os.close(terminal)


def test_an_emulator_that_is_killed_leaves_a_readable_dataset(tmp_path):
    with (
        EmulatorProcess((16, 16)) as emulator,
        program(tmp_path, emulator.ports, (16, 16), subprocess.DEVNULL) as process,
    ):
        bench = JsonLineClient("bench", (HOST, emulator.ports["bench_port"]), 20.0)

        def moves() -> bool:
            return bench.request({"do": "monitor"})[0]["max_target_deg_s"] > MOVES_DEG_S

        wait_for(lambda: moves() or process.poll() is not None, PROGRAM_S)
        emulator._process.kill()
        output, _ = process.communicate(timeout=PROGRAM_S)
    assert process.returncode == 2, output
    assert frames_recorded(tmp_path) >= 1
    assert Dataset(tmp_path / "out").episode_metadata(0)["robot/fault"]
