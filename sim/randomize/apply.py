"""Puts drawn values into a compiled scene, in place, always starting from the model as it was compiled."""

import colorsys

import mujoco
import numpy as np

from sim.randomize.arm_dynamics import ArmDynamics
from sim.randomize.camera_noise import CameraNoise
from sim.randomize.depth_noise import DepthNoise
from sim.randomize.episode_params import EpisodeParams
from sim.randomize.randomization import Randomization
from sim.scene.build import Scene
from sim.scene.fixtures import look_at
from sim.scene.parts import turned
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

    def apply(self, params: EpisodeParams) -> None:
        """Edit the model as the episode has it, but for what the task does; `derive_constants` is to follow."""
        self._objects(params)
        self._targets(params)
        self._table(params.randomization)
        self._lights(params.randomization)
        self._cameras(params.randomization)
        self._arm(params.randomization)

    def derive_constants(self) -> None:
        """Derive anew what MuJoCo derived of masses, sizes and places at compilation: how free bodies move, how far
        geoms reach. To be called once everything has its size and place, or the episode before would show.

        The extent that clipping planes and shadows are scaled by stays as it is.
        """
        stat = self._model.stat
        center, extent = stat.center.copy(), stat.extent
        mujoco.mj_setConst(self._model, self._scratch)
        stat.center[:], stat.extent = center, extent

    def _objects(self, params: EpisodeParams) -> None:
        """Shape and colour the task's objects and the distractors; the other slots are put away."""
        scene, layout, values = self._scene, params.layout, params.randomization
        used = dict(enumerate(zip(layout.object_shapes, layout.object_colours, strict=True)))
        first = len(scene.slots) - scene.inventory.distractors
        used |= enumerate(zip(layout.distractor_shapes, layout.distractor_colours, strict=True), first)
        for i, slot in enumerate(scene.slots):
            if i not in used:
                slot.put_away()
                continue
            shape, colour = used[i]
            slot.set_shape(shape, scale=values.object_scale[i], mass_kg=values.object_mass_kg[i],
                      inertia=values.object_inertia[i])  # fmt: skip
            pattern = values.object_patterns[i]  # 0: none
            slot.paint(shape, _tint(colour, values, i), int(scene.patterns[pattern - 1]) if pattern else -1)
            slot.set_friction(shape, values.object_friction[i])

    def _targets(self, params: EpisodeParams) -> None:
        scene = self._scene
        for i, colour in enumerate(params.layout.target_colours):
            tint = _tint(colour, params.randomization, len(scene.objects) + i)
            self._model.geom_rgba[scene.target_geoms[i], :3] = tint

    def _table(self, values: Randomization) -> None:
        model, scene = self._model, self._scene
        material = scene.table_materials[values.table_texture]
        model.geom_matid[scene.table_geom] = material
        model.mat_rgba[material, :3] = values.table_rgb
        model.geom_rgba[scene.table_geom, :3] = values.table_rgb
        model.geom_friction[scene.table_geom, 0] = values.table_friction
        if scene.backdrop_geom >= 0:
            material = scene.backdrop_materials[values.backdrop_texture]
            model.geom_matid[scene.backdrop_geom] = material
            model.mat_rgba[material, :3] = values.backdrop_rgb
            model.geom_rgba[scene.backdrop_geom, :3] = values.backdrop_rgb

    def _lights(self, values: Randomization) -> None:
        """Place the lights, switch them on in order and aim the key light at the table."""
        model = self._model
        model.vis.headlight.ambient[:] = values.ambient
        for i, light in enumerate(self._scene.lights):
            strength = values.light_strength if i == 0 else values.light_strengths[i]
            model.light_active[light] = i < values.lights
            model.light_diffuse[light] = strength * np.array(values.light_tint)
        if not len(self._scene.lights):
            return
        key = self._scene.lights[0]
        model.light_castshadow[key] = values.shadows
        moved_m = np.array([values.light_xy_m, *values.fill_xy_m])[: len(self._scene.lights)]
        model.light_pos[self._scene.lights, :2] = self._light_pos[:, :2] + moved_m
        aim = LIGHTS_AIM_M - model.light_pos[key]
        model.light_dir[key] = aim / np.linalg.norm(aim)

    def _cameras(self, values: Randomization) -> None:
        """Place the cameras; those of one kind follow each other in the values, as in the robot's description."""
        model = self._model
        moved = values.front_pos_m, values.front_lookat_m, values.front_fovy_deg
        for camera, pos_m, lookat_m, fovy_deg in zip(self._scene.robot.fixed_cameras, *moved, strict=True):
            number, pos = self._scene.cameras[camera.name], np.add(camera.pos_m, pos_m)
            model.cam_pos[number] = pos
            model.cam_quat[number] = look_at(pos, np.add(camera.lookat_m, lookat_m))
            model.cam_fovy[number] = camera.fovy_deg + fovy_deg
        model.cam_pos[self._wrist] = self._wrist_pos + np.reshape(values.wrist_pos_m, (-1, 3))
        model.cam_fovy[self._wrist] = self._wrist_fovy + values.wrist_fovy_deg
        model.cam_quat[self._wrist] = self._wrist_quat
        for number, tilt_rad in zip(self._wrist, values.wrist_tilt_rad, strict=True):
            mujoco.mju_quatIntegrate(model.cam_quat[number], np.array(tilt_rad), 1.0)

    def _arm(self, values: Randomization) -> None:
        model, scene = self._model, self._scene
        self._dynamics.apply(model, values)
        model.body_pos[scene.base] = [*values.base_pos_m, -values.table_height_m]
        model.body_quat[scene.base] = turned(values.base_yaw_rad)
        model.actuator_forcerange[scene.gripper_actuator] = self._grip_force * values.gripper_force
        model.geom_friction[scene.pads, 0] = values.pad_friction


def camera_noise_of(values: Randomization, camera: int) -> CameraNoise:
    """Return what the robot's `camera`-th camera does to its images in this episode."""
    red, blue = values.white_balance[camera]
    quality = round(values.jpeg_quality[camera])
    return CameraNoise(
        exposure=values.exposure[camera],
        gamma=values.gamma[camera],
        white_balance=(red, 1.0, blue),
        read_noise=values.image_noise[camera],
        blur_px=values.motion_blur_px[camera],
        blur_rad=values.noise_seed % BLUR_DIRECTIONS * np.pi / BLUR_DIRECTIONS,
        jpeg_quality=quality if quality <= BEST_JPEG else 0,
    )


def depth_noise_of(values: Randomization, camera: int) -> DepthNoise:
    """Return how the robot's `camera`-th camera measures depth in this episode."""
    assert values.depth_noise_px is not None and values.depth_holes is not None
    return DepthNoise(values.depth_noise_px[camera], values.depth_holes[camera])


def _tint(colour: str, values: Randomization, i: int) -> tuple[float, float, float]:
    hue, saturation, value = colorsys.rgb_to_hsv(*COLOURS[colour])
    shifted = (hue + values.colour_hue[i]) % 1.0
    return colorsys.hsv_to_rgb(shifted, saturation, min(value * values.colour_value[i], 1.0))
