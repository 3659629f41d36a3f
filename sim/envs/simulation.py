"""The simulated bench: scene, task and randomization under one roof, stepped by joint commands.

The simulator's environment drives it through the servo layer, the controller emulator through the
controller's sockets. Randomness comes from the seed alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import mujoco
import numpy as np

from sim.core.contract import GROUNDING_COLUMNS, TURN_COLUMNS
from sim.core.deprecated import TASKS as RENAMED
from sim.core.deprecated import current
from sim.core.errors import UserError
from sim.core.options import Options, Registered, block, option
from sim.envs.sensors import Frame
from sim.envs.touch import TouchSensor
from sim.planning.kinematics import BenchKinematics, tool_down
from sim.randomize.apply import Randomizer, camera_noise_of, depth_noise_of
from sim.randomize.camera_noise import degrade, noise_rng
from sim.randomize.depth_noise import D405, D435, measure
from sim.randomize.distractors import with_distractors
from sim.randomize.episode_params import EpisodeParams
from sim.randomize.randomization import Randomization, draw_randomization, with_depth
from sim.randomize.ranges import RandomizeConfig
from sim.randomize.splits import SplitConfig
from sim.render.renderer import OpenGlRenderer, Renderer, make_renderer
from sim.robots.robot import RobotConfig
from sim.scene.build import RenderConfig, Scene, build_scene
from sim.scene.layout import Layout
from sim.scene.shapes import SHAPES
from sim.scene.state import SceneState
from sim.tasks.base import TASKS, Task

MAX_DRAWS = 20000  # of a split that admits few episodes


@dataclass(frozen=True)
class SimulationConfig(Options):
    """Everything that defines a world but the seed: the base of the options of every program that plays in one."""

    task: str = option("pick_place", "what the robot does", Registered(TASKS))
    randomize: RandomizeConfig = block(RandomizeConfig, "how episodes differ")
    render: RenderConfig = block(RenderConfig, "how images are drawn")
    split: SplitConfig = block(SplitConfig, "what is held out, and which episodes are played")
    robot: RobotConfig = block(RobotConfig, "the arm")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "task", current("task", self.task, RENAMED))
        if self.task in TASKS.names():  # a program may have others, as "all"
            task = TASKS.get(self.task)
            shapes = (task.object_shapes or self.randomize.shapes) if task.max_objects else ()
            self.split.check_objects(self.task, shapes)

    @property
    def world(self) -> "SimulationConfig":
        """Return this part alone of a program's options."""
        return SimulationConfig(self.task, self.randomize, self.render, self.split, self.robot)


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
        self.params: EpisodeParams  # of the episode
        self.kinematics = BenchKinematics(robot)
        pos, rotation = self.kinematics.forward(np.array(robot.home_rad))  # of an arm that stands where it should
        self._home_pos = np.round(pos, 4)
        self._home_yaw_rad = float(np.round(np.arctan2(rotation[1, 1], rotation[0, 1]), 4))
        self._randomizer = Randomizer(self.scene)
        self._touch = TouchSensor(self.scene)
        self._renderer: Renderer | None = None

    # ---- an episode ----------------------------------------------------------------------------

    def reset(self, seed: int) -> None:
        """Draw a new episode from `seed` and set it up, the arm at rest at its start pose."""
        self.rebuild(self.draw(seed))

    def draw(self, seed: int) -> EpisodeParams:
        """Draw the episode of `seed`, again until the split admits it. UserError when it admits none."""
        rng = np.random.default_rng(seed)
        ranges, objects, targets = self.config.randomize, len(self.scene.objects), len(self.scene.targets)
        for _ in range(MAX_DRAWS):
            layout = self.task.draw_layout(rng, ranges)
            layout = with_distractors(rng, ranges, layout, self.task.taken(layout))
            randomization = draw_randomization(rng, ranges, self.robot, objects, targets)
            if self.config.render.depth:
                randomization = with_depth(randomization, ranges, len(self.robot.cameras))
            params = EpisodeParams(layout, self._with_start(randomization, layout))
            if self.config.split.admits(params):
                return params
        raise UserError(
            f"no episode of {self.config.task} in {MAX_DRAWS} draws belongs to split {self.config.split.part!r}; "
            "expected a wider randomize, or a part that the task can show"
        )

    def _with_start(self, randomization: Randomization, layout: Layout) -> Randomization:
        """Return the randomization with the tool's start where the layout has it, counted from home."""
        if layout.tool_start_w is not None:
            start = np.array(layout.tool_start_w) - self._home_pos
            randomization = replace(randomization, start_xyz_m=tuple(start.tolist()))
        if layout.tool_start_yaw_rad is not None:
            randomization = replace(randomization, start_yaw_rad=layout.tool_start_yaw_rad - self._home_yaw_rad)
        return randomization

    def rebuild(self, params: EpisodeParams) -> None:
        """Set up an episode that was drawn before."""
        self.params = params
        self.scene_state = SceneState(self.scene, self.data, params.layout)
        mujoco.mj_resetData(self.scene.model, self.data)
        self._randomizer.apply(params)
        self._camera_noise = {
            camera: camera_noise_of(params.randomization, i) for i, camera in enumerate(self.robot.camera_names)
        }
        self.task.apply_layout(self.scene_state)
        self._randomizer.derive_constants()
        drawn = params.randomization
        self.encoder_bias_rad = np.array(drawn.encoder_bias_rad)
        self.kinematics.stand([*drawn.base_pos_m, -drawn.table_height_m], drawn.base_yaw_rad, self.encoder_bias_rad)
        self._start_arm(drawn)
        mujoco.mj_forward(self.scene.model, self.data)
        self._touch.begin(drawn.noise_seed)
        self.scene_state.memory = self.task.first_memory(self.scene_state)

    def _start_arm(self, drawn: Randomization) -> None:
        home = np.array(self.robot.home_rad)
        pos_w, rotation_w = self.kinematics.forward(home)
        yaw = np.arctan2(rotation_w[1, 1], rotation_w[0, 1]) + drawn.start_yaw_rad
        start = self.kinematics.inverse(pos_w + drawn.start_xyz_m, tool_down(yaw), home)
        if start is None:
            raise UserError(
                f"the arm does not reach its start pose, {list(drawn.start_xyz_m)} m from home, turned by "
                f"{drawn.start_yaw_rad:.2f} rad; narrow randomize.start_xy_m, start_z_m or start_yaw_rad"
            )
        self.data.qpos[self.scene.arm_qpos] = start - self.encoder_bias_rad
        self.data.qpos[self.scene.finger_qpos] = self.scene.finger_travel_m
        self.command(start, 1.0)

    def command(self, joints_rad: np.ndarray, opening: float) -> None:
        """Set position targets of the drives: (joints,) rad, gripper 0 (closed) .. 1 (open)."""
        self.data.ctrl[:] = self.controls(joints_rad, opening)

    def controls(self, joints_rad: np.ndarray, opening: np.ndarray | float) -> np.ndarray:
        """Return (..., drives) MuJoCo's `ctrl` of `command`, of joints (..., joints) and openings (...) at once."""
        rows = np.empty((*np.shape(opening), self.scene.model.nu))
        rows[..., self.scene.arm_actuators] = joints_rad - self.encoder_bias_rad
        rows[..., self.scene.gripper_actuator] = opening * self.scene.finger_travel_m
        return rows

    def step(self, steps: int) -> None:
        """Advance the physics by `steps` of PHYSICS_DT_S."""
        mujoco.mj_step(self.scene.model, self.data, steps)

    # ---- what can be seen and known ------------------------------------------------------------

    @property
    def instruction(self) -> str:
        return self.params.layout.instruction

    @property
    def time_s(self) -> float:
        return self.data.time

    def state(self) -> np.ndarray:
        """Return (D,) float32: measured joint angles in rad, gripper opening 0..1."""
        left, right = self.data.qpos[self.scene.finger_qpos].tolist()
        opening = 0.5 * (left + right) / self.scene.finger_travel_m
        return np.array([*self.joints_rad().tolist(), min(max(opening, 0.0), 1.0)], np.float32)

    def joints_rad(self) -> np.ndarray:
        """Return (joints,) where the encoders say the arm is, without their noise."""
        return self.data.qpos[self.scene.arm_qpos] + self.encoder_bias_rad

    def joint_velocity_rad_s(self) -> np.ndarray:
        return self.data.qvel[self.scene.arm_dof].copy()

    def touch(self) -> np.ndarray:
        """Return float32 (7,), what the tool's sensors tell of the last physics step, as `TOUCH_NAMES` has it."""
        return self._touch.read(self.data)

    def success(self) -> bool:
        """Return whether the task's goal holds at this instant."""
        return self.task.is_done(self.scene_state)

    def remember(self) -> None:
        """Let the task remember what it needs of this instant; once in every policy period."""
        self.scene_state.memory = self.task.remember(self.scene_state)

    def ground_truth(self, qpos: np.ndarray | None = None, told: str = "") -> dict[str, np.ndarray]:
        """Return privileged truth for co-training: where the named things are in the world and seen from the tool, m,
        and how the target is turned, at present or in a `snapshot`. told: the step meant, of several."""
        state = self.scene_state
        if qpos is not None:
            state = replace(state, data=self._posed)
            state.data.qpos[:] = qpos
            mujoco.mj_kinematics(self.scene.model, state.data)
        tool_pos_w = state.tool_pos_w
        tool_from_w = state.data.site_xmat[self.scene.tcp_site].reshape(3, 3).T
        steps = state.layout.subtasks or ()
        object_pos_w, target_pos_w = self.task.object_pos_w(state), self.task.target_pos_w(state)
        if told in steps:
            object_pos_w, target_pos_w = self.task.step_points_w(state, steps.index(told)).values()
        points = (
            object_pos_w,
            target_pos_w,
            tool_from_w @ (object_pos_w - tool_pos_w),
            tool_from_w @ (target_pos_w - tool_pos_w),
        )
        truth = {
            **dict(zip(GROUNDING_COLUMNS, points, strict=True)),
            **dict(zip(TURN_COLUMNS, self._turns(state, object_pos_w, tool_from_w), strict=True)),
        }
        return {name: value.astype(np.float32) for name, value in truth.items()}

    def _turns(self, state: SceneState, object_pos_w: np.ndarray, tool_from_w: np.ndarray) -> list[np.ndarray]:
        """Return what `TURN_COLUMNS` hold, where the named object is at this point."""
        i, target_yaw_rad = state.object_at(object_pos_w), (state.layout.target_yaw_rad or (0.0,))[0]
        target = _turn(target_yaw_rad, self.task.target_turns, tool_from_w)
        if i is None:
            return [_turn(0.0, 0, tool_from_w), target]
        return [_turn(state.object_yaw_rad(i), SHAPES[state.scene.slots[i].shape].turns_alike, tool_from_w), target]

    def snapshot(self) -> np.ndarray:
        """Return the configuration as it is now, for `render` later."""
        return self.data.qpos.copy()

    def render(self, camera: str, qpos: np.ndarray | None = None) -> np.ndarray:
        """Return uint8 (H, W, 3) of `camera`, of the present or of a `snapshot`. One thread only (OpenGL)."""
        return self._drawing().render(camera, self.data.qpos if qpos is None else qpos)

    def segment(self, camera: str) -> np.ndarray:
        """Return which geom each pixel of `render` shows, int32 (H, W), -1 for none. UserError but for OpenGL."""
        return self._drawing_geometry("what a pixel shows").segment(camera, self.data.qpos)

    def depth(self, camera: str, qpos: np.ndarray | None = None) -> np.ndarray:
        """Return float32 (H, W), m along the optical axis to what `render` shows. UserError but for OpenGL."""
        return self._drawing_geometry("how far it is").depth(camera, self.data.qpos if qpos is None else qpos)

    def measure_depth(self, camera: str, qpos: np.ndarray, frame: int) -> np.ndarray:
        """Return uint16 (H, W), mm, what a D405 at the wrist, a D435 elsewhere makes of `depth`; the same noise for the
        same `frame`."""
        values, at = self.params.randomization, self.robot.camera_names.index(camera)
        fovy_rad = np.deg2rad(self.scene.model.cam_fovy[self.scene.cameras[camera]])
        rng = noise_rng(values.noise_seed, f"{camera} depth", frame)
        kind = D405 if camera in {one.name for one in self.robot.wrist_cameras} else D435
        return measure(self.depth(camera, qpos), fovy_rad, kind, depth_noise_of(values, at), rng)

    def _drawing(self) -> Renderer:
        if self._renderer is None:
            self._renderer = make_renderer(self.scene, self.config.render)
        return self._renderer

    def _drawing_geometry(self, what: str) -> OpenGlRenderer:
        if not isinstance(renderer := self._drawing(), OpenGlRenderer):
            raise UserError(f"render.renderer={self.config.render.renderer}: only opengl says {what}")
        return renderer

    def capture(self, camera: str, qpos: np.ndarray, frame: int) -> np.ndarray:
        """Return what the lens and sensor of the camera make of `render`; the same noise for the same `frame`."""
        image = self.render(camera, qpos)
        return degrade(
            image, self._camera_noise[camera], noise_rng(self.params.randomization.noise_seed, camera, frame)
        )

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def _turn(yaw_rad: float, alike: int, tool_from_w: np.ndarray) -> np.ndarray:
    """Return the numbers (4,) of `TURN_NAMES` for a yaw in the world and so many turns that are alike, 0: all."""
    x, y, _ = tool_from_w @ [np.cos(yaw_rad), np.sin(yaw_rad), 0.0]
    around = (x + 1j * y) / np.hypot(x, y)
    twice, four_times = (around**n if alike and n % alike == 0 else 0j for n in (2, 4))
    return np.array([twice.real, twice.imag, four_times.real, four_times.imag])


Capture = Callable[[str, np.ndarray, int], np.ndarray]  # of a camera, a snapshot, and its frame's number


class LazyImages(Mapping):
    """The images of frames by camera, drawn on first access and kept."""

    def __init__(self, capture: Capture, frames: Mapping[str, Frame], kind: str = "image"):
        """kind: of what `capture` draws, where a frame keeps it."""
        self._capture, self._frames, self._kind = capture, frames, kind

    def __getitem__(self, camera: str) -> np.ndarray:
        frame = self._frames[camera]
        if (camera, self._kind) not in frame.drawn:
            frame.drawn[camera, self._kind] = self._capture(camera, frame.qpos, frame.number)
        return frame.drawn[camera, self._kind]

    def __iter__(self):
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)
