"""Logs of motion from the emulated controller without sockets, as fast as physics goes: an arm with known secrets."""

import numpy as np
from fr3 import CONTROL_PERIOD_S, SERVO_PERIOD_S

from real.calibrate.excitation import multisine
from real.calibrate.motion_log import MotionLog
from real.emulator.controller import Controller
from real.emulator.state_values import state_values
from real.emulator.twin import Twin
from sim.control.servo import Servo
from sim.envs.simulation import Simulation, SimulationConfig
from sim.randomize.ranges import RandomizeConfig, nominal


def hidden_world(seed: int, **ranges) -> Simulation:
    """A bench on which nothing but `ranges` varies."""
    return Simulation(SimulationConfig(randomize=RandomizeConfig(**{**vars(nominal()), **ranges})))


def recorded(controller: Controller, seconds: float, seed: int, rng: np.random.Generator) -> MotionLog:
    """The excitation streamed to `controller`, with the jitter of a network on every time."""
    controller.set_mode(0)
    controller.set_enabled(1)
    assert controller.servo_start() == 0
    robot = controller.twin.robot
    servo = Servo(robot)
    start = np.deg2rad(controller.measured_deg())
    servo.reset(start)
    targets, noted, states = multisine(robot, start, seconds, seed), [], []
    for cycle in range(round(seconds / SERVO_PERIOD_S)):
        now_s = cycle * SERVO_PERIOD_S
        if cycle == 0 or int(now_s / CONTROL_PERIOD_S) > int((now_s - SERVO_PERIOD_S) / CONTROL_PERIOD_S):
            servo.set_target(targets[min(int(now_s / CONTROL_PERIOD_S), len(targets) - 1)])
        command = servo.tick()
        noted.append((now_s - rng.uniform(0.003, 0.005), command))
        assert controller.servo_j(np.rad2deg(command).tolist(), SERVO_PERIOD_S) == 0
        controller.tick()
        states.append((now_s + SERVO_PERIOD_S + rng.exponential(0.0003), state_values(controller)))
    assert controller.main_code == 0
    joints, speeds = (np.deg2rad([values[name] for _, values in states]) for name in ("joint_deg", "joint_deg_s"))
    return MotionLog(
        np.array([at_s for at_s, _ in noted]), np.array([rad for _, rad in noted]),
        np.array([at_s for at_s, _ in states]), joints, speeds,
        np.array([values["servo_count"] for _, values in states]),
        np.array([values["gripper_position"] / 100 for _, values in states]),
    )  # fmt: skip


def hidden_log(world: Simulation, seed: int, seconds: float) -> MotionLog:
    """One motion of a hidden arm; `world.params` holds its secrets afterwards."""
    return recorded(Controller(Twin(world, seed)), seconds, seed, np.random.default_rng(seed))
