"""The scene as MuJoCo compiles it, once per process: arm, surroundings, movable objects, a task's targets.

Randomization edits the compiled model in place (see `sim/randomize/apply.py`), so a reset costs no
recompilation. World frame: origin on the table under the arm, z up; the work space lies over -x.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import mujoco
import numpy as np

from sim.core.errors import UserError
from sim.core.options import IMAGE_SIDE, Options, between, one_of, option
from sim.robots.mjcf import arm_spec, compiled
from sim.robots.robot import Robot
from sim.scene import fixtures
from sim.scene.fixtures import PARKED_M
from sim.scene.object_slot import Slot, add_slot

PHYSICS_DT_S = 0.002
RENDERERS = OPENGL, _ = "opengl", "filament"


@dataclass(frozen=True)
class RenderConfig(Options):
    """How images are drawn. Shadows at 256 without multisampling cost a tenth of MuJoCo's default."""

    renderer: str = option("opengl", "filament: MuJoCo's second one, by Vulkan", one_of(*RENDERERS))
    height: int = option(96, "of an image, pixels", IMAGE_SIDE)
    width: int = option(96, "of an image, pixels", IMAGE_SIDE)
    shadow_size: int = option(256, "texels of a shadow map's side", between(16, 16384))
    samples: int = option(0, "of a pixel, for soft edges", between(0, 32))
    slices: int = option(12, "around a round primitive", between(3, 256))
    depth: bool = option(False, "every camera measures depth too, as a stereo camera does")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.depth and self.renderer != OPENGL:
            raise UserError(
                f"render.depth=true render.renderer={self.renderer}: expected {OPENGL}, which alone draws it"
            )


@dataclass(frozen=True)
class Inventory:
    """What a scene is compiled with beyond the task's own: things that cost time when they are there."""

    shapes: tuple[str, ...] = ("cube",)  # that an object may have
    distractor_shapes: tuple[str, ...] = ()
    distractors: int = 0
    lights: int = 1
    backdrop: bool = False
    table_textures: int = 8


class SceneContent(Protocol):
    """What a task puts into its scene."""

    max_objects: ClassVar[int]  # movable things, the named one first
    max_targets: ClassVar[int]  # things that stand where the episode puts them, the named one first
    object_shapes: ClassVar[tuple[str, ...] | None]  # of the movable things; None: those of the inventory

    def add_targets(self, spec: mujoco.MjSpec) -> None:
        """Add bodies `target_0`.. to the world; geoms of theirs whose names begin so take the episode's colours."""


@dataclass(frozen=True)
class Scene:
    """The compiled model and every id that the project addresses, resolved by name once."""

    robot: Robot
    model: mujoco.MjModel
    inventory: Inventory
    base: int  # body
    arm_qpos: np.ndarray  # (joints,) addresses
    arm_dof: np.ndarray
    arm_actuators: np.ndarray
    finger_qpos: np.ndarray  # (2,)
    gripper: int  # body
    gripper_actuator: int
    tcp_site: int
    pads: np.ndarray  # geoms that touch what is held
    objects: np.ndarray  # (n,) bodies: the task's, then distractors
    slots: tuple[Slot, ...]  # the same, to set their shapes
    object_geoms: tuple[np.ndarray, ...]  # of each object
    object_qpos: np.ndarray  # first address of each free joint
    object_dof: np.ndarray
    targets: np.ndarray  # (m,) bodies
    target_geoms: tuple[np.ndarray, ...]  # of each target, those that take its colour
    patterns: np.ndarray  # materials that objects may have
    table_geom: int
    table_materials: np.ndarray
    backdrop_geom: int  # -1: none
    backdrop_materials: np.ndarray
    cameras: dict[str, int]
    lights: np.ndarray

    @property
    def shown_meshes(self) -> list[int]:
        """The meshes of the shapes that the objects have in this episode."""
        return [mesh for slot in self.slots for mesh in slot.shown_meshes]

    @property
    def meshes_edition(self) -> tuple[int, ...]:
        """Changes when an object takes another shape or size: renderers that keep meshes must read them again."""
        return tuple(slot.edition for slot in self.slots)

    @property
    def finger_travel_m(self) -> float:
        return self.robot.gripper_stroke_m / 2


def build_scene(robot: Robot, task: SceneContent, inventory: Inventory = Inventory()) -> Scene:
    """Compile the scene of a task for one robot."""
    spec = arm_spec(robot)
    for key in list(spec.keys):
        spec.delete(key)
    spec.option.timestep = PHYSICS_DT_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 5
    fixtures.set_view(spec)
    fixtures.add_table(spec, inventory.table_textures)
    fixtures.add_cameras(spec, robot)
    fixtures.add_patterns(spec)
    fixtures.add_lights(spec, inventory.lights)
    if inventory.backdrop:
        fixtures.add_backdrop(spec)
    for i, shapes in enumerate(_shapes_of_slots(task, inventory)):
        add_slot(spec, f"object_{i}", shapes, (PARKED_M + [0.1 * i, 0, 0]).tolist())
    task.add_targets(spec)
    return _resolve(robot, compiled(robot, spec), task, inventory)


def _shapes_of_slots(task: SceneContent, inventory: Inventory) -> list[tuple[str, ...]]:
    """Return the shapes that each object may have, the task's first, then the distractors'."""
    own = task.object_shapes or inventory.shapes
    return [own] * task.max_objects + [inventory.distractor_shapes] * inventory.distractors


def _resolve(robot: Robot, model: mujoco.MjModel, task: SceneContent, inventory: Inventory) -> Scene:
    def qpos(names: list[str]) -> np.ndarray:
        return np.array([model.joint(n).qposadr[0] for n in names], int)

    def dof(names: list[str]) -> np.ndarray:
        return np.array([model.joint(n).dofadr[0] for n in names], int)

    def geoms(prefix: str) -> np.ndarray:
        return np.array([g for g in range(model.ngeom) if (model.geom(g).name or "").startswith(prefix)], int)

    def materials(kind: str, number: int) -> np.ndarray:
        return np.array([model.material(f"{kind}_{i}").id for i in ("plain", *range(number))], int)

    def of_body(body: int) -> np.ndarray:
        return np.flatnonzero(model.geom_bodyid == body)

    joints = list(robot.joint_names)
    used = _shapes_of_slots(task, inventory)
    objects = [f"object_{i}" for i in range(len(used))]
    targets = [f"target_{i}" for i in range(task.max_targets)]
    bodies = np.array([model.body(n).id for n in objects], int)
    pads = geoms("pad_")
    return Scene(
        robot=robot,
        model=model,
        inventory=inventory,
        base=model.body("base").id,
        arm_qpos=qpos(joints),
        arm_dof=dof(joints),
        arm_actuators=np.array([model.actuator(n).id for n in joints]),
        finger_qpos=qpos(["finger_left", "finger_right"]),
        gripper=model.body("gripper").id,
        gripper_actuator=model.actuator("gripper").id,
        tcp_site=model.site("tcp").id,
        pads=pads[model.geom_contype[pads] > 0],
        objects=bodies,
        slots=tuple(Slot(model, name, shapes) for name, shapes in zip(objects, used, strict=True)),
        object_geoms=tuple(of_body(body) for body in bodies),
        object_qpos=qpos(objects),
        object_dof=dof(objects),
        targets=np.array([model.body(n).id for n in targets], int),
        target_geoms=tuple(geoms(name) for name in targets),
        patterns=np.array([model.material(f"pattern_{i}").id for i in range(fixtures.PATTERNS)]),
        table_geom=model.geom("table").id,
        table_materials=materials("table", inventory.table_textures),
        backdrop_geom=model.geom("backdrop").id if inventory.backdrop else -1,
        backdrop_materials=materials("backdrop", fixtures.BACKDROPS) if inventory.backdrop else np.empty(0, int),
        cameras={name: model.camera(name).id for name in robot.camera_names},
        lights=np.array([model.light(name).id for name in fixtures.LIGHTS[: inventory.lights]]),
    )  # fmt: skip
