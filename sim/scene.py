"""The world as MuJoCo compiles it, once per process: arm, table, cubes, plates, lights, cameras.

Randomization edits the compiled model in place (see `randomize.py`), so a reset costs no
recompilation. World frame = base frame of the arm: origin on the table under the arm, z up; the
work space lies over -x.
"""

from dataclasses import dataclass
from pathlib import Path

import labmaze
import mujoco
import numpy as np

from sim.robot import Robot

PHYSICS_DT_S = 0.002
MAX_OBJECTS = 3  # cubes and plates each; the ones an episode does not use are parked
CUBE_HALF_M = 0.020
CUBE_MAX_HALF_M = 0.030
PLATE_RADIUS_M = 0.050
PLATE_HALF_HEIGHT_M = 0.004
PLATE_TOP_M = 2 * PLATE_HALF_HEIGHT_M
PARKED_M = np.array([-3.0, 0.0, -0.73])  # on the floor far behind the front camera
TABLE_CENTER_M = (-0.28, 0.0)
FLOOR_Z_M = -0.75
FRONT_POS_M = np.array([-0.86, 0.0, 0.50])
FRONT_LOOKAT_M = np.array([-0.29, 0.0, 0.03])
FRONT_FOVY_DEG = 42.0
TABLE_TEXTURES = (
    "style_01/floor_orange_d", "style_02/floor_green_d", "style_03/floor_blue_d", "style_04/floor_blue_d",
    "style_05/floor_blue_d", "style_01/wall_purple_d", "style_03/wall_gray_d", "style_05/wall_red_d",
)  # fmt: skip


@dataclass(frozen=True)
class RenderConfig:
    """How pictures are drawn. Shadows at 256 without multisampling cost a tenth of MuJoCo's default."""

    height: int = 96
    width: int = 96
    shadow_size: int = 256
    samples: int = 0  # multisampling
    slices: int = 12  # of round primitives


@dataclass(frozen=True)
class Scene:
    """The compiled model and every id that the project addresses, resolved by name once."""

    robot: Robot
    model: mujoco.MjModel
    arm_qpos: np.ndarray  # (joints,) addresses
    arm_dof: np.ndarray
    arm_actuators: np.ndarray
    finger_qpos: np.ndarray  # (2,)
    gripper_actuator: int
    tcp_site: int
    pads: np.ndarray  # geoms that touch what is held
    cubes: np.ndarray  # (MAX_OBJECTS,) bodies
    cube_geoms: np.ndarray
    cube_qpos: np.ndarray  # first address of each free joint
    cube_dof: np.ndarray
    plates: np.ndarray
    plate_geoms: np.ndarray  # (MAX_OBJECTS, 2) disc and foot
    table_geom: int
    table_materials: np.ndarray
    cameras: dict[str, int]
    lights: np.ndarray

    @property
    def finger_travel_m(self) -> float:
        return self.robot.gripper_stroke_m / 2


def build_scene(robot: Robot) -> Scene:
    """Compile the scene for one robot."""
    spec = mujoco.MjSpec.from_file(str(robot.mjcf))
    for key in list(spec.keys):
        spec.delete(key)
    spec.option.timestep = PHYSICS_DT_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 5
    _set_view(spec)
    _add_surroundings(spec)
    for i in range(MAX_OBJECTS):
        _add_cube(spec, i)
        _add_plate(spec, i)
    return _resolve(robot, spec.compile())


def _set_view(spec: mujoco.MjSpec) -> None:
    spec.visual.map.znear = 0.01
    spec.visual.map.zfar = 5.0
    spec.visual.headlight.active = 1
    spec.visual.headlight.diffuse = [0.3, 0.3, 0.3]
    spec.visual.headlight.ambient = [0.3, 0.3, 0.3]
    spec.visual.headlight.specular = [0.0, 0.0, 0.0]
    spec.stat.extent = 1.0
    spec.stat.center = [-0.3, 0.0, 0.1]


def _add_surroundings(spec: mujoco.MjSpec) -> None:
    folder = Path(labmaze.__file__).parent / "assets"
    spec.add_texture(
        name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.75, 0.78, 0.82], rgb2=[0.45, 0.48, 0.52], width=64, height=64,
    )  # fmt: skip
    spec.add_material(name="table_plain", specular=0.1)
    for i, name in enumerate(TABLE_TEXTURES):
        spec.add_texture(name=f"table_{i}", type=mujoco.mjtTexture.mjTEXTURE_2D, file=str(folder / f"{name}.png"))
        material = spec.add_material(name=f"table_{i}", texrepeat=[3, 3], specular=0.1)
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = f"table_{i}"
    world = spec.worldbody
    world.add_geom(
        # Only parked objects know it: drawn, it would fill the shadow map and cost 1 ms a picture.
        name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[4, 4, 0.1], pos=[0, 0, FLOOR_Z_M], group=3,
    )  # fmt: skip
    world.add_geom(
        name="table", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.45, 0.5, 0.02], pos=[*TABLE_CENTER_M, -0.02],
        rgba=[0.6, 0.55, 0.5, 1], material="table_plain", friction=[0.8, 0.005, 0.0001],
    )  # fmt: skip
    world.add_light(name="key", pos=[-0.3, 0.4, 1.4], dir=[0, -0.25, -1], diffuse=[0.6, 0.6, 0.6],
                    castshadow=True, cutoff=60, exponent=1)  # fmt: skip
    world.add_camera(name="front", pos=FRONT_POS_M, quat=look_at(FRONT_POS_M, FRONT_LOOKAT_M), fovy=FRONT_FOVY_DEG)


def _add_cube(spec: mujoco.MjSpec, i: int) -> None:
    body = spec.worldbody.add_body(name=f"cube_{i}", pos=PARKED_M + [0.1 * i, 0, 0])
    body.add_freejoint(name=f"cube_{i}")
    body.add_geom(
        # Compiled larger than any drawn size: the broad phase keeps the compiled bounds, and a cube
        # drawn larger than them would lose its contacts.
        name=f"cube_{i}", type=mujoco.mjtGeom.mjGEOM_BOX, size=[CUBE_MAX_HALF_M] * 3, mass=0.08, condim=4,
        friction=[1.0, 0.01, 0.0001], solref=[0.01, 1], rgba=[0.8, 0.1, 0.1, 1],
    )  # fmt: skip


def _add_plate(spec: mujoco.MjSpec, i: int) -> None:
    # A plate does not slide: it stands for a fixture. That keeps three bodies out of the dynamics.
    # What carries is a box sunk into the table: thin cylinders under boxes make poor contacts.
    body = spec.worldbody.add_body(name=f"plate_{i}", pos=PARKED_M + [0.2 * i, 0.3, 0])
    seen = {"type": mujoco.mjtGeom.mjGEOM_CYLINDER, "contype": 0, "conaffinity": 0, "rgba": [0.2, 0.3, 0.8, 1]}
    top, foot = 0.002, PLATE_HALF_HEIGHT_M - 0.002  # half heights
    body.add_geom(name=f"plate_{i}", size=[PLATE_RADIUS_M, top, 0], pos=[0, 0, PLATE_TOP_M - top], **seen)
    body.add_geom(name=f"plate_foot_{i}", size=[0.8 * PLATE_RADIUS_M, foot, 0], pos=[0, 0, foot], **seen)
    half, depth = 0.9 * PLATE_RADIUS_M, 0.015
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_BOX, size=[half, half, depth], pos=[0, 0, PLATE_TOP_M - depth], group=3,
        friction=[0.8, 0.005, 0.0001],
    )  # fmt: skip


def look_at(pos_w: np.ndarray, target_w: np.ndarray) -> np.ndarray:
    """Quaternion (w x y z) of a camera at `pos_w` that looks at `target_w`, world z up in the picture."""
    z = np.asarray(pos_w, float) - target_w  # a MuJoCo camera looks along its -z
    z /= np.linalg.norm(z)
    x = np.cross([0.0, 0.0, 1.0], z)
    x /= np.linalg.norm(x)
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, np.column_stack([x, np.cross(z, x), z]).ravel())
    return quat


def _resolve(robot: Robot, model: mujoco.MjModel) -> Scene:
    def qpos(names: list[str]) -> np.ndarray:
        return np.array([model.joint(n).qposadr[0] for n in names])

    def dof(names: list[str]) -> np.ndarray:
        return np.array([model.joint(n).dofadr[0] for n in names])

    joints, index = list(robot.joint_names), range(MAX_OBJECTS)
    cubes = [f"cube_{i}" for i in index]
    return Scene(
        robot=robot,
        model=model,
        arm_qpos=qpos(joints),
        arm_dof=dof(joints),
        arm_actuators=np.array([model.actuator(n).id for n in joints]),
        finger_qpos=qpos(["finger_left", "finger_right"]),
        gripper_actuator=model.actuator("gripper").id,
        tcp_site=model.site("tcp").id,
        pads=np.array(
            [g for g in range(model.ngeom) if (model.geom(g).name or "").startswith("pad_") and model.geom_contype[g]]
        ),
        cubes=np.array([model.body(n).id for n in cubes]),
        cube_geoms=np.array([model.geom(n).id for n in cubes]),
        cube_qpos=qpos(cubes),
        cube_dof=dof(cubes),
        plates=np.array([model.body(f"plate_{i}").id for i in index]),
        plate_geoms=np.array([[model.geom(f"plate_{i}").id, model.geom(f"plate_foot_{i}").id] for i in index]),
        table_geom=model.geom("table").id,
        table_materials=np.array(
            [model.material("table_plain").id] + [model.material(f"table_{i}").id for i in range(len(TABLE_TEXTURES))]
        ),  # fmt: skip
        cameras={name: model.camera(name).id for name in robot.cameras},
        lights=np.array([model.light("key").id]),
    )
