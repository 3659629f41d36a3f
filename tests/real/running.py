"""A controller emulator over real sockets on free ports, around an arm without physics."""

import threading
import types

import numpy as np
from fr3 import FR3

from real.cameras.camera import EmulatorCamera
from real.emulator.emulator import Emulator, EmulatorConfig
from real.emulator.method_table import Method
from real.fairino.driver import FairinoDriver
from real.fairino.ports import Ports
from real.workcell.emulator_process import PORTS
from real.workcell.env import RobotEnv
from real.workcell.episode_setup import EmulatedBench
from sim.core.contract import Observation
from sim.randomize.episode_params import EpisodeParams
from sim.randomize.randomization import draw_randomization
from sim.randomize.ranges import nominal
from sim.scene.layout import Layout

HOST = "127.0.0.1"


class FakeWorld:
    """Behaves like sim.envs.simulation.Simulation: the arm follows its targets with a lag of one servo period."""

    robot = FR3
    task = types.SimpleNamespace(name="pick_place", time_limit_s=0.6, settle_s=0.1)

    def __init__(self):
        self.goal = False
        self.blocked = False  # something holds the arm

    def reset(self, seed: int) -> None:
        randomization = draw_randomization(np.random.default_rng(seed), nominal(), FR3, 0, 0)
        self.params = EpisodeParams(Layout(instruction=f"task {seed}", wording=seed), randomization)
        self.goal = False
        self._joints = self._target = np.array(FR3.home_rad) + 0.01 * (seed % 5)
        self._speed = np.zeros(6)
        self._opening = 1.0

    def command(self, joints_rad: np.ndarray, opening: float) -> None:
        self._target, self._opening = np.array(joints_rad), opening

    def step(self, steps: int) -> None:
        before = self._joints
        self._joints = before if self.blocked else self._target
        self._speed = (self._joints - before) / (0.002 * steps)

    def state(self) -> np.ndarray:
        return np.array([*self._joints, self._opening], np.float32)

    def joint_velocity_rad_s(self) -> np.ndarray:
        return self._speed

    def touch(self) -> np.ndarray:
        """30 N of the fingers, and a wrench that no other number here looks like."""
        return np.array([30.0, 1.0, -2.0, 3.5, 0.25, -0.5, 0.125], np.float32)

    def snapshot(self) -> np.ndarray:
        return self._joints.copy()

    def capture(self, camera: str, qpos: np.ndarray, frame: int) -> np.ndarray:
        """Stripes, of mean level 40 in front and 20 at the wrist: a look before motion wants light and contrast."""
        mean = 40 if camera == "front" else 20
        return np.broadcast_to(np.where(np.arange(10) % 2, mean + 10, mean - 10)[:, None], (8, 10, 3)).astype(np.uint8)

    @property
    def instruction(self) -> str:
        return self.params.layout.instruction

    def success(self) -> bool:
        return self.goal

    def remember(self) -> None:
        pass

    def ground_truth(self) -> dict[str, np.ndarray]:
        return {"grounding.object_pos_w": np.array([1, 2, 3], np.float32)}

    def close(self) -> None:
        pass


class Swing:
    """A scripted agent: J1 swings about where the episode began, the gripper half closes."""

    task = ""

    def __init__(self, image_size: tuple[int, int] = (8, 10)):
        self.image_size = image_size

    def reset(self, observation: Observation, seed: int) -> None:
        self._start, self._step = observation.state, 0

    def act(self, observation: Observation) -> np.ndarray:
        self._step += 1
        action = self._start.copy()
        action[0] += 0.03 * np.sin(0.6 * self._step)
        action[-1] = 0.5
        return action

    def flags(self) -> dict[str, bool]:
        return {"intervention": False}


class Running:
    """An emulator in a thread of this process."""

    def __init__(self, firmware: str = "3.9.6", faults: str | None = None, *, force_sensor: bool = False):
        self.world = FakeWorld()
        ports = dict.fromkeys((*PORTS, "text_port"), 0)
        config = EmulatorConfig(**ports, firmware=firmware, faults=faults, force_sensor=force_sensor)
        self.emulator = Emulator(config, self.world)
        self.controller = self.emulator.controller
        self.ports = {name: self.emulator.ports[name] for name in PORTS}
        self._thread = threading.Thread(target=self.emulator.run, daemon=True)
        self._thread.start()

    def address(self, name: str) -> tuple[str, int]:
        return HOST, self.ports[name]

    def driver(self, deadline_s: float = 5.0, servo: str = "auto") -> FairinoDriver:
        return FairinoDriver(HOST, Ports.of(self.ports), deadline_s=deadline_s, servo=servo)

    def answer(self, method: str, arguments: int, result: object) -> None:
        """From now on a call of `method` returns `result` and does nothing."""
        values = len(result) - 1 if isinstance(result, list) else None
        self.serve(method, Method(arguments, lambda *_: result[1:] if isinstance(result, list) else result, values))

    def serve(self, method: str, served: Method) -> None:
        """From now on calls of `method` are answered by `served`."""
        self.emulator.rpc.instance._table[method] = served

    def stop(self) -> None:
        self.emulator.ending.set()
        self._thread.join(10)

    def env(self, bench: EmulatedBench | None = None) -> RobotEnv:
        """The robot powered on, gripper active, with both cameras."""
        driver = self.driver()
        driver.power_on()
        driver.gripper.activate()
        cameras = {name: EmulatorCamera(name, self.address("camera_port"), 5.0) for name in FR3.camera_names}
        return RobotEnv(driver, cameras, bench or EmulatedBench(self.address("bench_port")))
