"""The arm and its bench as MuJoCo sees them, shared by the threads of the emulator.

Two locks: physics (stepped 125 times a second, held for a millisecond) and model (held while a
picture is drawn or the bench is set up anew), so that drawing does not hold up the cycle.
"""

import threading
import time

import numpy as np

from sim.contract import SERVO_PERIOD_S
from sim.world import PHYSICS_DT_S, World

STEPS_PER_TICK = round(SERVO_PERIOD_S / PHYSICS_DT_S)


class Twin:
    """A `sim.world.World` behind locks. `render` belongs to one thread (OpenGL)."""

    def __init__(self, world: World, seed: int):
        self.robot = world.robot
        self._world = world
        self._physics, self._model = threading.Lock(), threading.Lock()
        self.reset(seed)

    def reset(self, seed: int) -> None:
        with self._model, self._physics:
            self._world.reset(seed)

    def tick(self, joints_rad: np.ndarray, opening: float) -> None:
        """One servo period of physics towards the drives' targets."""
        with self._physics:
            self._world.command(joints_rad, opening)
            self._world.step(STEPS_PER_TICK)

    def state(self) -> np.ndarray:
        """(D,) float32 measured joints in rad, gripper opening."""
        with self._physics:
            return self._world.state()

    def speed_rad_s(self) -> np.ndarray:
        with self._physics:
            return self._world.joint_velocity_rad_s()

    def render(self, camera: str) -> tuple[np.ndarray, float]:
        """uint8 (H, W, 3) and the monotonic time of what it shows. KeyError: no such camera."""
        with self._model:
            with self._physics:
                qpos, stamp_s = self._world.snapshot(), time.monotonic()
            return self._world.render(camera, qpos), stamp_s

    def close(self) -> None:
        """Give the OpenGL context back, from the thread that used it."""
        self._world.close()

    def episode(self) -> dict:
        """What an operator knows of the task that stands on the bench."""
        task = self._world.task
        return {
            "instruction": self._world.instruction,
            "time_limit_s": task.TIME_LIMIT_S,
            "settled_periods": task.SETTLED_PERIODS,
        }

    def success(self) -> bool:
        with self._physics:
            return bool(self._world.success())

    def labels(self) -> dict[str, np.ndarray]:
        with self._physics:
            return self._world.labels()

    def draws(self) -> dict:
        return dict(self._world.draws)
