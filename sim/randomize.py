"""Domain randomization: named terms with a range, drawn by a generator, applied in place.

`draw` is pure and returns every value; the values are stored with the episode, and `apply` rebuilds
the same world from them.
"""

import colorsys
from dataclasses import dataclass

import mujoco
import numpy as np

from sim.contract import POLICY_PERIOD_S
from sim.errors import UserError
from sim.scene import (
    CUBE_HALF_M,
    CUBE_MAX_HALF_M,
    FRONT_FOVY_DEG,
    FRONT_LOOKAT_M,
    FRONT_POS_M,
    MAX_OBJECTS,
    TABLE_TEXTURES,
    Scene,
    look_at,
)
from sim.tasks.pick_place import COLOURS

Range = tuple[float, float]


@dataclass(frozen=True)
class RandomizeConfig:
    """Ranges, each (low, high), drawn uniformly once per episode. `conf/randomize/` holds the groups."""

    cube_half_m: Range = (0.018, 0.022)
    cube_mass_kg: Range = (0.05, 0.15)
    cube_friction: Range = (0.8, 1.2)
    colour_hue: Range = (-0.02, 0.02)  # added, of a full turn
    colour_value: Range = (0.85, 1.1)  # factor
    table_textured: float = 0.6  # probability
    table_value: Range = (0.35, 0.95)
    light_pos_m: Range = (-0.35, 0.35)  # added to x and y
    light_strength: Range = (0.4, 0.8)
    ambient: Range = (0.2, 0.4)
    front_pos_m: Range = (-0.02, 0.02)  # added per axis
    front_lookat_m: Range = (-0.01, 0.01)
    front_fovy_deg: Range = (-1.0, 1.0)
    wrist_pos_m: Range = (-0.002, 0.002)
    wrist_fovy_deg: Range = (-1.0, 1.0)
    joint_damping: Range = (0.8, 1.25)  # factor
    servo_gain: Range = (0.85, 1.15)  # factor
    start_xy_m: Range = (-0.08, 0.08)  # of the tool, added to the home pose's
    start_z_m: Range = (-0.05, 0.05)
    start_yaw_rad: Range = (-0.4, 0.4)
    action_delay_s: Range = (0.0, 0.016)
    observation_delay_s: Range = (0.0, 0.030)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, list | tuple):
                if len(value) != 2 or value[0] > value[1]:
                    raise UserError(f"randomize.{name}={list(value)}: expected [low, high] with low <= high")
                object.__setattr__(self, name, (float(value[0]), float(value[1])))
        if self.cube_half_m[1] > CUBE_MAX_HALF_M:
            raise UserError(f"randomize.cube_half_m={list(self.cube_half_m)}: expected at most {CUBE_MAX_HALF_M}")
        if not 0.0 <= self.observation_delay_s[0] <= self.observation_delay_s[1] < POLICY_PERIOD_S:
            expected = f"expected from 0 to less than a policy period, {POLICY_PERIOD_S}"
            raise UserError(f"randomize.observation_delay_s={list(self.observation_delay_s)}: {expected}")
        if self.action_delay_s[0] < 0.0:
            raise UserError(f"randomize.action_delay_s={list(self.action_delay_s)}: expected at least 0")


def nominal() -> RandomizeConfig:
    """Every range at its neutral value: nothing varies but the layout."""
    factor = {"colour_value", "joint_damping", "servo_gain"}
    kept = {"cube_half_m": CUBE_HALF_M, "cube_mass_kg": 0.08, "cube_friction": 1.0, "table_value": 0.6,
            "light_strength": 0.6, "ambient": 0.3}  # fmt: skip
    values = {}
    for name, value in vars(RandomizeConfig()).items():
        middle = 1.0 if name in factor else kept.get(name, 0.0)
        values[name] = (middle, middle) if isinstance(value, tuple) else 0.0
    return RandomizeConfig(**values)


def draw(rng: np.random.Generator, config: RandomizeConfig) -> dict:
    """Every value of one episode, by name; scalars and flat lists only."""

    def uniform(bounds: Range, n: int | None = None) -> float | list[float]:
        value = rng.uniform(*bounds, n)
        return float(value) if n is None else value.tolist()

    textured = rng.random() < config.table_textured
    texture = 1 + int(rng.integers(len(TABLE_TEXTURES)))
    return {
        "cube_half_m": uniform(config.cube_half_m, MAX_OBJECTS),
        "cube_mass_kg": uniform(config.cube_mass_kg, MAX_OBJECTS),
        "cube_friction": uniform(config.cube_friction, MAX_OBJECTS),
        "colour_hue": uniform(config.colour_hue, 2 * MAX_OBJECTS),
        "colour_value": uniform(config.colour_value, 2 * MAX_OBJECTS),
        "table_texture": texture if textured else 0,
        "table_rgb": [uniform(config.table_value)] * 3 if textured else uniform(config.table_value, 3),
        "light_xy_m": uniform(config.light_pos_m, 2),
        "light_strength": uniform(config.light_strength),
        "ambient": uniform(config.ambient),
        "front_pos_m": uniform(config.front_pos_m, 3),
        "front_lookat_m": uniform(config.front_lookat_m, 3),
        "front_fovy_deg": uniform(config.front_fovy_deg),
        "wrist_pos_m": uniform(config.wrist_pos_m, 3),
        "wrist_fovy_deg": uniform(config.wrist_fovy_deg),
        "joint_damping": uniform(config.joint_damping, 6),
        "servo_gain": uniform(config.servo_gain),
        "start_xyz_m": [*rng.uniform(*config.start_xy_m, 2).tolist(), uniform(config.start_z_m)],
        "start_yaw_rad": uniform(config.start_yaw_rad),
        "action_delay_s": uniform(config.action_delay_s),
        "observation_delay_s": uniform(config.observation_delay_s),
    }


class Randomizer:
    """Applies drawn values to a scene's model, always starting from the model as it was compiled."""

    def __init__(self, scene: Scene):
        model = scene.model
        self._scene = scene
        self._scratch = mujoco.MjData(model)
        self._light_pos = model.light_pos[scene.lights[0]].copy()
        self._wrist_pos = model.cam_pos[scene.cameras["wrist"]].copy()
        self._wrist_fovy = float(model.cam_fovy[scene.cameras["wrist"]])
        self._damping = model.dof_damping[scene.arm_dof].copy()
        self._gain = model.actuator_gainprm[scene.arm_actuators].copy()
        self._bias = model.actuator_biasprm[scene.arm_actuators].copy()

    def apply(self, values: dict, cube_colours: list[str], plate_colours: list[str]) -> None:
        """Edit the model in place. Colours name the objects in use, the named one first."""
        self._objects(values, cube_colours, plate_colours)
        self._looks(values)
        self._cameras(values)
        model, scene = self._scene.model, self._scene
        model.dof_damping[scene.arm_dof] = self._damping * np.array(values["joint_damping"])
        model.actuator_gainprm[scene.arm_actuators] = self._gain * values["servo_gain"]
        model.actuator_biasprm[scene.arm_actuators] = self._bias * values["servo_gain"]
        self._derive_inertia()

    def _derive_inertia(self) -> None:
        """Free bodies move by constants that MuJoCo derived from the masses at compilation: derive them anew.

        The extent that clipping planes and shadows are scaled by stays as it is.
        """
        stat = self._scene.model.stat
        center, extent = stat.center.copy(), stat.extent
        mujoco.mj_setConst(self._scene.model, self._scratch)
        stat.center[:], stat.extent = center, extent

    def _objects(self, values: dict, cube_colours: list[str], plate_colours: list[str]) -> None:
        model, scene = self._scene.model, self._scene
        for i in range(MAX_OBJECTS):
            half, mass = values["cube_half_m"][i], values["cube_mass_kg"][i]
            geom, body = scene.cube_geoms[i], scene.cubes[i]
            model.geom_size[geom] = half
            model.geom_rbound[geom] = half * np.sqrt(3)
            model.geom_friction[geom, 0] = values["cube_friction"][i]
            model.body_mass[body] = mass
            model.body_inertia[body] = mass * (2 * half) ** 2 / 6  # solid cube
            if i < len(cube_colours):
                model.geom_rgba[geom, :3] = _tint(cube_colours[i], values, i)
            if i < len(plate_colours):
                model.geom_rgba[scene.plate_geoms[i], :3] = _tint(plate_colours[i], values, MAX_OBJECTS + i)

    def _looks(self, values: dict) -> None:
        model, scene = self._scene.model, self._scene
        material = scene.table_materials[values["table_texture"]]
        model.geom_matid[scene.table_geom] = material
        model.mat_rgba[material, :3] = values["table_rgb"]
        model.geom_rgba[scene.table_geom, :3] = values["table_rgb"]
        key = scene.lights[0]
        model.light_pos[key, :2] = self._light_pos[:2] + values["light_xy_m"]
        aim = np.array([-0.3, 0.0, 0.0]) - model.light_pos[key]
        model.light_dir[key] = aim / np.linalg.norm(aim)
        model.light_diffuse[key] = values["light_strength"]
        model.vis.headlight.ambient[:] = values["ambient"]

    def _cameras(self, values: dict) -> None:
        model, scene = self._scene.model, self._scene
        front, wrist = scene.cameras["front"], scene.cameras["wrist"]
        pos = FRONT_POS_M + values["front_pos_m"]
        model.cam_pos[front] = pos
        model.cam_quat[front] = look_at(pos, FRONT_LOOKAT_M + values["front_lookat_m"])
        model.cam_fovy[front] = FRONT_FOVY_DEG + values["front_fovy_deg"]
        model.cam_pos[wrist] = self._wrist_pos + values["wrist_pos_m"]
        model.cam_fovy[wrist] = self._wrist_fovy + values["wrist_fovy_deg"]


def _tint(colour: str, values: dict, i: int) -> tuple[float, float, float]:
    hue, saturation, value = colorsys.rgb_to_hsv(*COLOURS[colour])
    shifted = (hue + values["colour_hue"][i]) % 1.0
    return colorsys.hsv_to_rgb(shifted, saturation, min(value * values["colour_value"][i], 1.0))
