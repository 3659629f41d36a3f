"""An arm that did not acknowledge its last stop: the end of the run says so, and does not count as success."""

import pytest
from fr3 import FR3
from running import HOST, Swing

from real.core.faults import RobotFault, with_notes
from real.rollout.rollout import RolloutConfig, rollout
from real.workcell.connect import RobotConnection, raise_unless_stopped
from sim.dataset.reader import Dataset
from sim.episode.loop import run_episode
from sim.guard.motion_guard import MotionGuard


def refuse_stops(running) -> None:
    running.answer("StopMotion", 0, 77)


def test_a_normal_end_without_a_stop_is_an_error(running, tmp_path):
    refuse_stops(running)
    robot = RobotConnection(ip=HOST, start="never", deadline_s=5.0, **running.ports)
    config = RolloutConfig(robot, str(tmp_path), 1, 0, str(tmp_path / "out"))
    with pytest.raises(
        RobotFault, match=r"may still move: its last stop failed \(StopMotion refused: code 77.*emergency stop"
    ):
        rollout(config, lambda checkpoint: Swing((8, 10)))
    assert Dataset(tmp_path / "out").num_episodes == 1


def test_an_interrupt_says_it_too(running):
    with running.env() as env:
        env.reset(0)
        refuse_stops(running)
        with pytest.raises(KeyboardInterrupt) as ended, raise_unless_stopped(env):
            raise KeyboardInterrupt
    assert "the arm may still move" in with_notes(ended.value)


def test_what_is_acknowledged_at_the_second_try_is_no_error(running):
    with running.env() as env:
        with raise_unless_stopped(env):
            env.reset(0)
            table = running.emulator.rpc.instance._table
            stop = table["StopMotion"]
            refuse_stops(running)
            env.rest()
            assert env.stream.stop_failure
            table["StopMotion"] = stop
        assert not env.stream.stop_failure


def test_an_arm_that_gives_way_at_the_end_is_told(running):
    with running.env() as env:
        env.guiding.begin()
        with pytest.raises(RobotFault, match="may still be in drag teaching"), raise_unless_stopped(env):
            running.answer("DragTeachSwitch", 1, 77)


def test_a_fault_is_recorded_with_the_stop_that_failed(running):
    class Careless(Swing):
        def act(self, observation):
            if self._step == 3:
                refuse_stops(running)
                env.halt("the operator's stop key")
            return super().act(observation)

    with running.env() as env:
        run_episode(env, Careless(), MotionGuard(FR3, max_age_s=5.0), 0)
        recorded = env.metadata()["robot/fault"]
    assert recorded.startswith("the operator's stop key; and the stop itself failed: StopMotion refused: code 77")
