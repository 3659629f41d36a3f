"""The simulated bench: scene, task and randomization under one roof, stepped by joint commands.

The simulator's environment drives it through the servo layer, the controller emulator through the
controller's sockets. Randomness comes from the seed alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import mujoco
import numpy as np

from sim import randomize
from sim.contract import LABELS
from sim.errors import UserError, nearest
from sim.gl import check_gl
from sim.kinematics import ToolKinematics, tool_down
from sim.randomize import RandomizeConfig, Randomizer
from sim.robot import FR3, Robot
from sim.scene import PHYSICS_DT_S, RenderConfig, Scene, build_scene
from sim.tasks import pick_place

TASKS = {pick_place.NAME: pick_place}


@dataclass(frozen=True)
class WorldConfig:
    """Everything that defines a world but the seed."""

    task: str = pick_place.NAME
    randomize: RandomizeConfig = field(default_factory=RandomizeConfig)
    render: RenderConfig = field(default_factory=RenderConfig)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise UserError(nearest(self.task, TASKS, "task"))


class World:
    """One scene and its state."""

    def __init__(self, config: WorldConfig = WorldConfig(), robot: Robot = FR3):
        self.config = config
        self.robot = robot
        self.task = TASKS[config.task]
        self.scene: Scene = build_scene(robot)
        self.data = mujoco.MjData(self.scene.model)
        self.draws: dict = {}
        self._randomizer = Randomizer(self.scene)
        self._kinematics = ToolKinematics(robot)
        self._renderer: Renderer | None = None

    # ---- an episode ----------------------------------------------------------------------------

    def reset(self, seed: int) -> None:
        """Draw a new episode from `seed` and set it up, the arm at rest at its start pose."""
        rng = np.random.default_rng(seed)
        layout = self.task.draw_layout(rng)
        self.rebuild({**layout, **randomize.draw(rng, self.config.randomize)})

    def rebuild(self, draws: dict) -> None:
        """Set up the episode whose drawn values are given, as stored with a recorded one."""
        self.draws = draws
        mujoco.mj_resetData(self.scene.model, self.data)
        self._randomizer.apply(draws, draws["cube_colours"].split(","), draws["plate_colours"].split(","))
        self.task.apply_layout(self.scene, self.data, draws)
        self._start_arm(draws)
        mujoco.mj_forward(self.scene.model, self.data)

    def _start_arm(self, draws: dict) -> None:
        home = np.array(self.robot.home_rad)
        pos_w, rotation_w = self._kinematics.forward(home)
        yaw = np.arctan2(rotation_w[1, 1], rotation_w[0, 1]) + draws["start_yaw_rad"]
        start = self._kinematics.inverse(pos_w + draws["start_xyz_m"], tool_down(yaw), home)
        self.data.qpos[self.scene.arm_qpos] = home if start is None else start
        self.data.qpos[self.scene.finger_qpos] = self.scene.finger_travel_m
        self.command(self.data.qpos[self.scene.arm_qpos], 1.0)

    def command(self, joints_rad: np.ndarray, opening: float) -> None:
        """Position targets of the drives: (joints,) rad, gripper 0 (closed) .. 1 (open)."""
        self.data.ctrl[self.scene.arm_actuators] = joints_rad
        self.data.ctrl[self.scene.gripper_actuator] = opening * self.scene.finger_travel_m

    def hold_object(self) -> None:
        """Put the named object between the pads, its sides along the tool's. For pictures, not for physics."""
        mujoco.mj_kinematics(self.scene.model, self.data)
        pose = np.empty(7)
        pose[:3] = self.data.site_xpos[self.scene.tcp_site]
        mujoco.mju_mat2Quat(pose[3:], self.data.site_xmat[self.scene.tcp_site])
        first = self.scene.cube_qpos[0]
        self.data.qpos[first : first + 7] = pose

    def step(self, steps: int) -> None:
        """Advance the physics by `steps` of PHYSICS_DT_S."""
        mujoco.mj_step(self.scene.model, self.data, steps)

    # ---- what can be seen and known ------------------------------------------------------------

    @property
    def instruction(self) -> str:
        return self.draws["instruction"]

    @property
    def time_s(self) -> float:
        return self.data.time

    def state(self) -> np.ndarray:
        """(D,) float32: measured joint angles in rad, gripper opening 0..1."""
        opening = self.data.qpos[self.scene.finger_qpos].mean() / self.scene.finger_travel_m
        joints = self.data.qpos[self.scene.arm_qpos]
        return np.array([*joints, min(max(opening, 0.0), 1.0)], np.float32)

    def joint_velocity_rad_s(self) -> np.ndarray:
        return self.data.qvel[self.scene.arm_dof].copy()

    def success(self) -> bool:
        """The task's goal holds at this instant."""
        return self.task.is_placed(self.scene, self.data)

    def labels(self) -> dict[str, np.ndarray]:
        """Privileged truth for co-training, m: where the named things are in the world and seen from the tool."""
        tool_w = self.data.site_xpos[self.scene.tcp_site]
        tool_from_w = self.data.site_xmat[self.scene.tcp_site].reshape(3, 3).T
        object_w = self.task.object_pos_w(self.scene, self.data)
        target_w = self.task.target_pos_w(self.scene, self.data)
        points = (object_w, target_w, tool_from_w @ (object_w - tool_w), tool_from_w @ (target_w - tool_w))
        return {name: point.astype(np.float32) for name, point in zip(LABELS, points, strict=True)}

    def snapshot(self) -> np.ndarray:
        """The configuration as it is now, for `render` later."""
        return self.data.qpos.copy()

    def render(self, camera: str, qpos: np.ndarray | None = None) -> np.ndarray:
        """uint8 (H, W, 3) of `camera`, of the present or of a `snapshot`. One thread only (OpenGL)."""
        if self._renderer is None:
            self._renderer = Renderer(self.scene, self.config.render)
        return self._renderer.render(camera, self.data.qpos if qpos is None else qpos)

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


class Renderer:
    """Draws a scene's cameras from joint positions alone, on data of its own."""

    def __init__(self, scene: Scene, config: RenderConfig):
        check_gl()
        self._scene = scene
        self._data = mujoco.MjData(scene.model)
        _set_quality(scene.model, config)
        self._renderer = mujoco.Renderer(scene.model, config.height, config.width, max_geom=400)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = [1, 1, 1, 0, 0, 0]  # group 3 holds collision shapes
        self._option.sitegroup[:] = 0
        self._posed: bytes = b""

    def render(self, camera: str, qpos: np.ndarray) -> np.ndarray:
        self._pose(qpos)
        self._renderer.update_scene(self._data, self._scene.cameras[camera], self._option)
        return self._renderer.render()

    def _pose(self, qpos: np.ndarray) -> None:
        self._data.qpos[:] = qpos
        mujoco.mj_kinematics(self._scene.model, self._data)
        mujoco.mj_camlight(self._scene.model, self._data)

    def close(self) -> None:
        self._renderer.close()


def _set_quality(model: mujoco.MjModel, config: RenderConfig) -> None:
    """What the next OpenGL context of this model is made with."""
    vis = model.vis
    vis.global_.offwidth, vis.global_.offheight = config.width, config.height
    vis.quality.shadowsize, vis.quality.offsamples = config.shadow_size, config.samples
    vis.quality.numslices, vis.quality.numstacks = config.slices, max(config.slices // 2, 4)


class LazyImages(Mapping):
    """Camera pictures of one instant, drawn on first access and kept."""

    def __init__(self, world: World, qpos: np.ndarray):
        self._world, self._qpos, self._drawn = world, qpos, {}

    def __getitem__(self, camera: str) -> np.ndarray:
        if camera not in self._drawn:
            self._drawn[camera] = self._world.render(camera, self._qpos)
        return self._drawn[camera]

    def __iter__(self):
        return iter(self._world.robot.cameras)

    def __len__(self) -> int:
        return len(self._world.robot.cameras)


__all__ = ["PHYSICS_DT_S", "LazyImages", "Renderer", "World", "WorldConfig"]
