"""A person is asked before the drives, the gripper or the arm move, and again after the motion guard stopped it."""

import contextlib
import types

import numpy as np
import pytest
from listening import Answering, reacting
from running import HOST, Running, Swing

from real.calibrate.calibrate import CalibrateConfig, calibrate
from real.core.faults import RobotFault
from real.core.shutdown import ShutdownRequest
from real.emulator.method_table import Method
from real.rollout.rollout import RolloutConfig, rollout
from real.workcell.connect import RobotConnection
from real.workcell.episode_runner import ConfirmBeforeEpisode, EpisodeRunner
from sim.core.errors import UserError
from sim.core.estimate import Estimate
from sim.dataset.reader import Dataset
from sim.teleop.device import Command
from sim.teleop.page import LivePage


def robot_at(running: Running, **changes) -> RobotConnection:
    return RobotConnection(ip=HOST, start="never", deadline_s=5.0, **running.ports, **changes)


def test_drives_and_gripper_wait_for_the_first_enter(running, tmp_path):
    operator, asked = Answering(), []

    def say(text: str) -> None:
        if "Enter" in text:
            asked.append((running.controller.enabled, running.controller.gripper.active))
            operator.answer = Command.CONFIRM

    config = RolloutConfig(robot_at(running), str(tmp_path), 2, 0, str(tmp_path / "out"), mode="confirm")
    with reacting(say):
        rollout(config, lambda checkpoint: Swing((8, 10)), operator)
    assert asked == [(False, 0), (True, 2)]  # gripper 1: bit 1


def test_an_output_that_cannot_be_written_is_told_before_anybody_is_asked(running, tmp_path, caplog):
    config = RolloutConfig(robot_at(running), str(tmp_path), 1, 0, "/proc/none", mode="confirm")
    with pytest.raises(UserError, match="/proc/none"):
        rollout(config, lambda checkpoint: Swing((8, 10)), Answering())
    assert "Enter" not in caplog.text
    assert not running.controller.enabled and not running.controller.gripper.active


@pytest.mark.parametrize("out", ["/proc/none", "/proc"])
def test_calibration_needs_a_directory_it_can_write(out):
    with pytest.raises(UserError, match=rf"out={out}: cannot be written .*name another directory"):
        calibrate(CalibrateConfig(out=out))


def test_a_gripper_that_is_active_is_left_where_it_is(driver, running):
    activations = []
    running.serve("ActGripper", Method(2, lambda *call: activations.append(call) or 0))
    running.controller.gripper.active = 2
    driver.power_on()
    driver.activate_gripper()
    assert activations == []
    running.controller.gripper.active = 1  # another one is active
    driver.power_on()
    driver.activate_gripper()
    assert activations == [(1, 1)]


def test_a_stop_while_the_drives_are_switched_on_leaves_the_gripper_alone(running):
    activations, shutdown = [], ShutdownRequest()
    running.serve("ActGripper", Method(2, lambda *call: activations.append(call) or 0))
    with running.env() as env, LivePage() as page:
        activations.clear()  # of one that is ready from the beginning
        env.driver.power_on = lambda speed_percent: shutdown.request("stop key")
        runner = EpisodeRunner(env, Swing((8, 10)), page, shutdown, 100)
        with pytest.raises(KeyboardInterrupt):
            runner.run(0, None)
        with pytest.raises(KeyboardInterrupt):
            runner.run(0, None)
    assert activations == []


def test_the_arm_is_at_rest_before_an_episode_is_written(running):
    in_servo = []
    writer = types.SimpleNamespace(commit=lambda *_: in_servo.append(running.controller.in_servo))
    with running.env() as env, LivePage() as page:
        EpisodeRunner(env, Swing((8, 10)), page, ShutdownRequest(), None).run(0, writer)
    assert in_servo == [False]


def test_the_live_view_shows_what_the_agent_is_at(running):
    agent, writer = Swing((8, 10)), types.SimpleNamespace(commit=lambda *_: None)
    agent.subtasks = ["go to what is named", "let go"]
    agent.estimates = [Estimate("object", np.array([-0.3, 0.1, 0.02]), 0.01)]
    with running.env() as env, LivePage() as page:
        EpisodeRunner(env, agent, page, ShutdownRequest(), None).run(0, writer)
        assert page.now()["subtask"] == "let go" and list(page.now()["found"]) == ["object"]


def test_a_stop_after_the_last_period_is_raised_once_the_episode_is_written(running):
    written = []
    writer = types.SimpleNamespace(commit=lambda *_: written.append(_))
    with running.env() as env, LivePage() as page:
        rest = env.rest
        env.rest = lambda: (env.stream.halt("the safety gate"), rest())
        with pytest.raises(RobotFault, match="the safety gate"):
            EpisodeRunner(env, Swing((8, 10)), page, ShutdownRequest(), None).run(0, writer)
    assert len(written) == 1


class Confused(Swing):
    """Asks for what is no number in its first episode."""

    episodes = 0

    def reset(self, observation, seed):
        self.episodes += 1
        super().reset(observation, seed)

    def act(self, observation):
        action = super().act(observation)
        return action * np.nan if self.episodes == 1 and self._step == 3 else action


def asked_after_a_latched_guard(running, tmp_path, monkeypatch, kind: str, press: Command) -> list[str]:
    """Two episodes by themselves; what was asked for before each."""
    asked, operator = [], Answering()

    @contextlib.contextmanager
    def opened(*_, **__):
        with running.env() as env:
            yield env

    def say(text: str) -> None:
        if text.startswith("episode"):
            asked.append(text)
            if "Enter" in text:
                operator.answer = press

    monkeypatch.setattr("real.rollout.rollout.open_robot", opened)
    monkeypatch.setattr("real.workcell.episode_runner.CLEAR_S", 0.0)
    robot = robot_at(running, kind=kind, instruction="go" if kind == "hardware" else None)
    config = RolloutConfig(robot, str(tmp_path), 2, 0, str(tmp_path / "out"), mode="auto")
    with contextlib.suppress(KeyboardInterrupt), reacting(say):
        rollout(config, lambda checkpoint: Confused((8, 10)), operator)
    assert Dataset(tmp_path / "out").episode_metadata(0)["guard/latched"] == "not finite"
    return asked


def test_on_hardware_nothing_goes_on_by_itself_after_the_guard_stopped_the_arm(running, tmp_path, monkeypatch):
    first, second = asked_after_a_latched_guard(running, tmp_path, monkeypatch, "hardware", Command.CONFIRM)
    assert "by itself" in first
    assert "the motion guard stopped the arm (not finite)" in second and "[Enter; x stops]" in second
    assert Dataset(tmp_path / "out").num_episodes == 2


def test_a_person_may_end_the_run_there(running, tmp_path, monkeypatch):
    asked_after_a_latched_guard(running, tmp_path, monkeypatch, "hardware", Command.STOP)
    assert Dataset(tmp_path / "out").num_episodes == 1


def test_the_emulator_goes_on_after_a_latched_guard(running, tmp_path, monkeypatch):
    assert asked_after_a_latched_guard(running, tmp_path, monkeypatch, "emulator", Command.STOP) == []
    assert Dataset(tmp_path / "out").num_episodes == 2


def test_a_guard_that_latched_with_nobody_there_any_more_ends_the_run():
    operator = Answering()
    operator.devices[0].lost.set()
    with pytest.raises(UserError, match="nobody is there to confirm"):
        ConfirmBeforeEpisode(operator, None, confirms=False)(1, "not finite")
