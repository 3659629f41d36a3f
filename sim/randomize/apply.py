"""Puts drawn values into a compiled scene, in place, always starting from the model as it was compiled."""

import colorsys
from collections.abc import Mapping

import mujoco
import numpy as np

from sim.randomize.arm_dynamics import ArmDynamics
from sim.randomize.camera_noise import Lens
from sim.scene.build import Scene
from sim.scene.fixtures import LIGHTS, look_at
from sim.scene.layout import turned
from sim.scene.placement import COLOURS

BEST_JPEG = 95  # what is drawn above is not compressed
BLUR_DIRECTIONS = 16
LIGHTS_AIM_M = np.array([-0.3, 0.0, 0.0])


class Randomizer:
    """Edits one scene's model; the same values give the same model, whatever was there before."""

    def __init__(self, scene: Scene):
        model = scene.model
        self._scene, self._model = scene, model
        self._scratch = mujoco.MjData(model)
        self._light_pos = model.light_pos[scene.lights].copy()
        self._wrist = [scene.cameras[camera.name] for camera in scene.robot.wrist_cameras]
        self._wrist_pos, self._wrist_quat = model.cam_pos[self._wrist], model.cam_quat[self._wrist]
        self._wrist_fovy = model.cam_fovy[self._wrist]
        self._dynamics = ArmDynamics(model, scene.robot)
        self._grip_force = model.actuator_forcerange[scene.gripper_actuator].copy()

    def apply(self, values: Mapping) -> None:
        """Edit the model; `values` as drawn by the task's layout and `randomize.draw`."""
        self._objects(values)
        self._targets(values)
        self._table(values)
        self._lights(values)
        self._cameras(values)
        self._arm(values)
        self._derive_inertia()

    def _derive_inertia(self) -> None:
        """Free bodies move by constants that MuJoCo derived from the masses at compilation: derive them anew.

        The extent that clipping planes and shadows are scaled by stays as it is.
        """
        stat = self._model.stat
        center, extent = stat.center.copy(), stat.extent
        mujoco.mj_setConst(self._model, self._scratch)
        stat.center[:], stat.extent = center, extent

    def _objects(self, values: Mapping) -> None:
        """Dress and colour the task's objects and the distractors; the other slots are put away."""
        scene = self._scene
        worn = dict(enumerate(_things(values, "object")))
        worn |= enumerate(_things(values, "distractor"), len(scene.slots) - scene.inventory.distractors)
        for i, slot in enumerate(scene.slots):
            if i not in worn:
                slot.put_away()
                continue
            shape, colour = worn[i]
            slot.wear(shape, scale=values["object_scale"][i], mass_kg=values["object_mass_kg"][i],
                      inertia=values["object_inertia"][i])  # fmt: skip
            pattern = values["object_patterns"][i]  # 0: none
            slot.paint(shape, _tint(colour, values, i), int(scene.patterns[pattern - 1]) if pattern else -1)
            slot.set_friction(shape, values["object_friction"][i])

    def _targets(self, values: Mapping) -> None:
        scene = self._scene
        for i, colour in enumerate(_names(values["target_colours"])):
            self._model.geom_rgba[scene.target_geoms[i], :3] = _tint(colour, values, len(scene.objects) + i)

    def _table(self, values: Mapping) -> None:
        model, scene = self._model, self._scene
        material = scene.table_materials[values["table_texture"]]
        model.geom_matid[scene.table_geom] = material
        model.mat_rgba[material, :3] = values["table_rgb"]
        model.geom_rgba[scene.table_geom, :3] = values["table_rgb"]
        model.geom_friction[scene.table_geom, 0] = values["table_friction"]
        if scene.backdrop_geom >= 0:
            material = scene.backdrop_materials[values["backdrop_texture"]]
            model.geom_matid[scene.backdrop_geom] = material
            model.mat_rgba[material, :3] = values["backdrop_rgb"]
            model.geom_rgba[scene.backdrop_geom, :3] = values["backdrop_rgb"]

    def _lights(self, values: Mapping) -> None:
        """Each stands somewhere about its place and is switched on in order; the key light looks at the table."""
        model = self._model
        model.vis.headlight.ambient[:] = values["ambient"]
        for i, light in enumerate(self._scene.lights):
            strength = values["light_strength"] if i == 0 else values["light_strengths"][i]
            model.light_active[light] = i < values["lights"]
            model.light_diffuse[light] = strength * np.array(values["light_tint"])
        if not len(self._scene.lights):
            return
        key = self._scene.lights[0]
        model.light_castshadow[key] = values["shadows"]
        moved_m = [*values["light_xy_m"], *values.get("fill_xy_m", np.zeros(2 * len(LIGHTS) - 2))]
        shown = len(self._scene.lights)
        model.light_pos[self._scene.lights, :2] = self._light_pos[:, :2] + np.reshape(moved_m, (-1, 2))[:shown]
        aim = LIGHTS_AIM_M - model.light_pos[key]
        model.light_dir[key] = aim / np.linalg.norm(aim)

    def _cameras(self, values: Mapping) -> None:
        """Cameras of one kind follow each other in the values, as in the robot's description."""
        model = self._model
        moved = (np.reshape(values["front_pos_m"], (-1, 3)), np.reshape(values["front_lookat_m"], (-1, 3)),
                 np.ravel(values["front_fovy_deg"]))  # fmt: skip
        for camera, pos_m, lookat_m, fovy_deg in zip(self._scene.robot.fixed_cameras, *moved, strict=True):
            number, pos = self._scene.cameras[camera.name], camera.pos_m + pos_m
            model.cam_pos[number] = pos
            model.cam_quat[number] = look_at(pos, camera.lookat_m + lookat_m)
            model.cam_fovy[number] = camera.fovy_deg + fovy_deg
        model.cam_pos[self._wrist] = self._wrist_pos + np.reshape(values["wrist_pos_m"], (-1, 3))
        model.cam_fovy[self._wrist] = self._wrist_fovy + np.ravel(values["wrist_fovy_deg"])
        model.cam_quat[self._wrist] = self._wrist_quat
        for number, tilt_rad in zip(self._wrist, np.reshape(values["wrist_tilt_rad"], (-1, 3)), strict=True):
            mujoco.mju_quatIntegrate(model.cam_quat[number], tilt_rad, 1.0)

    def _arm(self, values: Mapping) -> None:
        model, scene = self._model, self._scene
        self._dynamics.apply(model, values)
        model.body_pos[scene.base] = [*values["base_pos_m"], -values["table_height_m"]]
        model.body_quat[scene.base] = turned(values["base_yaw_rad"])
        model.actuator_forcerange[scene.gripper_actuator] = self._grip_force * values["gripper_force"]
        model.geom_friction[scene.pads, 0] = values["pad_friction"]


def lens_of(values: Mapping, camera: int) -> Lens:
    """What the lens and sensor of the robot's `camera`-th camera do in this episode."""
    red, blue = values["white_balance"][2 * camera : 2 * camera + 2]
    quality = round(values["jpeg_quality"][camera])
    return Lens(
        exposure=values["exposure"][camera],
        gamma=values["gamma"][camera],
        white_balance=(red, 1.0, blue),
        read_noise=values["image_noise"][camera],
        blur_px=values["motion_blur_px"][camera],
        blur_rad=values["noise_seed"] % BLUR_DIRECTIONS * np.pi / BLUR_DIRECTIONS,
        jpeg_quality=quality if quality <= BEST_JPEG else 0,
    )


def _things(values: Mapping, kind: str) -> list[tuple[str, str]]:
    """(shape, colour) of each thing of a kind, "object" or "distractor"."""
    return list(zip(_names(values[f"{kind}_shapes"]), _names(values[f"{kind}_colours"]), strict=True))


def _names(joined: str) -> list[str]:
    return joined.split(",") if joined else []


def _tint(colour: str, values: Mapping, i: int) -> tuple[float, float, float]:
    hue, saturation, value = colorsys.rgb_to_hsv(*COLOURS[colour])
    shifted = (hue + values["colour_hue"][i]) % 1.0
    return colorsys.hsv_to_rgb(shifted, saturation, min(value * values["colour_value"][i], 1.0))
