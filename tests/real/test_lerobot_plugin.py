"""LeRobot's plugin on the emulator: over LeRobot 0.6 itself where that is installed (`make test-lerobot`), else over
stand-ins that have the members of LeRobot's classes that it uses, and no more."""

import dataclasses
import enum
import functools
import importlib
import importlib.util
import sys
import time
import tomllib
import types
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from fr3 import FR3
from running import HOST
from waiting import PATIENCE_S

from real.control.servo_stream import ServoStream
from real.core.faults import RobotFault, RobotUnreachable
from real.workcell.connect import RobotConnection, _emulated_cameras
from real.workcell.emulator_process import PORTS
from real.workcell.env import RobotEnv
from sim.core.errors import UserError
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.guard.motion_guard import MotionGuard
from sim.guard.workspace import Workspace
from sim.scene.build import RenderConfig

DISTRIBUTION = Path(__file__).resolve().parents[2] / "real" / "lerobot_robot_fairino_fr3"
NAME = "lerobot_robot_fairino_fr3"
VALUES = [f"j{i}.pos" for i in range(1, 7)] + ["gripper.pos"]
LEROBOT = importlib.util.find_spec("lerobot") is not None
NO_LEROBOT = "LeRobot 0.6 is not installed: it needs Python 3.12 and an environment of its own, see the plugin's README"


class Registry:
    """`draccus.ChoiceRegistry`: subclasses by name."""

    @classmethod
    def register_subclass(cls, name: str):
        def register(subclass):
            cls.choices[name] = subclass
            return subclass

        return register


@dataclasses.dataclass(kw_only=True)
class StandInRobotConfig(Registry):
    """lerobot/robots/config.py, v0.6.1."""

    choices = {}
    id: str | None = None
    calibration_dir: Path | None = None


class StandInRobot:
    """lerobot/robots/robot.py, v0.6.1, without the calibration file."""

    def __init__(self, config):
        self.robot_type, self.id = self.name, config.id

    def __str__(self) -> str:
        return f"{self.id} {self.__class__.__name__}"


@dataclasses.dataclass
class StandInEnvConfig(Registry):
    """lerobot/envs/configs.py, v0.6.1."""

    choices = {}
    task: str | None = None
    fps: int = 30
    features: dict = dataclasses.field(default_factory=dict)
    features_map: dict = dataclasses.field(default_factory=dict)
    max_parallel_tasks: int = 1
    disable_env_checker: bool = True

    @property
    def gym_id(self) -> str:
        return f"{self.package_name}/{self.task}"


@dataclasses.dataclass
class StandInPolicyConfig(Registry):
    """lerobot/configs/policies.py, v0.6.1."""

    choices = {}
    device: str | None = None
    push_to_hub: bool = True


FeatureType = enum.Enum("FeatureType", ["STATE", "VISUAL", "ENV", "ACTION"])
PolicyFeature = dataclasses.make_dataclass("PolicyFeature", ["type", "shape"])


@pytest.fixture
def plugin(monkeypatch):
    if LEROBOT:
        yield importlib.import_module(NAME)
        return
    stand_ins = {
        "lerobot": {},
        "lerobot.robots": {"Robot": StandInRobot, "RobotConfig": StandInRobotConfig},
        "lerobot.configs": {
            "FeatureType": FeatureType,
            "PolicyFeature": PolicyFeature,
            "PreTrainedConfig": StandInPolicyConfig,
        },
        "lerobot.envs": {},
        "lerobot.envs.configs": {"EnvConfig": StandInEnvConfig},
    }
    for name, members in stand_ins.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.syspath_prepend(str(DISTRIBUTION))
    yield importlib.import_module(NAME)
    for name in [name for name in sys.modules if name.startswith(NAME)]:
        del sys.modules[name]


def test_the_distribution_has_the_name_that_lerobot_looks_for():
    about = tomllib.loads((DISTRIBUTION / "pyproject.toml").read_text())
    assert about["project"]["name"] == NAME == about["tool"]["setuptools"]["packages"][0]
    assert (DISTRIBUTION / NAME / "__init__.py").is_file()
    assert "lerobot[core-scripts,training]>=0.6,<0.7" in about["project"]["dependencies"]


@pytest.mark.skipif(LEROBOT, reason="of the stand-ins")
def test_importing_registers_robot_and_environment_by_lerobots_rules(plugin):
    assert StandInRobotConfig.choices["fairino_fr3"] is plugin.FairinoFR3Config
    assert StandInEnvConfig.choices["fairino_fr3"] is plugin.FairinoFR3Env
    # _get_policy_cls_from_policy_name: the module's `configuration_` becomes `modeling_` and `processor_`.
    kind = StandInPolicyConfig.choices["fr3_vla"]
    assert kind is plugin.FR3VLAConfig and kind.__module__ == f"{NAME}.configuration_fr3_vla"
    assert all((DISTRIBUTION / NAME / f"{part}_fr3_vla.py").is_file() for part in ("modeling", "processor"))
    # make_device_from_device_class: the config's name less "Config", in the package that holds the config's module.
    kind = plugin.FairinoFR3Config
    assert getattr(importlib.import_module(kind.__module__.rpartition(".")[0]), kind.__name__[:-6]) is plugin.FairinoFR3


def robot_on(running, plugin, **options):
    at = dict(id="a", ip=HOST, start="never", deadline_s=5.0, image_height=8, image_width=10)
    return plugin.FairinoFR3(plugin.FairinoFR3Config(**at, **running.ports, **options))


def test_options_with_a_name_of_the_projects_own_mean_the_same(plugin):
    values = {port: number for number, port in enumerate(PORTS, 1)}
    values |= {"kind": "hardware", "ip": "192.168.58.2", "servo": "rpc", "exposure": 16_600.0}
    values |= {"deadline_s": 3.0, "gripper_index": 2, "speed_percent": 50, "workspace": Workspace(table_z_m=0.1)}
    known, own = ({field.name for field in dataclasses.fields(of)} for of in (plugin.FairinoFR3Config, RobotConnection))
    assert known & own == {*values, "start"}
    session, default = plugin.FairinoFR3Config(**values).session(), RobotConnection()
    assert {name: getattr(session, name) for name in values} == values
    assert not any(getattr(default, name) == value for name, value in values.items())
    assert session.start == "never"  # an arm
    assert plugin.FairinoFR3Config(id="a", start="always").session().start == "always"


@pytest.fixture
def unhurried(plugin, monkeypatch):
    """A busy test machine may let an observation age; that is not what is tested here."""
    monkeypatch.setattr(f"{NAME}.paced_motion.MotionGuard", functools.partial(MotionGuard, max_age_s=5.0))


@pytest.mark.usefixtures("unhurried")
def test_the_robot_sees_and_moves_as_its_features_say(running, plugin):
    robot = robot_on(running, plugin)
    assert list(robot.action_features) == VALUES
    assert not robot.is_connected
    with pytest.raises(UserError, match="not connected"):
        robot.get_observation()
    robot.connect()
    try:
        seen = robot.get_observation()
        assert set(seen) == set(robot.observation_features) == {*VALUES, "front", "wrist"}
        for camera in FR3.camera_names:
            assert seen[camera].shape == robot.observation_features[camera] == (8, 10, 3)
        np.testing.assert_allclose([seen[name] for name in VALUES[:6]], FR3.home_rad, atol=1e-3)
        asked = {name: seen[name] for name in VALUES} | {"j1.pos": seen["j1.pos"] + 0.02, "gripper.pos": 0.5}
        moved = seen
        until_s = time.monotonic() + PATIENCE_S
        while moved["j1.pos"] < seen["j1.pos"] + 0.005 and time.monotonic() < until_s:
            sent = robot.send_action(asked)
            time.sleep(0.05)  # as LeRobot's own loop does at 20 Hz
            moved = robot.get_observation()
        assert sent["j1.pos"] == pytest.approx(asked["j1.pos"], abs=0.01)
        with pytest.raises(UserError, match=r"lacks j1\.pos"):
            robot.send_action({name: 0.0 for name in VALUES[1:]})
        assert moved["j1.pos"] > seen["j1.pos"] + 0.005
    finally:
        robot.disconnect()
    assert not running.controller.in_servo
    assert not robot.is_connected


@pytest.mark.parametrize(
    ("model", "release", "says"),
    [("FR5-V1-002(V6.0)", "V3.9.6", "drives a FAIRINO FR3"), ("FR3-V1-002(V6.0)", "V3.6.9", "release: V3.6.9")],
)
def test_another_arm_or_a_release_too_old_is_refused_with_the_drives_off(running, plugin, model, release, says):
    running.answer("GetSoftwareVersion", 0, [0, model, release, "V3.9.33-QX"])
    robot = robot_on(running, plugin)
    with pytest.raises(UserError, match=says):
        robot.connect()
    assert not running.controller.enabled
    assert not robot.is_connected


def test_the_gripper_of_the_arm_is_not_activated(running, plugin, monkeypatch):
    monkeypatch.setattr(
        "real.workcell.connect._cameras", lambda config, size, *, depth: _emulated_cameras(config, depth=depth)
    )
    robot = robot_on(running, plugin, kind="hardware")
    robot.connect()
    robot.disconnect()
    assert running.controller.enabled
    assert not running.controller.gripper.active


def test_an_action_for_an_observation_that_is_old_stops_the_arm(running, plugin):
    robot = robot_on(running, plugin, max_answer_s=0.25)
    robot.connect()
    try:
        seen = robot.get_observation()
        time.sleep(0.3)
        with pytest.raises(UserError, match="stale observation"):
            robot.send_action({name: seen[name] for name in VALUES})
        assert not running.controller.in_servo
    finally:
        robot.disconnect()


@pytest.mark.usefixtures("unhurried")
def test_workspace_and_speed_reach_the_guard(running, plugin):
    whole = Workspace()
    robot = robot_on(running, plugin, speed_percent=10, workspace=Workspace(whole.tool_min_m, (0.3, 0.6, 0.05)))
    robot.connect()  # the tool stands above that: it may go no further out
    try:
        seen = robot.get_observation()
        up = {name: seen[name] for name in VALUES} | {"j2.pos": seen["j2.pos"] - 0.1}
        began_s = time.monotonic()
        while time.monotonic() < began_s + 1.0:
            periods = (time.monotonic() - began_s) / 0.05 + 1
            sent = robot.send_action(up)
            assert abs(sent["j2.pos"] - seen["j2.pos"]) < periods * 0.0062
            robot.get_observation()
        assert "tool outside its workspace" in " ".join(robot._motion.guard.report.counts)
    finally:
        robot.disconnect()


@pytest.mark.usefixtures("unhurried")
def test_a_jump_is_held_back_by_the_guard_and_an_arm_in_fault_is_surfaced(running, plugin):
    robot = robot_on(running, plugin)
    robot.connect()
    try:
        seen = robot.get_observation()
        far = {name: seen[name] for name in VALUES} | {"j1.pos": seen["j1.pos"] + 0.5}
        for _ in range(3):
            assert abs(robot.send_action(far)["j1.pos"] - seen["j1.pos"]) < 0.49
            time.sleep(0.05)
        running.controller.press_emergency_stop()
        with pytest.raises(RobotFault):
            _look_often(robot)
    finally:
        robot.disconnect()


@pytest.mark.usefixtures("plugin")
def test_after_a_pause_the_guard_begins_anew_once_the_arm_rests():
    """A quarter of a second without an action: the stream brakes, and may move still when the next one comes."""
    told, state = [], np.array([*FR3.home_rad, 1.0], np.float32)
    at_rest = {"ended_by": None, "running": True, "still": False, "commanded_rad": state[:6]}
    stream = types.SimpleNamespace(**at_rest, set_target=lambda joints: told.append("target"))
    gripper = types.SimpleNamespace(move=lambda opening: None, due_in_pause=False)
    driver = types.SimpleNamespace(state=lambda: (state, 0.0), state_age_s=0.0, gripper=gripper)
    env = types.SimpleNamespace(robot=FR3, clearance=None, stream=stream, driver=driver)
    paced = importlib.import_module(f"{NAME}.paced_motion").PacedMotion(env)
    reset = paced.guard.reset
    paced.guard.reset = lambda state: told.append("anew") or reset(state)
    paced._newest = state, time.monotonic() + PATIENCE_S, 0.0
    paced._tick()
    assert told == []
    stream.still = True
    paced._tick()
    paced._tick()
    stream.ended_by = RobotFault("its stop is under way")
    with pytest.raises(RobotFault):
        paced._tick()
    assert told == ["anew", "target", "target"]


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("hz", [60, 30, 10])
def test_the_limits_hold_at_every_rate(running, plugin, hz, monkeypatch):
    """A leader arm swings at up to 200 deg/s; what reaches the stream keeps 70 deg/s and 10 rad/s^2 in real time."""
    targets, anew = [], []  # anew: the targets at which an arm at rest began again, from where its servo had come to
    paced = importlib.import_module(f"{NAME}.paced_motion").PacedMotion
    begin, set_target = paced._begin, ServoStream.set_target
    monkeypatch.setattr(paced, "_begin", lambda self: (anew.append(len(targets)), begin(self))[1])
    monkeypatch.setattr(
        ServoStream, "set_target",
        lambda self, joints: (targets.append((time.monotonic(), np.array(joints))), set_target(self, joints))[1],
    )  # fmt: skip
    robot = robot_on(running, plugin)
    robot.connect()
    try:
        start = robot.get_observation()
        began_s = time.monotonic()
        while len(targets) < 30 and (now_s := time.monotonic() - began_s) < 30.0:
            robot.get_observation()
            robot.send_action({**{name: start[name] for name in VALUES}, "j1.pos": start["j1.pos"] + swing(now_s)})
            time.sleep(1 / hz)
    finally:
        robot.disconnect()
    times, joints = np.array([at for at, _ in targets]), np.stack([target for _, target in targets])
    took_s, steps = np.diff(times), np.diff(joints, axis=0)
    assert took_s.min() > FR3.control_period_s - 0.002
    assert (np.abs(steps).max(1) / took_s).max() <= FR3.policy_speed_rad_s
    led = ~np.isin(np.arange(1, len(targets)), anew)  # on a busy machine the loop may pause
    assert led.sum() > 10 and np.abs(steps[led]).max() <= FR3.policy_speed_rad_s * FR3.control_period_s
    changes = np.diff(steps, axis=0)[led[1:] & led[:-1]]
    assert np.abs(changes).max() <= FR3.policy_accel_rad_s2 * FR3.control_period_s**2
    assert np.abs(steps).max() > 0.3 * FR3.policy_speed_rad_s * FR3.control_period_s  # it did move


def swing(time_s: float) -> float:
    """J1 in rad, of 3.5 rad/s at most."""
    return 0.35 * np.sin(10.0 * time_s)


@pytest.mark.usefixtures("unhurried")
def test_an_error_of_any_kind_stops_the_arm_and_reaches_who_sends(running, plugin, monkeypatch):
    robot = robot_on(running, plugin)
    robot.connect()
    try:
        seen = robot.get_observation()
        action = {name: seen[name] for name in VALUES}
        robot.send_action(action)
        assert until(lambda: running.controller.in_servo)

        def broken(*_: object) -> None:
            raise ZeroDivisionError("no period")

        monkeypatch.setattr(robot._motion, "_tick", broken)
        assert until(lambda: not running.controller.in_servo)
        with pytest.raises(ZeroDivisionError):
            robot.send_action(action)
    finally:
        robot.disconnect()


def until(condition, within_s: float = PATIENCE_S) -> bool:
    end_s = time.monotonic() + within_s
    while not condition() and time.monotonic() < end_s:
        time.sleep(0.02)
    return condition()


@pytest.mark.usefixtures("unhurried")
def test_nothing_streams_before_the_first_action_nor_in_a_pause(running, plugin):
    """A first inference may take long, as may the encoding of an episode: the arm is out of servo mode meanwhile."""
    robot = robot_on(running, plugin)
    robot.connect()
    try:
        for away in (0.05, 0.1):
            seen = robot.get_observation()
            assert not running.controller.in_servo
            time.sleep(0.6)
            asked = {name: seen[name] for name in VALUES} | {"j1.pos": FR3.home_rad[0] + away}
            robot.send_action(asked)

            def moves() -> bool:
                sent = robot.send_action(asked)["j1.pos"]  # noqa: B023
                return sent > FR3.home_rad[0] + away - 0.002 and running.controller.in_servo  # noqa: B023

            assert until(moves)
            assert until(lambda: not running.controller.in_servo)
    finally:
        robot.disconnect()


@pytest.mark.usefixtures("unhurried")
def test_after_a_pause_the_fingers_go_on_holding_what_is_between_them(running, plugin, monkeypatch):
    world, controller = running.world, running.controller
    monkeypatch.setattr(world, "state", lambda: np.array([*world._joints, max(world._opening, 0.43)], np.float32))
    told, move = [], controller.move_gripper
    monkeypatch.setattr(
        controller, "move_gripper", lambda index, percent, speed: (told.append(percent), move(index, percent, speed))[1]
    )
    robot = robot_on(running, plugin)
    robot.connect()
    try:
        closed = {name: robot.get_observation()[name] for name in VALUES} | {"gripper.pos": 0.0}
        assert until(lambda: robot.send_action(closed) and told and told[-1] == 0)
        assert until(lambda: not controller.in_servo)
        before = len(told)
        assert until(lambda: robot.send_action(closed) and controller.in_servo)
        assert until(lambda: len(told) > before)
        assert set(told[before:]) == {0}
    finally:
        robot.disconnect()


@pytest.mark.usefixtures("unhurried")
def test_a_return_to_the_start_needs_no_observation(running, plugin):
    """As lerobot-rollout ends: one look, then actions at 50 Hz for longer than an observation may be old."""
    robot = robot_on(running, plugin)
    robot.connect()
    try:
        start = {name: robot.get_observation()[name] for name in VALUES}
        for step in range(120):
            away = 0.1 * np.sin(np.pi * step / 120)
            robot.send_action(start | {"j1.pos": start["j1.pos"] + away})
            time.sleep(0.02)
        assert until(lambda: abs(robot.send_action(start)["j1.pos"] - start["j1.pos"]) < 0.002)
    finally:
        robot.disconnect()


def test_a_state_that_is_late_after_a_pause_is_waited_for(running, plugin, monkeypatch):
    late = iter([RobotUnreachable("no state")] * 3)

    def capture(env):
        for error in late:
            raise error
        return whole(env)

    robot = robot_on(running, plugin)
    robot.connect()
    whole = RobotEnv.capture
    try:
        monkeypatch.setattr(RobotEnv, "capture", capture)
        assert set(robot.get_observation()) == {*VALUES, "front", "wrist"}
    finally:
        robot.disconnect()


def _look_often(robot) -> None:
    for _ in range(100):
        robot.get_observation()


def test_the_environment_plays_at_the_rate_that_it_states(plugin):
    config = plugin.FairinoFR3Env(fps=25, image_height=32, image_width=48)
    env = gymnasium.make(config.gym_id, disable_env_checker=True, **config.gym_kwargs)
    try:
        env.reset(seed=3)
        assert env.unwrapped.metadata["render_fps"] == 25
        assert env.get_wrapper_attr("_bench").robot.control_hz == 25
        before_s = env.get_wrapper_attr("_bench").world.data.time
        env.step(np.array([*FR3.home_rad, 1.0], np.float32))
        assert env.get_wrapper_attr("_bench").world.data.time - before_s == pytest.approx(1 / 25)
    finally:
        env.close()
    for fps in (30, 1000):  # a period of 33.3 ms is no whole number of physics steps; ServoJ has 125 a second
        with pytest.raises(UserError, match=rf"fps={fps}: expected one of 1, .* 20, 25, 50, 100, 125"):
            plugin.FairinoFR3Env(fps=fps)


def test_the_environments_seeds_are_of_evaluation(plugin):
    """lerobot-eval begins at 1000, where demonstrations lie."""
    config = plugin.FairinoFR3Env(image_height=32, image_width=48)
    env = gymnasium.make(config.gym_id, disable_env_checker=True, **config.gym_kwargs)
    bench = SimEnv(SimulationConfig(render=RenderConfig(height=32, width=48)))
    try:
        for given, played in ((1000, 901000), (900017, 900017)):
            observation, _ = env.reset(seed=given)
            bench.reset(played)
            assert np.array_equal(observation["agent_pos"].astype(np.float32), bench.observe().state)
            assert env.get_wrapper_attr("task_description") == bench.observe().instruction
    finally:
        env.close()


def test_an_unknown_task_is_named_with_the_nearest(plugin):
    with pytest.raises(UserError, match=r"unknown task 'stak'.*did you mean 'stack'"):
        plugin.FairinoFR3Env(task="stak")


def test_the_environment_is_what_lerobots_evaluation_asks_for(plugin):
    config = plugin.FairinoFR3Env(image_height=32, image_width=48)
    assert config.gym_id == f"{NAME}/pick_place"
    assert config.features_map["pixels/wrist"] == "observation.images.wrist"
    assert set(config.features) == set(config.features_map)
    env = gymnasium.make(config.gym_id, disable_env_checker=True, **config.gym_kwargs)
    try:
        observation, _ = env.reset(seed=3)
        assert observation in env.observation_space
        for key, feature in config.features.items():
            if key.startswith("pixels/"):
                assert observation["pixels"][key.removeprefix("pixels/")].shape == feature.shape
        assert observation["agent_pos"].shape == config.features["agent_pos"].shape
        assert "cube" in env.get_wrapper_attr("task_description")
        assert env.get_wrapper_attr("task") == "pick_place"
        assert env.get_wrapper_attr("_max_episode_steps") > 100
        _, reward, terminated, truncated, info = env.step(observation["agent_pos"].astype(np.float32))
        assert (reward, terminated, truncated, info["is_success"]) == (-1.0, False, False, False)
    finally:
        env.close()


@pytest.mark.skipif(not LEROBOT, reason=NO_LEROBOT)
def test_lerobot_discovers_and_builds_both():
    from lerobot.envs.factory import make_env, make_env_config  # pyright: ignore[reportMissingImports]
    from lerobot.robots import RobotConfig  # pyright: ignore[reportMissingImports]
    from lerobot.robots.utils import make_robot_from_config  # pyright: ignore[reportMissingImports]
    from lerobot.utils.import_utils import register_third_party_plugins  # pyright: ignore[reportMissingImports]

    register_third_party_plugins()
    robot = make_robot_from_config(RobotConfig.get_choice_class("fairino_fr3")())
    assert list(robot.action_features) == VALUES
    ((envs,),) = (suite.values() for suite in make_env(make_env_config("fairino_fr3"), n_envs=1).values())
    observation, _ = envs.reset(seed=[0])
    assert observation["agent_pos"].shape == (1, 7)
    envs.close()
