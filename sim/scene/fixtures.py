"""What stands around the arm and does not move of itself: table, lights, cameras, plates, zones.

World frame: origin on the table under the arm, z up; the work space lies over -x.
"""

import importlib.util
from pathlib import Path

import mujoco
import numpy as np

from sim.core.errors import UserError
from sim.robots.robot import Robot

CYLINDER = mujoco.mjtGeom.mjGEOM_CYLINDER
BOX = mujoco.mjtGeom.mjGEOM_BOX
PLATE_RADIUS_M = 0.050
PLATE_HALF_HEIGHT_M = 0.004
PLATE_TOP_M = 2 * PLATE_HALF_HEIGHT_M
ZONE_RADIUS_M = 0.055
PARKED_M = np.array([-3.0, 0.0, -0.73])  # on the floor far behind the front camera
TABLE_CENTER_M = (-0.28, 0.0)
TABLE_FRICTION = 0.8
FLOOR_Z_M = -0.75
TABLE_TEXTURES = (
    "style_01/floor_orange_d", "style_02/floor_green_d", "style_03/floor_blue_d", "style_04/floor_blue_d",
    "style_05/floor_blue_d", "style_01/wall_purple_d", "style_03/wall_gray_d", "style_05/wall_red_d",
    "style_01/4tile_d", "style_01/ceiling_d", "style_02/floor_orange_d", "style_03/floor_purple_d",
    "style_04/floor_cyan_d", "style_04/floor_dorange_d", "style_05/floor_orange_d", "style_02/wall_dblue_d",
)  # fmt: skip
BACKDROP_TEXTURES = (
    "style_01/wall_yellow_d", "style_02/wall_blue_d", "style_02/wall_lgreen_d", "style_03/wall_cyan_d",
    "style_04/wall_green_d", "style_04/wall_cerise_d", "style_03/wall_gray_bright_d", "style_05/wall_yellow_d",
)  # fmt: skip
BACKDROPS = len(BACKDROP_TEXTURES)
PATTERNS = 4
LIGHTS = ("key", "fill", "side")


def set_view(spec: mujoco.MjSpec) -> None:
    """Set clipping planes, headlight and the scale by which shadows are drawn."""
    spec.visual.map.znear = 0.01
    spec.visual.map.zfar = 5.0
    spec.visual.headlight.active = 1
    spec.visual.headlight.diffuse = [0.3, 0.3, 0.3]
    spec.visual.headlight.ambient = [0.3, 0.3, 0.3]
    spec.visual.headlight.specular = [0.0, 0.0, 0.0]
    spec.stat.extent = 1.0
    spec.stat.center = [-0.3, 0.0, 0.1]


def add_table(spec: mujoco.MjSpec, textures: int) -> None:
    """Add sky, table with its textures, and the floor on which unused things are parked."""
    spec.add_texture(
        name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.75, 0.78, 0.82], rgb2=[0.45, 0.48, 0.52], width=64, height=64,
    )  # fmt: skip
    spec.add_material(name="table_plain", specular=0.1)
    for i, name in enumerate(TABLE_TEXTURES[:textures]):
        _add_image(spec, f"table_{i}", name, repeat=3)
    world = spec.worldbody
    world.add_geom(
        # Only parked objects touch it: drawn, it would fill the shadow map and cost 1 ms an image.
        name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[4, 4, 0.1], pos=[0, 0, FLOOR_Z_M], group=3,
    )  # fmt: skip
    world.add_geom(
        name="table", type=BOX, size=[0.45, 0.5, 0.02], pos=[*TABLE_CENTER_M, -0.02],
        rgba=[0.6, 0.55, 0.5, 1], material="table_plain", friction=[TABLE_FRICTION, 0.005, 0.0001],
    )  # fmt: skip


def add_cameras(spec: mujoco.MjSpec, robot: Robot) -> None:
    """Add the robot's cameras that stand on the bench."""
    for camera in robot.fixed_cameras:
        pos, lookat = np.array(camera.pos_m), np.array(camera.lookat_m)
        spec.worldbody.add_camera(name=camera.name, pos=pos, quat=look_at(pos, lookat), fovy=camera.fovy_deg)


def _images() -> Path:
    """Return the folder of labmaze's images, by its place: its compiled code lacks for Python 3.13."""
    spec = importlib.util.find_spec("labmaze")
    if spec is None or spec.origin is None:
        raise UserError("labmaze, whose images lie on the scene's table, is not installed; README says how to get it")
    return Path(spec.origin).parent / "assets"


def _add_image(spec: mujoco.MjSpec, material: str, image: str, repeat: int) -> None:
    """Add a material that shows one of labmaze's images."""
    file = _images() / f"{image}.png"
    spec.add_texture(name=material, type=mujoco.mjtTexture.mjTEXTURE_2D, file=str(file))
    made = spec.add_material(name=material, texrepeat=[repeat, repeat], specular=0.1)
    made.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = material


def add_patterns(spec: mujoco.MjSpec) -> None:
    """Add materials that objects may have over their colour: checked, shaded, edged and speckled."""
    builtin, mark = mujoco.mjtBuiltin, mujoco.mjtMark
    drawn = ((builtin.mjBUILTIN_CHECKER, mark.mjMARK_NONE), (builtin.mjBUILTIN_GRADIENT, mark.mjMARK_NONE),
             (builtin.mjBUILTIN_FLAT, mark.mjMARK_EDGE), (builtin.mjBUILTIN_FLAT, mark.mjMARK_RANDOM))  # fmt: skip
    for i, (kind, marked) in enumerate(drawn):
        name = f"pattern_{i}"
        spec.add_texture(
            name=name, type=mujoco.mjtTexture.mjTEXTURE_CUBE, builtin=kind, mark=marked, width=48, height=48,
            rgb1=[1, 1, 1], rgb2=[0.6, 0.6, 0.6], markrgb=[0.25, 0.25, 0.25], random=0.05,
        )  # fmt: skip
        material = spec.add_material(name=name, specular=0.2)
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name


def add_lights(spec: mujoco.MjSpec, number: int) -> None:
    """Add the key light over the table and up to two more."""
    places = {"key": [-0.3, 0.4, 1.4], "fill": [-0.9, -0.6, 1.1], "side": [0.1, 0.9, 0.9]}
    for name in LIGHTS[:number]:
        direction = np.array([-0.3, 0.0, 0.0]) - places[name]
        spec.worldbody.add_light(name=name, pos=places[name], dir=[0, -0.25, -1] if name == "key" else direction,
                                 diffuse=[0.6, 0.6, 0.6], castshadow=name == "key", cutoff=60, exponent=1)  # fmt: skip


def add_backdrop(spec: mujoco.MjSpec) -> None:
    """Add a wall behind the arm, as the fixed camera sees it; without contacts."""
    spec.add_material(name="backdrop_plain", specular=0.0)
    for i, name in enumerate(BACKDROP_TEXTURES):
        _add_image(spec, f"backdrop_{i}", name, repeat=4)
    spec.worldbody.add_geom(
        name="backdrop", type=BOX, size=[0.01, 1.6, 1.1], pos=[0.9, 0, 0.2], contype=0, conaffinity=0,
        material="backdrop_plain",
    )  # fmt: skip


def add_plate(spec: mujoco.MjSpec, i: int) -> None:
    """Add target `i` as a plate.

    A plate does not slide: it stands for a fixture. That keeps three bodies out of the dynamics.
    What carries is a box sunk into the table: thin cylinders under boxes make poor contacts.
    """
    body = spec.worldbody.add_body(name=f"target_{i}", pos=PARKED_M + [0.2 * i, 0.3, 0])
    seen = {"type": CYLINDER, "contype": 0, "conaffinity": 0, "rgba": [0.2, 0.3, 0.8, 1]}
    top, foot = 0.002, PLATE_HALF_HEIGHT_M - 0.002  # half heights
    body.add_geom(name=f"target_{i}", size=[PLATE_RADIUS_M, top, 0], pos=[0, 0, PLATE_TOP_M - top], **seen)
    body.add_geom(name=f"target_{i}_foot", size=[0.8 * PLATE_RADIUS_M, foot, 0], pos=[0, 0, foot], **seen)
    half, depth = 0.9 * PLATE_RADIUS_M, 0.015
    body.add_geom(
        type=BOX, size=[half, half, depth], pos=[0, 0, PLATE_TOP_M - depth], group=3,
        friction=[TABLE_FRICTION, 0.005, 0.0001],
    )  # fmt: skip


def add_zone(spec: mujoco.MjSpec, i: int) -> None:
    """Add target `i` as a disc painted on the table, without contacts."""
    body = spec.worldbody.add_body(name=f"target_{i}", pos=PARKED_M + [0.2 * i, 0.3, 0])
    body.add_geom(
        name=f"target_{i}", type=CYLINDER, size=[ZONE_RADIUS_M, 0.0005, 0], pos=[0, 0, 0.0005], contype=0,
        conaffinity=0,
    )  # fmt: skip


def look_at(pos_w: np.ndarray, target_w: np.ndarray) -> np.ndarray:
    """Return the quaternion (w x y z) of a camera at `pos_w` that looks at `target_w`, world z up in the image."""
    z = np.asarray(pos_w, float) - target_w  # a MuJoCo camera looks along its -z
    z /= np.linalg.norm(z)
    x = np.cross([0.0, 0.0, 1.0], z)
    x /= np.linalg.norm(x)
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, np.column_stack([x, np.cross(z, x), z]).ravel())
    return quat
