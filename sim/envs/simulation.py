"""The simulated bench: scene, task and randomization under one roof, stepped by joint commands.

The simulator's environment drives it through the servo layer, the controller emulator through the
controller's sockets. Randomness comes from the seed alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import mujoco
import numpy as np

from sim.core.contract import GROUNDING_COLUMNS
from sim.core.errors import UserError
from sim.envs.sensors import Frame
from sim.planning.kinematics import BenchKinematics, tool_down
from sim.randomize.apply import Randomizer, lens_of
from sim.randomize.camera_noise import degrade, noise_rng
from sim.randomize.distractors import with_distractors
from sim.randomize.ranges import RandomizeConfig, draw
from sim.randomize.splits import SplitConfig
from sim.render.renderer import Renderer, make_renderer
from sim.robots.robot import RobotConfig
from sim.scene.build import RenderConfig, Scene, build_scene
from sim.scene.layout import Layout
from sim.scene.state import SceneState
from sim.tasks.base import TASKS, Task

MAX_DRAWS = 20000  # of a split that admits few episodes


@dataclass(frozen=True)
class SimulationConfig:
    """Everything that defines a world but the seed."""

    task: str = "pick_place"
    randomize: RandomizeConfig = field(default_factory=RandomizeConfig)
    render: RenderConfig = field(default_factory=RenderConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    robot: RobotConfig = field(default_factory=RobotConfig)

    def __post_init__(self) -> None:
        TASKS.get(self.task)


class Simulation:
    """One scene and its state."""

    def __init__(self, config: SimulationConfig | None = None, task: Task | None = None):
        """task: rather than the one that `config` names."""
        self.config = config = config or SimulationConfig()
        self.robot = robot = config.robot.load()
        self.task = task or TASKS.get(config.task)
        self.scene: Scene = build_scene(robot, self.task, config.randomize.inventory)
        self.data = mujoco.MjData(self.scene.model)
        self.scene_state: SceneState  # of the episode
        self._posed = mujoco.MjData(self.scene.model)  # a snapshot's, for what is asked about the past
        self.draws: dict = {}
        self.kinematics = BenchKinematics(robot)
        pos, rotation = self.kinematics.forward(np.array(robot.home_rad))  # of an arm that stands where it should
        self._home_pos = np.round(pos, 4)
        self._home_yaw_rad = float(np.round(np.arctan2(rotation[1, 1], rotation[0, 1]), 4))
        self._randomizer = Randomizer(self.scene)
        self._renderer: Renderer | None = None

    # ---- an episode ----------------------------------------------------------------------------

    def reset(self, seed: int) -> None:
        """Draw a new episode from `seed` and set it up, the arm at rest at its start pose."""
        self.rebuild(self.draw(seed))

    def draw(self, seed: int) -> dict:
        """Every value of the episode of `seed`: drawn until the split admits it."""
        rng = np.random.default_rng(seed)
        ranges, objects, targets = self.config.randomize, len(self.scene.objects), len(self.scene.targets)
        for _ in range(MAX_DRAWS):
            layout = with_distractors(rng, ranges, self.task.draw_layout(rng, ranges))
            draws = {
                **layout.to_record(),
                **draw(rng, ranges, self.robot, objects, targets),
                **self._start_from_home(layout),
            }
            if self.config.split.admits(draws):
                return draws
        raise UserError(
            f"no episode of {self.config.task} in {MAX_DRAWS} draws belongs to split {self.config.split.part!r}; "
            "randomize=hard draws more shapes and tables"
        )

    def _start_from_home(self, layout: Layout) -> dict:
        """Return where the layout has the tool begin, as randomization draws it: counted from home."""
        found = {}
        if layout.tool_start_w is not None:
            found["start_xyz_m"] = (np.array(layout.tool_start_w) - self._home_pos).tolist()
        if layout.tool_start_yaw_rad is not None:
            found["start_yaw_rad"] = layout.tool_start_yaw_rad - self._home_yaw_rad
        return found

    def rebuild(self, draws: dict) -> None:
        """Set up the episode whose drawn values are given, as stored with a recorded one."""
        self.draws = draws
        self.scene_state = SceneState(self.scene, self.data, self.task.layout_type.from_record(draws))
        mujoco.mj_resetData(self.scene.model, self.data)
        self._randomizer.apply(draws)
        self._lenses = {camera: lens_of(draws, i) for i, camera in enumerate(self.robot.camera_names)}
        self.task.apply_layout(self.scene_state)
        self.encoder_bias_rad = np.array(draws["encoder_bias_rad"])
        self.kinematics.stand(
            [*draws["base_pos_m"], -draws["table_height_m"]], draws["base_yaw_rad"], self.encoder_bias_rad
        )
        self._start_arm(draws)
        mujoco.mj_forward(self.scene.model, self.data)
        self.scene_state.memory = self.task.first_memory(self.scene_state)

    def _start_arm(self, draws: dict) -> None:
        home = np.array(self.robot.home_rad)
        pos_w, rotation_w = self.kinematics.forward(home)
        yaw = np.arctan2(rotation_w[1, 1], rotation_w[0, 1]) + draws["start_yaw_rad"]
        start = self.kinematics.inverse(pos_w + draws["start_xyz_m"], tool_down(yaw), home)
        if start is None:
            raise UserError(
                f"the arm does not reach its start pose, {draws['start_xyz_m']} m from home, turned by "
                f"{draws['start_yaw_rad']:.2f} rad; narrow randomize.start_xy_m, start_z_m or start_yaw_rad"
            )
        self.data.qpos[self.scene.arm_qpos] = start - self.encoder_bias_rad
        self.data.qpos[self.scene.finger_qpos] = self.scene.finger_travel_m
        self.command(start, 1.0)

    def command(self, joints_rad: np.ndarray, opening: float) -> None:
        """Position targets of the drives: (joints,) rad, gripper 0 (closed) .. 1 (open)."""
        self.data.ctrl[:] = self.controls(joints_rad, opening)

    def controls(self, joints_rad: np.ndarray, opening: np.ndarray | float) -> np.ndarray:
        """(..., drives) MuJoCo's `ctrl` of `command`, of joints (..., joints) and openings (...) at once."""
        rows = np.empty((*np.shape(opening), self.scene.model.nu))
        rows[..., self.scene.arm_actuators] = joints_rad - self.encoder_bias_rad
        rows[..., self.scene.gripper_actuator] = opening * self.scene.finger_travel_m
        return rows

    def hold_object(self) -> None:
        """Put the named object between the pads, its sides along the tool's. For pictures, not for physics."""
        mujoco.mj_kinematics(self.scene.model, self.data)
        pose = np.empty(7)
        pose[:3] = self.data.site_xpos[self.scene.tcp_site]
        mujoco.mju_mat2Quat(pose[3:], self.data.site_xmat[self.scene.tcp_site])
        first = self.scene.object_qpos[0]
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
        left, right = self.data.qpos[self.scene.finger_qpos].tolist()
        opening = 0.5 * (left + right) / self.scene.finger_travel_m
        return np.array([*self.joints_rad().tolist(), min(max(opening, 0.0), 1.0)], np.float32)

    def joints_rad(self) -> np.ndarray:
        """(joints,) where the encoders say the arm is, without their noise."""
        return self.data.qpos[self.scene.arm_qpos] + self.encoder_bias_rad

    def joint_velocity_rad_s(self) -> np.ndarray:
        return self.data.qvel[self.scene.arm_dof].copy()

    def success(self) -> bool:
        """The task's goal holds at this instant."""
        return self.task.is_done(self.scene_state)

    def remember(self) -> None:
        """Let the task remember what it needs of this instant; once in every policy period."""
        self.scene_state.memory = self.task.remember(self.scene_state)

    def ground_truth(self, qpos: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Privileged truth for co-training, m: where the named things are in the world and seen from the tool,
        at present or in a `snapshot`."""
        state = self.scene_state
        if qpos is not None:
            state = replace(state, data=self._posed)
            state.data.qpos[:] = qpos
            mujoco.mj_kinematics(self.scene.model, state.data)
        tool_w = state.tool_pos_w
        tool_from_w = state.data.site_xmat[self.scene.tcp_site].reshape(3, 3).T
        object_w, target_w = self.task.object_pos_w(state), self.task.target_pos_w(state)
        points = (object_w, target_w, tool_from_w @ (object_w - tool_w), tool_from_w @ (target_w - tool_w))
        return {name: point.astype(np.float32) for name, point in zip(GROUNDING_COLUMNS, points, strict=True)}

    def snapshot(self) -> np.ndarray:
        """The configuration as it is now, for `render` later."""
        return self.data.qpos.copy()

    def render(self, camera: str, qpos: np.ndarray | None = None) -> np.ndarray:
        """uint8 (H, W, 3) of `camera`, of the present or of a `snapshot`. One thread only (OpenGL)."""
        if self._renderer is None:
            self._renderer = make_renderer(self.scene, self.config.render)
        return self._renderer.render(camera, self.data.qpos if qpos is None else qpos)

    def photograph(self, camera: str, qpos: np.ndarray, frame: int) -> np.ndarray:
        """What the lens and sensor of the camera make of `render`; the same noise for the same `frame`."""
        picture = self.render(camera, qpos)
        return degrade(picture, self._lenses[camera], noise_rng(self.draws["noise_seed"], camera, frame))

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


class LazyImages(Mapping):
    """The pictures of frames by camera, drawn on first access and kept."""

    def __init__(self, world: Simulation, frames: Mapping[str, Frame]):
        self._world, self._frames = world, frames

    def __getitem__(self, camera: str) -> np.ndarray:
        frame = self._frames[camera]
        if camera not in frame.drawn:
            frame.drawn[camera] = self._world.photograph(camera, frame.qpos, frame.number)
        return frame.drawn[camera]

    def __iter__(self):
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)
