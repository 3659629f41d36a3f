"""The simulated arm as an environment: gymnasium's `FR3PickPlace-v0`, and the loop's `Env`.

Actions pass through the same servo layer that streams to the arm. Action and
observation delays are physical times: a command takes effect, and an image is taken, at the
substep nearest to them.
"""

from dataclasses import replace

import gymnasium
import numpy as np

from sim.control.servo import Servo
from sim.core.contract import Feedback, Observation, check_action
from sim.core.errors import UserError, nearest
from sim.envs.sensors import FRAMES_APART, DelayedSensor, Frame
from sim.envs.simulation import LazyImages, Simulation, SimulationConfig
from sim.guard.motion_guard import MotionGuard
from sim.randomize.episode_params import EpisodeParams
from sim.robots.robot import Robot
from sim.scene.build import PHYSICS_DT_S

NOISE_STREAM = 5  # of random numbers beside those of an episode: that of the noise of later ones in its world


class SimEnv:
    """A world behind servo and delays. Satisfies `sim.episode.loop.Env`."""

    def __init__(self, config: SimulationConfig | None = None):
        self.world = Simulation(config)
        self.robot: Robot = self.world.robot
        self._servo = Servo(self.robot)
        self.steps_per_action = _physics_steps(self.robot.control_period_s, f"robot.control_hz={self.robot.control_hz}")
        self._steps_per_tick = _physics_steps(self.robot.servo_period_s, f"the servo period of {self.robot.name}")

    @property
    def time_limit_steps(self) -> int:
        return round(self.world.task.time_limit_s / self.robot.control_period_s)

    @property
    def commanded_rad(self) -> np.ndarray:
        """(joints,) what the servo commands now."""
        return self._servo.position_rad

    @property
    def commanded_rad_s(self) -> np.ndarray:
        """(joints,) how fast the command moves now."""
        return self._servo.velocity_rad_s

    def reset(self, seed: int) -> None:
        self.world.reset(seed)
        self._begin()

    def rebuild(self, params: EpisodeParams) -> None:
        """Begin the recorded episode whose drawn values are given."""
        self.world.rebuild(params)
        self._begin()

    def go_on(self) -> None:
        """Begin another episode of the same world where everything is now, the arm at rest, with noise of its own."""
        self.world.scene_state.memory = self.world.task.first_memory(self.world.scene_state)
        self._begin(self._before + 1)

    def _begin(self, before: int = 0) -> None:
        """Begin an episode. before: how many episodes were played in this world before."""
        self._before = before
        world, drawn = self.world, self.world.params.randomization
        start = world.state()
        self._servo.reset(world.joints_rad())
        self._opening = self._opening_target = float(start[-1])
        self._gripper_step = self.robot.gripper_speed_per_s * self.robot.servo_period_s * drawn.gripper_speed
        self._noise = np.random.default_rng([drawn.noise_seed, NOISE_STREAM, before] if before else drawn.noise_seed)
        self._pending: list[tuple[int, np.ndarray]] = []  # (physics step at which it takes effect, action)
        self._physics_step = 0
        self._steps = 0
        self._held_periods = 0
        self._delay_steps = round(drawn.action_delay_s / PHYSICS_DT_S)
        delay_s = drawn.observation_delay_s
        skews_s = drawn.camera_skew_s or (0.0,) * len(self.robot.cameras)
        steps, joints_delay_s = self.steps_per_action, max(delay_s - drawn.state_lead_s, 0.0)
        self._joints = DelayedSensor(joints_delay_s, self._read_joints(), steps)
        self._touch = DelayedSensor(joints_delay_s, world.touch(), steps)
        self._cameras = {
            camera: DelayedSensor(delay_s + skew_s, self._frame(), steps)
            for camera, skew_s in zip(self.robot.camera_names, skews_s, strict=True)
        }

    def observe(self) -> Observation:
        frames = {camera: sensor.shown for camera, sensor in self._cameras.items()}
        stamp_s = min(frame.stamp_s for frame in frames.values())
        return Observation(
            images=LazyImages(self.world.capture, frames),
            state=self._joints.shown,
            instruction=self.world.instruction,
            stamp_s=stamp_s,
            age_s=self.world.time_s - stamp_s,
            touch=self._touch.shown,
            depth=LazyImages(self.world.measure_depth, frames, "depth") if self.world.config.render.depth else {},
        )

    def apply(self, action: np.ndarray) -> Feedback:
        """Play one policy period."""
        self._steps += 1  # images taken from here on are later frames than the one that the action was decided on
        self._pending.append((self._physics_step + self._action_delay_steps(), np.array(action, float)))
        begin, end = self._physics_step, self._physics_step + self.steps_per_action
        looks = {camera: begin + sensor.step_to_take(self._jitter_s()) for camera, sensor in self._cameras.items()}
        joints_at = begin + self._joints.step_to_take()
        # The servo knows nothing of the physics: all its ticks at once, while its code is in the cache.
        first_tick = -(-begin // self._steps_per_tick) * self._steps_per_tick
        ticks = range(first_tick, end, self._steps_per_tick)
        joints_rad, openings = zip(*[self._tick(step) for step in ticks], strict=True)
        controls = dict(zip(ticks, self.world.controls(np.array(joints_rad), np.array(openings)), strict=True))
        stops = sorted({*ticks, end, joints_at, *looks.values()} - {begin})
        for stop in stops:
            if self._physics_step in controls:
                self.world.data.ctrl[:] = controls[self._physics_step]
            self.world.step(stop - self._physics_step)
            self._physics_step = stop
            if stop == joints_at:
                self._joints.take(self._read_joints())
                self._touch.take(self.world.touch())
            for camera in (camera for camera, at in looks.items() if at == stop):
                self._take_image(camera)
        return self._judge()

    def _tick(self, step: int) -> tuple[np.ndarray, float]:
        """Play one servo period at a physics step: take up the action that is due; what the drives are told."""
        while self._pending and self._pending[0][0] <= step:
            due_step, action = self._pending.pop(0)
            late_s = (step - due_step) * PHYSICS_DT_S
            self._servo.set_target(action[: self.robot.joints], self.robot.control_period_s - late_s)
            self._opening_target = float(action[-1])
        travel = self._opening_target - self._opening
        self._opening += min(max(travel, -self._gripper_step), self._gripper_step)
        return self._servo.tick(), self._opening

    def _action_delay_steps(self) -> int:
        """Return the physics steps until an action given now takes effect; actions stay in order."""
        jitter_s = self.world.params.randomization.action_jitter_s
        late = round(jitter_s * self._noise.random() / PHYSICS_DT_S) if jitter_s else 0
        due = self._physics_step + self._delay_steps + late
        return max(due, self._pending[-1][0] if self._pending else 0) - self._physics_step

    def _jitter_s(self) -> float:
        """Return how much older than usual the next image is."""
        jitter_s = self.world.params.randomization.observation_jitter_s
        return jitter_s * self._noise.random() if jitter_s else 0.0

    def _read_joints(self) -> np.ndarray:
        """Return (D,) float32 as the encoders tell it now."""
        state = self.world.state()
        noise_rad = self.world.params.randomization.encoder_noise_rad
        if noise_rad:
            state[:-1] += self._noise.normal(0.0, noise_rad, self.robot.joints).astype(np.float32)
        return state

    def _frame(self) -> Frame:
        return Frame(self.world.snapshot(), self._before * FRAMES_APART + self._steps, self.world.time_s)

    def _take_image(self, camera: str) -> None:
        """Take what `camera` sees now; of a dropped frame the one before is seen again."""
        dropped, sensor = self.world.params.randomization.dropped_frames, self._cameras[camera]
        lost = dropped and self._noise.random() < dropped
        sensor.take(sensor.newest if lost else self._frame())

    def _judge(self) -> Feedback:
        self.world.remember()
        self._held_periods = self._held_periods + 1 if self.world.success() else 0
        success = self._held_periods >= max(round(self.world.task.settle_s / self.robot.control_period_s), 1)
        return Feedback(
            reward=0.0 if success else -1.0,
            terminated=success,
            truncated=not success and self._steps >= self.time_limit_steps,
            success=success,
        )

    def ground_truth(self, told: str = "") -> dict[str, np.ndarray]:
        """Return what is true of the first camera's last image; told: see `Simulation.ground_truth`."""
        return self.world.ground_truth(self._cameras[self.robot.camera_names[0]].shown.qpos, told)

    def metadata(self) -> dict:
        """Return every drawn value, to be stored with the episode."""
        return {f"draw/{name}": value for name, value in self.world.params.to_record().items()}

    def close(self) -> None:
        self.world.close()


def _physics_steps(time_s: float, what: str) -> int:
    """Return the physics steps of a period. UserError when it is no whole number of them."""
    steps = round(time_s / PHYSICS_DT_S)
    if abs(steps * PHYSICS_DT_S - time_s) > 1e-9:
        raise UserError(f"{what}: {time_s * 1e3:g} ms is no whole number of physics steps of {PHYSICS_DT_S * 1e3:g} ms")
    return steps


class GymEnv(gymnasium.Env):
    """The gymnasium view of any `sim.episode.loop.Env` (simulator or robot): flat Dict of images and state.

    Before an arm stands the motion guard: what it makes of an action is played, and an action at which it stops the arm
    ends the episode, `info["guard"]` says why; only `reset(options={"confirmed": True})`, a person's word, begins the
    next. A simulated arm has none: what is learned there is what actions do. The instruction is in
    `info["instruction"]`, so that stable-baselines3, which knows no text spaces, trains on it unchanged.
    """

    metadata = {"render_modes": ["rgb_array"]}

    def __init__(self, env, image_size: tuple[int, int], render_mode: str | None = None):
        """UserError for a render_mode that there is not."""
        modes = self.metadata["render_modes"]
        if render_mode is not None and render_mode not in modes:
            raise UserError(
                f"{nearest(render_mode, modes, 'render_mode')}; gymnasium.wrappers.HumanRendering or python "
                "-m sim.view shows an episode in a window"
            )
        self.env = env
        # An arm's environment has the distances on its bench.
        self._guard = MotionGuard(env.robot, env.clearance) if hasattr(env, "clearance") else None
        self._has_reset = False
        self.render_mode = render_mode
        robot = env.robot
        self.metadata = {**self.metadata, "render_fps": robot.control_hz}
        image = gymnasium.spaces.Box(0, 255, (*image_size, 3), np.uint8)
        state = gymnasium.spaces.Box(robot.state_min, robot.state_max, dtype=np.float32)
        self.observation_space = gymnasium.spaces.Dict({**dict.fromkeys(robot.camera_names, image), "state": state})
        self.action_space = gymnasium.spaces.Box(robot.action_min, robot.action_max, dtype=np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        """Begin an episode. UserError where the motion guard stopped the arm and nobody has confirmed that."""
        stopped = self._guard.report.latched if self._guard else ""
        if stopped and not (options or {}).get("confirmed"):
            raise UserError(
                f'the motion guard stopped the arm: {stopped}; look why, then reset(options={{"confirmed": True}})'
            )
        super().reset(seed=seed)
        self.env.reset(int(self.np_random.integers(2**31)) if seed is None else seed)
        self._has_reset = True
        observation, info = self._look()
        if self._guard:
            self._guard.reset(self._seen.state)
        return observation, info

    def _check_reset(self) -> None:
        if not self._has_reset:
            raise gymnasium.error.ResetNeeded("call reset before step or render")

    def step(self, action: np.ndarray):
        """Play one policy period. ValueError, and nothing is played, for an action of another shape or not finite;
        ResetNeeded before a reset."""
        self._check_reset()
        action = np.asarray(action)
        check_action(action, self.env.robot.action_dim)
        feedback = self.env.apply(self._guard.check(self._seen, action) if self._guard else action)
        observation, info = self._look()
        info["is_success"], stopped = feedback.success, self._guard.report.latched if self._guard else ""
        if stopped:
            info["guard"] = stopped
        return observation, feedback.reward, feedback.terminated, feedback.truncated or bool(stopped), info

    def _look(self) -> tuple[dict, dict]:
        seen = self._seen = self.env.observe()
        state = np.clip(seen.state, self.env.robot.state_min, self.env.robot.state_max)
        images = {camera: image.copy() for camera, image in seen.images.items()}  # the caller's own
        return {**images, "state": state}, {"instruction": seen.instruction}

    def render(self) -> np.ndarray | None:
        """Return what the first camera sees, uint8 (H, W, 3); None without a render_mode. ResetNeeded before reset."""
        if self.render_mode is None:
            return None
        self._check_reset()
        return self.env.observe().images[self.env.robot.camera_names[0]].copy()  # the caller's own

    def close(self) -> None:
        self.env.close()


def make_fr3(task: str, render_mode: str | None = None, config: SimulationConfig | None = None) -> GymEnv:
    """Return the environment: entry point of the registered ids, which name the task; `config` is all else."""
    config = replace(config, task=task) if config else SimulationConfig(task=task)
    return GymEnv(SimEnv(config), (config.render.height, config.render.width), render_mode)
