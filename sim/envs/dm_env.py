"""The tasks as dm_control's: `load("stack")` returns a `dm_control.rl.control.Environment`.

dm_control's viewer, wrappers and tools run on it unchanged; it plays what `SimEnv` plays, bit for bit: the
same seed and actions give the same states. The only module that needs dm_control.
"""

import copy
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mujoco
import numpy as np

from sim.core.contract import Feedback, check_action
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.render.gl import load_triton

load_triton()  # dm_control opens Mesa when it is imported

from dm_control.mujoco import Physics, wrapper  # noqa: E402
from dm_control.mujoco.wrapper.mjbindings import sizes  # noqa: E402
from dm_control.rl import control  # noqa: E402
from dm_env import specs  # noqa: E402

# dm_control 1.0.50 indexes by name the arrays of MuJoCo 3.17 and no Physics can be made where one is missing:
# MuJoCo 4 has some flex arrays no longer.
for _name, _struct in (("mjmodel", mujoco.MjModel), ("mjdata", mujoco.MjData)):
    for _array in [array for array in sizes.array_sizes[_name] if not hasattr(_struct, array)]:
        del sizes.array_sizes[_name][_array]


def load(task_name: str, seed: int = 0, **options: Any) -> control.Environment:
    """Return a task's environment; its episodes are those of the seeds `seed`, `seed` + 1 and so on.

    options: the other fields of `SimulationConfig`, e.g. `robot` or `randomize`. The reward is as in
    CONVENTIONS.md, the discount 0 after success and 1 when the time is up. UserError for an unknown task.
    """
    env = SimEnv(SimulationConfig(task_name, **options))
    # No `time_limit`: dm_control ends an episode that succeeds in its last step as one out of time.
    return control.Environment(ServoPhysics(env), SeededTask(env, seed), n_sub_steps=env.steps_per_action)


class ServoPhysics(Physics):
    """A simulation's own model and data, not copies of them, behind the servo layer and the delays.

    The control is a policy action, (D,) joint targets in rad and a gripper opening 0..1, and a step is a whole
    policy period: the servo sets the drives and the sensors take their readings between its physics steps.
    """

    feedback: Feedback  # on the last step

    def __init__(self, env: SimEnv):
        super().__init__(wrapper.MjData(env.world.data))
        self._env = env

    def set_control(self, control: np.ndarray) -> None:
        """Set the action (D,) of the next step. ValueError for another shape, or what is not finite."""
        check_action(control, self._env.robot.action_dim)
        self._action = control

    def step(self, nstep: int = 1) -> None:
        """Play one policy period. ValueError unless `nstep` physics steps are one."""
        if nstep != self._env.steps_per_action:
            raise ValueError(f"nstep={nstep}: expected {self._env.steps_per_action}, one policy period")
        with self.check_invalid_state():
            self.feedback = self._env.apply(self._action)
            if self.legacy_step:
                mujoco.mj_step1(self.model.ptr, self.data.ptr)

    def after_reset(self) -> None:
        """Compute what depends on the state, but let the solver start from where `Simulation.rebuild` left it."""
        warmstart = self.data.qacc_warmstart.copy()
        super().after_reset()
        self.data.qacc_warmstart[:] = warmstart

    def copy(self, share_model: bool = False) -> Physics:  # noqa: FBT001, FBT002 (dm_control's signature)
        """Return a plain Physics of the present state, without servo and episode."""
        data = self.data.ptr
        return Physics(wrapper.MjData(copy.copy(data) if share_model else copy.deepcopy(data)))

    def upload_meshes(self, meshes: list[int]) -> None:
        """Render the meshes as the model has them now; the OpenGL context keeps copies."""
        contexts = self.contexts
        assert contexts is not None  # made on first access
        with contexts.gl.make_current() as thread:
            for mesh in meshes:
                thread.call(mujoco.mjr_uploadMesh, self.model.ptr, contexts.mujoco.ptr, mesh)


class SeededTask(control.Task):
    """A task's episodes, one seed after the other. Observation: images, "state" (D,) and "instruction"."""

    def __init__(self, env: SimEnv, seed: int):
        self._env, self._next_seed = env, seed
        # dm_control takes its OpenGL context for the current one of the thread: ours is current in another.
        self._render_thread = ThreadPoolExecutor(max_workers=1)
        weakref.finalize(self, self._render_thread.submit, env.close).atexit = False

    def initialize_episode(self, physics: ServoPhysics) -> None:
        self._env.reset(self._next_seed)
        self._next_seed += 1
        if meshes := self._env.world.scene.shown_meshes:
            physics.upload_meshes(meshes)

    def before_step(self, action: np.ndarray, physics: ServoPhysics) -> None:
        physics.set_control(action)

    def get_observation(self, physics: ServoPhysics) -> dict[str, np.ndarray]:
        observation, robot = self._env.observe(), self._env.robot
        state = np.clip(observation.state, robot.state_min, robot.state_max)
        instruction = np.array(observation.instruction, dtype=object)
        images = self._render_thread.submit(dict, observation.images).result()
        images = {camera: image.copy() for camera, image in images.items()}  # the caller's own
        return {**images, "state": state, "instruction": instruction}

    def get_reward(self, physics: ServoPhysics) -> float:
        return physics.feedback.reward

    def get_termination(self, physics: ServoPhysics) -> float | None:
        """Return the last discount: 0 after success, 1 when the time is up, which a bootstrapping learner needs."""
        if physics.feedback.terminated:
            return 0.0
        return 1.0 if physics.feedback.truncated else None

    def action_spec(self, physics: ServoPhysics) -> specs.BoundedArray:
        robot = self._env.robot
        return specs.BoundedArray((robot.action_dim,), np.float32, robot.action_min, robot.action_max, "action")

    def observation_spec(self, physics: ServoPhysics) -> dict[str, specs.Array]:
        robot, render = self._env.robot, self._env.world.config.render
        shape = (render.height, render.width, 3)
        images = {camera: specs.BoundedArray(shape, np.uint8, 0, 255, camera) for camera in robot.camera_names}
        state = specs.BoundedArray((robot.action_dim,), np.float32, robot.state_min, robot.state_max, "state")
        return {**images, "state": state, "instruction": specs.StringArray((), name="instruction")}
