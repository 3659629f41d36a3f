"""The robot as the loop's environment, on the emulator over sockets."""

import time

import gymnasium
import numpy as np
import pytest
from fr3 import FR3
from running import HOST, Running, Swing
from waiting import wait_for

from real.cameras.camera import EmulatorCamera, fit
from real.core.faults import RobotFault, RobotUnreachable
from real.core.json_lines import JsonLineClient
from real.emulator.method_table import Method
from real.workcell.env import RobotEnv
from real.workcell.episode_setup import EmulatedBench, EpisodeSetup, OperatorBench, Outcome
from sim.core import contract
from sim.core.errors import UserError
from sim.envs.sim_env import GymEnv
from sim.episode.loop import run_episode
from sim.guard.motion_guard import MotionGuard


class Notes:
    """A recorder that keeps everything."""

    def __init__(self):
        self.steps = []

    def add(self, step) -> None:
        self.steps.append(
            (step.observation, step.requested, step.executed, step.feedback, step.flags, step.ground_truth)
        )


@pytest.fixture
def old():
    """A release that refuses MoveGripper in servo mode."""
    emulator = Running("3.8.5")
    yield emulator
    emulator.stop()


@pytest.fixture
def env(running):
    with running.env() as connected:
        yield connected


def test_an_episode_runs_in_the_common_loop_and_everything_reaches_the_recorder(env, running):
    notes = Notes()
    result = run_episode(env, Swing(), MotionGuard(FR3, max_age_s=5.0), seed=3, recorder=notes)
    assert result.steps == 12  # the time limit of the bench: 0.6 s
    assert not result.success
    observation, _, executed, _, _, ground_truth = notes.steps[0]
    assert observation.instruction == "task 3"
    assert {name: image.shape for name, image in observation.images.items()} == dict.fromkeys(
        FR3.camera_names, (8, 10, 3)
    )
    assert observation.images["wrist"].mean() == 20
    np.testing.assert_allclose(observation.state[:6], np.array(FR3.home_rad) + 0.03, atol=1e-6)
    np.testing.assert_array_equal(ground_truth["grounding.object_pos_w"], [1, 2, 3])
    assert 0 <= observation.age_s < 5.0
    assert env.metadata()["draw/wording"] == 3
    assert env.metadata()["robot/fault"] == ""
    moved = max(abs(step[0].state[0] - observation.state[0]) for step in notes.steps)
    assert moved > 0.01
    assert notes.steps[-1][0].state[-1] == pytest.approx(0.5, abs=0.02)


def test_success_ends_the_episode_when_it_has_held(env, running):
    env.reset(0)
    action = env.observe().state
    assert not env.apply(action).terminated
    running.world.goal = True
    assert not env.apply(action).success
    feedback = env.apply(action)
    assert feedback.terminated
    assert feedback.success
    assert feedback.reward == 0.0


def test_ticks_are_twenty_a_second_by_absolute_deadlines(env):
    env.reset(0)
    action, first_s = env.observe().state, env.rate._deadline_s
    for _ in range(10):
        env.apply(action)
    assert time.monotonic() - first_s >= 0.45  # none is caught up on


def test_a_fault_truncates_the_episode_and_the_next_reset_raises_it(env, running):
    env.reset(0)
    action = env.observe().state
    running.controller.press_emergency_stop()
    feedback = env.apply(action)
    for _ in range(200):
        if feedback.truncated:
            break
        feedback = env.apply(action)
    assert feedback.truncated
    assert not feedback.success
    assert env.observe().images
    assert env.metadata()["robot/fault"]
    with pytest.raises(RobotFault):
        env.reset(1)


def test_a_decision_that_a_stop_has_overtaken_moves_not_even_the_gripper(env, running):
    env.reset(0)
    action = env.observe().state
    wait_for(lambda: running.controller.gripper.opening == 1.0)
    env.halt("stop")
    wait_for(lambda: not env.stream.running)
    action[-1] = 0.0
    assert env.apply(action).truncated and env.metadata()["robot/fault"] == "stop"
    assert np.isnan(env.send_delay_s)
    time.sleep(0.3)
    assert running.controller.gripper.opening == 1.0


def test_the_arm_without_a_policy_moves_no_gripper_after_a_stop(env, running):
    with env.guarded_arm() as arm:
        env.halt("stop")
        wait_for(lambda: not env.stream.running)
        arm.opening = 0.0
        with pytest.raises(RobotFault, match="stop"):
            arm.hold(1.0)
        time.sleep(0.3)
    assert running.controller.gripper.opening == 1.0


def test_nor_does_it_while_the_stop_is_not_acknowledged_yet(env, running):
    with env.guarded_arm() as arm:
        running.emulator.injector.inject("slow_rpc", 0.4)
        env.halt("stop")
        arm.opening = 0.0
        with pytest.raises(RobotFault, match="stop"):
            arm.hold(0.1)
        wait_for(lambda: not env.stream.running)
        time.sleep(0.6)  # in which a command that had left would arrive
    assert running.controller.gripper.opening == 1.0


def test_a_pause_for_the_gripper_counts_to_the_time_until_the_first_servo_j(old, monkeypatch):
    with old.env() as env:
        env.reset(0)
        action = env.observe().state
        action[-1] = 0.0
        pause, paused_s = env.driver.gripper.send_in_pause, 0.4
        monkeypatch.setattr(env.driver.gripper, "send_in_pause", lambda: (time.sleep(paused_s), pause()))
        env.apply(action)
        assert env.fault is None
        assert paused_s < env.send_delay_s < paused_s + 3.0


def test_a_camera_that_falls_silent_truncates(env, running):
    env.reset(0)
    running.emulator._cameras.shutdown()
    env.cameras["front"].close()  # the next look has to connect anew
    env.cameras["front"]._client.address = (HOST, 1)
    feedback = env.apply(env.observe().state)
    assert feedback.truncated
    assert "camera front" in env.metadata()["robot/fault"]


def test_close_ends_servo_mode_and_may_come_twice(running):
    env = running.env()
    env.reset(0)
    assert running.controller.in_servo
    env.close()
    assert not running.controller.in_servo
    env.close()


def test_the_bench_is_not_reset_under_a_moving_arm(env):
    env.reset(0)
    with pytest.raises(UserError, match="servo mode"):
        env.bench.prepare(1)


def test_without_a_camera_nothing_begins(driver):
    with pytest.raises(UserError, match="wrist"):
        RobotEnv(driver, {"front": None}, None)


def test_the_gymnasium_view_has_the_simulator_s_spaces(env):
    view = GymEnv(env, (8, 10))
    observation, info = view.reset(seed=2)
    assert observation in view.observation_space
    assert isinstance(view.action_space, gymnasium.spaces.Box)
    observation, reward, terminated, truncated, info = view.step(observation["state"])
    assert observation in view.observation_space
    assert (reward, terminated, truncated, info["instruction"]) == (-1.0, False, False, "task 2")


def test_the_gymnasium_view_of_an_arm_is_guarded(env):
    view = GymEnv(env, (8, 10))
    observation, _ = view.reset(seed=2)
    played, apply = [], env.apply
    env.apply = lambda action: played.append(action) or apply(action)
    beyond = observation["state"] + np.array([0, 0.9, 0, 0, 0, 0, 0], np.float32)
    _, _, terminated, truncated, info = view.step(beyond)
    assert (terminated, truncated, info["guard"]) == (False, True, "jump of the target")
    assert np.abs(played[0][:6] - observation["state"][:6]).max() < 0.01
    with pytest.raises(UserError, match="stopped the arm: jump of the target; look why"):
        view.reset(seed=2)  # as a training loop does by itself
    view.reset(seed=2, options={"confirmed": True})
    assert "guard" not in view.step(view.env.observe().state)[-1]
    env.clearance = wall = _Wall()
    view = GymEnv(env, (8, 10))
    observation, _ = view.reset(seed=2)
    for _ in range(4):
        observation, _, _, _, info = view.step(observation["state"] - np.array([0.1, 0, 0, 0, 0, 0, 0], np.float32))
    assert observation["state"][0] > wall.begun_at[0] - 0.01 and "guard" not in info


class _Laid(EmulatedBench):
    """An emulated bench where the robot must go to its start pose itself."""

    sets_start_pose = False


def test_on_hardware_the_arm_goes_home_slowly_through_the_servo(running):
    with running.env(_Laid(running.address("bench_port"))) as env:
        env.reset(4)  # 0.04 rad away from home
        state, _ = env.driver.state()
        np.testing.assert_allclose(state[:6], FR3.home_rad, atol=0.01)
        assert state[-1] == 1.0


class _Wall:
    """Something stands where joint 1 is below what it is at home."""

    def reset(self, joints_rad):
        self.begun_at = joints_rad

    def blocked(self, ways):
        return "upperarm near wall" if min(way[:, 0].min() for way in ways) < self.begun_at[0] - 0.01 else ""


def test_on_hardware_the_arm_does_not_go_home_through_what_is_known_to_be_there(running):
    with running.env(_Laid(running.address("bench_port"))) as env:
        env.clearance = _Wall()
        with pytest.raises(RobotFault, match=r"blocked \(upperarm near wall\)"):
            env.reset(4)
        assert not env.stream.running
        after, _ = env.driver.state()
        np.testing.assert_allclose(after[:6], np.array(FR3.home_rad) + 0.04, atol=1e-3)


class _Below:
    """Something comes near once the whole way was looked along."""

    def __init__(self):
        self.asked = 0

    def reset(self, joints_rad):
        pass

    def blocked(self, ways):
        self.asked += 1
        return "wrist near box" if self.asked > 1 else ""


def test_homing_passes_the_motion_guard_on_its_way(running):
    with running.env(_Laid(running.address("bench_port"))) as env:
        env.clearance = _Below()
        with pytest.raises(RobotFault, match="not reached: .*stopped: wrist near box"):
            env.reset(4)
        assert not env.stream.running
        np.testing.assert_allclose(env.driver.state()[0][:6], np.array(FR3.home_rad) + 0.04, atol=1e-3)


class Attentive(MotionGuard):
    """Compares with the commands of the last half second, and is patient with a busy machine."""

    def __init__(self, robot, clearance):
        super().__init__(robot, clearance, max_age_s=0.5)
        self._max_age_s = 5.0


def test_homing_ends_when_the_arm_does_not_follow(running, monkeypatch):
    monkeypatch.setattr("real.control.guarded_motion.MotionGuard", Attentive)
    with running.env(_Laid(running.address("bench_port"))) as env:
        running.world.blocked = True
        running.controller.collision.set_strategy(1)  # nobody else stops it
        joints = running.world._joints = running.world._target = np.array(FR3.home_rad) + 0.7
        running.world.reset = lambda seed: None  # the arm stands where it was left
        with pytest.raises(RobotFault, match="the arm does not follow"):
            env.reset(0)
        assert not env.stream.running
        assert not running.controller.in_servo
        np.testing.assert_array_equal(running.world._joints, joints)


def test_an_action_that_comes_too_late_after_its_look_moves_nothing(env, running, monkeypatch):
    monkeypatch.setattr(contract, "MAX_DECISION_S", 1.0)

    class Slow(Swing):
        def act(self, observation):
            if self._step == 5:
                time.sleep(1.1)
                wait_for(lambda: np.abs(running.world.joint_velocity_rad_s()).max() == 0)
                self.before = running.world._joints.copy()
            return super().act(observation)

    agent = Slow()
    result = run_episode(env, agent, MotionGuard(FR3, max_age_s=5.0), seed=3)
    assert result.steps == 6
    assert "a decision took 1." in env.metadata()["robot/fault"]
    wait_for(lambda: not running.controller.in_servo)
    np.testing.assert_array_equal(running.world._joints, agent.before)


@pytest.mark.parametrize("laid", [EmulatedBench, _Laid])
def test_a_gripper_that_is_refused_in_and_out_of_servo_mode_ends_before_motion(old, laid):
    with old.env(laid(old.address("bench_port"))) as env:
        old.controller.gripper.activate(1, 0)
        with pytest.raises(RobotFault, match=r"activate it on the web page.* code 73"):
            env.reset(4)
        np.testing.assert_allclose(env.driver.state()[0][:6], np.array(FR3.home_rad) + 0.04, atol=1e-3)
        assert not old.controller.in_servo
        with pytest.raises(RobotFault, match="code 73"), env.guarded_arm():
            raise AssertionError("entered")
        assert not old.controller.in_servo


@pytest.mark.parametrize("ended", [False, True])
def test_a_stop_while_the_gripper_is_tried_leaves_the_arm_without_a_stream(old, monkeypatch, ended):
    """ended: servo mode is over before the gripper is told, which then is not refused any more."""
    with old.env() as env:
        told, move = [], env.driver.gripper.move_and_wait

        def stopped_meanwhile(opening: float) -> None:
            told.append(opening)
            if len(told) == 1:
                env.stream.watchdog.trip(RobotFault("collision"))
                if ended:
                    wait_for(lambda: not old.controller.in_servo)
            move(opening)

        monkeypatch.setattr(env.driver.gripper, "move_and_wait", stopped_meanwhile)
        with pytest.raises(RobotFault, match="collision"):
            env.reset(4)
        assert len(told) == 1 and not env.stream.running and not old.controller.in_servo


def test_the_stream_pauses_for_the_gripper_on_a_release_that_refuses_it_in_servo_mode(old):
    resets = []
    old.serve("ResetAllError", Method(0, lambda: resets.append(1) or 0))
    with old.env() as env:
        notes = Notes()
        result = run_episode(env, Swing(), MotionGuard(FR3, max_age_s=5.0), seed=3, recorder=notes)
        assert result.steps == 12 and env.fault is None
        assert env.driver.gripper.needs_pause
        wait_for(lambda: old.controller.gripper.opening == pytest.approx(0.5))
        moved = [step[0].state[0] for step in notes.steps]
        assert max(moved) - min(moved) > 0.01  # the arm goes on after the pause
        assert env.stream.running
        env.reset(4)
        assert env.stream.running
    assert not resets, "no fault is cleared"
    assert old.controller.monitor.violation_count == 0


def test_an_emergency_stop_while_the_arm_is_guided_is_the_fault_and_leaves_nothing_to_stop(env, running):
    env.reset(0)
    env.guiding.begin()
    action = env.observe().state
    running.controller.press_emergency_stop()
    wait_for(lambda: env.apply(action).truncated)
    assert "emergency stop is pressed" in env.metadata()["robot/fault"]
    assert not env.guiding.active
    assert env.stop_failure() == ""


@pytest.mark.parametrize(("event", "why"), [("drives", "drives went off"), ("mode", "left manual mode")])
def test_guiding_that_ends_at_the_controller_ends_the_episode(env, running, event, why):
    env.reset(0)
    env.guiding.begin()
    action = env.observe().state
    assert not env.apply(action).truncated
    if event == "drives":
        running.controller.set_enabled(0)
    else:
        running.controller.set_drag_teach(0)
        running.controller.set_mode(0)
    wait_for(lambda: env.apply(action).truncated)
    assert why in env.metadata()["robot/fault"]
    assert not env.guiding.active


def test_the_person_is_asked_to_lay_out():
    asked = []
    bench = OperatorBench("put it there", 30.0, asked.append)
    assert bench.prepare(0) == EpisodeSetup("put it there", 30.0)
    assert "put it there" in asked[0]
    assert bench.outcome() == Outcome(success=False)


def test_unknown_camera_bench_command_and_accident_name_the_choices(running):
    with pytest.raises(UserError, match="'front', 'wrist'"):
        EmulatorCamera("frnt", running.address("camera_port")).latest()
    bench = JsonLineClient("bench", running.address("bench_port"), 5.0)
    with pytest.raises(UserError, match="did you mean 'reset'"):
        bench.request({"do": "rest"})
    with pytest.raises(UserError, match="emergency_stop"):
        EmulatedBench(running.address("bench_port")).inject("emergency_stopp")


def test_a_missing_camera_server_is_one_error():
    with pytest.raises(RobotUnreachable, match="camera front at 127.0.0.1:1 does not answer"):
        EmulatorCamera("front", (HOST, 1)).latest()


def test_pictures_are_cropped_to_the_aspect_before_they_are_resized():
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, 8:56] = 200
    square = fit(
        image, 24, 24, lambda picture, size: picture[:: picture.shape[0] // size[1], :: picture.shape[1] // size[0]]
    )
    assert square.shape == (24, 24, 3)
    assert square.min() == 200
