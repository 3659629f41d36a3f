"""The arm and its bench in MuJoCo, shared by the threads of the emulator.

The episode's delays from command to motion and from exposure to image, its gripper's speed, and the noise of cameras
and encoders are applied here: the controller's own delays and the network's are added to them. Frames are not dropped
and commands do not jitter but as the network makes them: the record says so.

Two locks: physics (stepped 125 times a second, held for a millisecond) and model (held while an
image is rendered or the bench is set up), so that rendering does not delay the cycle.
"""

import threading
import time
from collections import deque
from dataclasses import replace

import numpy as np

from sim.envs.simulation import Simulation
from sim.robots.fairino_fr3 import SERVO_PERIOD_S
from sim.scene.build import PHYSICS_DT_S

STEPS_PER_TICK = round(SERVO_PERIOD_S / PHYSICS_DT_S)
KEPT_TICKS = 40  # of the past, for images: longer than any observation delay


class Twin:
    """A `sim.envs.simulation.Simulation` behind locks. `render` must be called from one thread (OpenGL)."""

    def __init__(self, world: Simulation, seed: int):
        self.robot = world.robot
        self._world = world
        self._physics, self._model = threading.Lock(), threading.Lock()
        self.reset(seed)

    def reset(self, seed: int) -> None:
        with self._model, self._physics:
            self._world.reset(seed)
            drawn = self._world.params.randomization
            self._images = 0  # of the episode: each has noise of its own
            self.gripper_speed = drawn.gripper_speed  # factor
            delay_s, skews_s = drawn.observation_delay_s, drawn.camera_skew_s or (0.0,) * len(self.robot.cameras)
            self._image_delay_s = {c: delay_s + s for c, s in zip(self.robot.camera_names, skews_s, strict=True)}
            self._jitter_s = drawn.observation_jitter_s
            self._noise = np.random.default_rng(drawn.noise_seed)
            self._encoder_error_rad = np.zeros(self.robot.joints)  # of the present reading
            self._late_steps = round(drawn.action_delay_s / PHYSICS_DT_S)
            self._commands: deque[tuple[np.ndarray, float]] = deque()  # not yet in effect
            self._past: deque[tuple[float, np.ndarray]] = deque(maxlen=KEPT_TICKS)

    def tick(self, joints_rad: np.ndarray, opening: float) -> None:
        """Play one servo period of physics towards the drives' targets, which take effect after the action delay."""
        ticks, steps = divmod(self._late_steps, STEPS_PER_TICK)
        with self._physics:
            self._commands.append((joints_rad, opening))
            if steps:
                self._world.step(steps)
            if len(self._commands) > ticks:
                self._world.command(*self._commands.popleft())
            self._world.step(STEPS_PER_TICK - steps)
            if noise_rad := self._world.params.randomization.encoder_noise_rad:
                self._encoder_error_rad = self._noise.normal(0.0, noise_rad, self.robot.joints)
            if any(self._image_delay_s.values()) or self._jitter_s:
                self._past.append((time.monotonic(), self._world.snapshot()))

    def state(self) -> np.ndarray:
        """Return (D,) float32 measured joints in rad, gripper opening; the encoders are read once a tick."""
        with self._physics:
            state = self._world.state()
            state[:-1] += self._encoder_error_rad
            return state

    def touch(self) -> np.ndarray:
        """Return (7,) float32, what the tool feels, `sim.core.contract.TOUCH_NAMES`."""
        with self._physics:
            return self._world.touch()

    def speed_rad_s(self) -> np.ndarray:
        with self._physics:
            return self._world.joint_velocity_rad_s()

    @property
    def measures_depth(self) -> bool:
        """Return whether the cameras measure depth."""
        return self._world.config.render.depth

    def render(self, camera: str, *, depth: bool = False) -> tuple[np.ndarray, bytes, float]:
        """Return uint8 (H, W, 3), bytes of its depth where asked for, and its time stamp, monotonic. As from a real
        camera, the scene shown is older than the stamp, by the episode's delay and skew of the camera. KeyError: no
        such one.
        """
        with self._model:
            with self._physics:
                qpos, stamp_s = self._world.snapshot(), time.monotonic()
                late_s = self._image_delay_s.get(camera, 0.0) + self._jitter_s * self._noise.random()
                qpos = self._positions_at(stamp_s - late_s, qpos)
            self._images += 1
            far = self._world.measure_depth(camera, qpos, self._images).astype("<u2").tobytes() if depth else b""
            return self._world.capture(camera, qpos, self._images), far, stamp_s

    def _positions_at(self, time_s: float, now: np.ndarray) -> np.ndarray:
        """Return positions at a time of the past, interpolated between ticks; `now` where nothing that old is kept."""
        path = list(self._past)
        later = next((i for i, (at_s, _) in enumerate(path) if at_s > time_s), 0)
        if not later:
            return path[-1][1] if path and path[-1][0] <= time_s else now
        (before_s, before), (after_s, after) = path[later - 1 : later + 1]
        share = (time_s - before_s) / (after_s - before_s)
        return before + share * (after - before)

    def close(self) -> None:
        """Release the OpenGL context, from the thread that used it."""
        self._world.close()

    @property
    def task(self) -> str:
        """Return the name of the task on the bench."""
        return self._world.task.name

    def episode(self) -> dict:
        """Return what an operator knows of the task on the bench."""
        task = self._world.task
        return {
            "instruction": self._world.instruction,
            "time_limit_s": task.time_limit_s,
            "settle_s": task.settle_s,
        }

    def success(self) -> bool:
        """Return whether the goal holds; asked once in every policy period."""
        with self._physics:
            self._world.remember()
            return bool(self._world.success())

    def ground_truth(self) -> dict[str, np.ndarray]:
        with self._physics:
            return self._world.ground_truth()

    def episode_record(self) -> dict:
        """Return what the episode draws, as a dataset records it; 0 for what is not applied here."""
        params = self._world.params
        applied = replace(params.randomization, dropped_frames=0.0, action_jitter_s=0.0)
        return replace(params, randomization=applied).to_record()
