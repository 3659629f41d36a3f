"""The second pair of eyes: the same scene drawn with Filament, MuJoCo's physically based renderer.

Training never sees these pictures, so they stand in for reality when sim-to-real loss is measured. They
come from the same compiled model as `sim.renderer.OpenGlRenderer`'s and follow every edit made to it in place, but
for the pixels of textures, which are uploaded once.

Filament's own post-processing is off: it dithers with a noise that goes on from picture to picture, so the
same episode would not give the same pictures twice. Anti-aliasing, tone mapping and the display's transfer
curve are done here instead.
"""

import contextlib
import ctypes
import os
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import mujoco
import mujoco.studio  # on import it tells MuJoCo where Filament's materials are
import numpy as np
from mujoco import mjrf

from sim.errors import UserError
from sim.scene import RenderConfig, Scene

INSTALL_VULKAN = "apt-get install -y libvulkan1 mesa-vulkan-drivers"
OVERSAMPLING = 2  # pixels drawn for one delivered, along each side
SHADOW_MAP_PX = 1024
SLICES = 48  # of round primitives
# A camera at f/16, 1/125 s and ISO 100 (Filament's) shows a white matte surface under this light as 1.0:
# luminance = illuminance / pi, exposure = 1 / (1.2 * 2^EV) with EV = log2(16^2 * 125).
WHITE_LUX = np.pi * 1.2 * 16.0**2 * 125.0
KEY_GAIN, ENVIRONMENT_GAIN = 0.6, 0.2  # of MuJoCo's light coefficients; chosen by eye, see `_Lights`
# Ambient occlusion would leak 1.4 MB a picture (MuJoCo 4.0.0 on Mesa's Vulkan driver) and halve the speed.
VIEW = '<mujoco><custom><numeric name="filament.ao.enabled" data="0"/></custom></mujoco>'
# What Filament has copies of.
LOOKS = (
    "mesh_vert", "geom_type", "geom_dataid", "geom_group", "geom_matid", "geom_size", "geom_rgba",
    "mat_rgba", "mat_texid", "mat_texrepeat", "mat_texuniform", "mat_emission", "mat_specular", "mat_shininess",
    "mat_reflectance", "mat_metallic", "mat_roughness",
)  # fmt: skip


def check_vulkan() -> None:
    """Raise UserError with the line that installs it when there is no Vulkan device (Filament would abort)."""
    reason = _vulkan_fault()
    if reason:
        raise UserError(f"renderer=filament needs Vulkan: {reason}; install it with: {INSTALL_VULKAN}")


def _vulkan_fault() -> str:
    """Why no Vulkan device can be opened, "" when one can."""
    try:
        vulkan = ctypes.CDLL("libvulkan.so.1")
    except OSError:
        return "no libvulkan.so.1"
    instance, count = ctypes.c_void_p(), ctypes.c_uint32()
    asked = (ctypes.c_uint64 * 8)(1)  # VkInstanceCreateInfo: its type, 1, and no layer or extension
    result = vulkan.vkCreateInstance(asked, None, ctypes.byref(instance))
    if result != 0:
        return f"no driver (VkResult {result})"
    vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None)
    vulkan.vkDestroyInstance(instance, None)
    return "" if count.value else "no device"


class FilamentRenderer:
    """Draws a scene's cameras from joint positions alone, on data of its own. One thread only."""

    def __init__(self, scene: Scene, config: RenderConfig):
        check_vulkan()
        self._scene = scene
        self._data = mujoco.MjData(scene.model)
        self._shape = (config.height, OVERSAMPLING, config.width, OVERSAMPLING, 3)
        self._stage = _Stage(scene.model, config.height * OVERSAMPLING, config.width * OVERSAMPLING)
        # Without it a program that ends, or fails, without closing would crash in Filament.
        self._closing = weakref.finalize(self, self._stage.close)

    def render(self, camera: str, qpos: np.ndarray) -> np.ndarray:
        """uint8 (H, W, 3): what `camera` sees with the joints at `qpos`."""
        model, data = self._scene.model, self._data
        data.qpos[:] = qpos
        mujoco.mj_kinematics(model, data)
        mujoco.mj_camlight(model, data)
        linear = self._stage.draw(data, self._scene.cameras[camera])
        return develop(linear.reshape(self._shape).mean((1, 3)))

    def close(self) -> None:
        self._closing()


class _Stage:
    """Everything that lives in Filament."""

    def __init__(self, model: mujoco.MjModel, height: int, width: int):
        self._model = model
        with _silent_stdout():
            self._context = mjrf.Context(mjrf.ContextConfig(graphics_api=mjrf.GraphicsApi.GRAPHICS_API_VULKAN))
        self._scene = self._context.create_scene(mjrf.SceneParams())
        self._scene.configure_from_model(mujoco.MjModel.from_xml_string(VIEW))
        self._camera = _ModelCamera(model)
        self._canvas = _Canvas(self._context, height, width)
        self._copied = self._looks()
        self._copies = _Copies(self._context, self._scene, model)

    def draw(self, data: mujoco.MjData, camera: int) -> np.ndarray:
        """float32 (H, W, 3), 0..1, proportional to the light that arrives."""
        looks = self._looks()
        if looks != self._copied:
            self._copies.leave()
            self._copies = _Copies(self._context, self._scene, self._model)
            self._copied = looks
        self._copies.update(data)
        return self._canvas.draw(self._scene, self._camera.seen(data, camera))

    def _looks(self) -> list[bytes]:
        return [getattr(self._model, name).tobytes() for name in LOOKS]

    def close(self) -> None:
        """What lives in the context goes before it."""
        self._copies.leave()
        del self._copies, self._canvas, self._scene, self._context


class _Copies:
    """What Filament copies from the model when it is made, and so has to be made anew after an edit."""

    def __init__(self, context: mjrf.Context, scene: mjrf.Scene, model: mujoco.MjModel):
        model.vis.quality.numslices, model.vis.quality.numstacks = SLICES, SLICES // 2
        option = mujoco.MjvOption()
        option.geomgroup[:] = [1, 1, 1, 0, 0, 0]  # group 3 holds collision shapes
        option.sitegroup[:] = 0
        self._resources = mjrf.ModelResources(context, model)
        self._lights = _Lights(context, scene, self._resources, model)
        self._bodies = mjrf.ModelRenderables(scene, self._resources)
        self._bodies.set_options(option)
        _settle_colours(model, scene, self._bodies)

    def update(self, data: mujoco.MjData) -> None:
        self._lights.update(data)
        self._bodies.update(data)

    def leave(self) -> None:
        """Out of the scene, what uses the others first."""
        self._lights.leave()
        del self._bodies, self._lights, self._resources


def _settle_colours(model: mujoco.MjModel, scene: mjrf.Scene, bodies: mjrf.ModelRenderables) -> None:
    """By MuJoCo's rule a geom's own colour goes before its material's; Filament has it the other way round.

    What is wholly transparent is not there: Filament would show its shadow and its gloss.
    """
    unset = np.array([0.5, 0.5, 0.5, 1.0], np.float32)
    for geom, material in enumerate(model.geom_matid):
        own = model.geom_rgba[geom]
        rgba = model.mat_rgba[material] if material >= 0 and np.array_equal(own, unset) else own
        body = bodies.get_renderable(mujoco.mjtObj.mjOBJ_GEOM, geom)
        if material >= 0:
            look = body.get_material()
            look.color = rgba
            body.set_material(look)
        if rgba[3] == 0:
            scene.remove_renderable(body)


class _Lights:
    """The model's lights, and an environment in place of MuJoCo's ambient light and headlight.

    MuJoCo's coefficients know no distance and add up in display values; here a coefficient of 1 is the light
    that shows a white surface in the middle of the scene as `KEY_GAIN`, falling off as real light does.
    """

    def __init__(self, context: mjrf.Context, scene: mjrf.Scene, resources: mjrf.ModelResources, model: mujoco.MjModel):
        self._model, self._scene = model, scene
        self._lights = mjrf.ModelLights(scene, resources)  # also hangs up the sky
        self._sky = _environment_texture(context)
        self._environment = context.create_light(
            mjrf.LightParams(type=mjrf.LightType.LIGHT_IMAGE, texture=self._sky, intensity=0.0)
        )
        scene.add_light(self._environment)
        for i in range(model.nlight):
            self._lights.get_light(i).set_shadow_map_size(SHADOW_MAP_PX)

    def update(self, data: mujoco.MjData) -> None:
        """Where the lights are is in `data`, how strong they are in the model."""
        model, head = self._model, self._model.vis.headlight
        self._lights.update(data)
        for i in range(model.nlight):
            light = self._lights.get_light(i)
            distance_m = np.linalg.norm(data.light_xpos[i] - model.stat.center)
            directional = model.light_type[i] == mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
            light.set_intensity(KEY_GAIN * WHITE_LUX * (1.0 if directional else distance_m**2))  # lux or candela
            light.set_cast_shadow(bool(model.light_castshadow[i]))
        fill = head.ambient.mean() + (head.diffuse.mean() if head.active else 0.0)
        self._environment.set_intensity(ENVIRONMENT_GAIN * WHITE_LUX * fill)

    def leave(self) -> None:
        self._scene.remove_light(self._environment)
        del self._environment, self._sky, self._lights


def _environment_texture(context: mjrf.Context) -> mjrf.Texture:
    """The surroundings that light the scene softly and that shiny things mirror: the picture MuJoCo brings."""
    picture = (Path(mujoco.studio.__file__).parent / "assets" / "ibl.ktx").read_bytes()
    texture = context.create_texture(
        mjrf.TextureConfig(
            width=len(picture),
            height=0,
            format=mjrf.PixelFormat.PIXEL_FORMAT_KTX,
            color_space=mjrf.ColorSpace.COLORSPACE_AUTO,
            sampler_type=mjrf.SamplerType.TEXTURE_CUBE,
        )
    )
    data = mjrf.TextureData()
    data.set_image(picture)
    texture.upload(data)
    return texture


class _ModelCamera:
    """A camera of the model, with MuJoCo's own rules of what it sees."""

    def __init__(self, model: mujoco.MjModel):
        self._model = model
        self._view = mujoco.MjvScene(model, 0)
        self._chosen = mujoco.MjvCamera()
        self._chosen.type = mujoco.mjtCamera.mjCAMERA_FIXED

    def seen(self, data: mujoco.MjData, camera: int) -> mjrf.Camera:
        self._chosen.fixedcamid = camera
        mujoco.mjv_updateCamera(self._model, data, self._chosen, self._view)
        eye = mujoco.mjv_averageCamera(self._view.camera[0], self._view.camera[1])
        names = ("pos", "forward", "up", "frustum_center", "frustum_width", "frustum_bottom", "frustum_top",
                 "frustum_near", "frustum_far")  # fmt: skip
        return mjrf.Camera(**{name: getattr(eye, name) for name in names})


class _Canvas:
    """What Filament draws on and where the pixels arrive."""

    def __init__(self, context: mjrf.Context, height: int, width: int):
        self._context = context
        self._pixels = np.empty((height, width, 3), np.uint8)
        self._area = mjrf.Rect(left=0, bottom=0, width=width, height=height)
        self._target = context.create_render_target(
            mjrf.RenderTargetConfig(
                width=width,
                height=height,
                color_format=mjrf.PixelFormat.PIXEL_FORMAT_RGB8,
                depth_format=mjrf.PixelFormat.PIXEL_FORMAT_DEPTH32F,
            )
        )
        self._read = mjrf.ReadRequest(target=self._target)
        self._read.set_buffer(self._pixels)

    def draw(self, scene: mjrf.Scene, camera: mjrf.Camera) -> np.ndarray:
        """float32 (H, W, 3), 0..1, proportional to the light that arrives."""
        request = mjrf.RenderRequest(
            scene=scene, camera=camera, target=self._target, viewport=self._area, post_processing=False
        )
        self._context.wait_for_frame(self._context.render([request], [self._read]))
        return self._pixels.astype(np.float32) / 255


def develop(linear: np.ndarray) -> np.ndarray:
    """uint8 picture of linear light (..., 3) in 0..1.

    Khronos PBR Neutral tone mapping: what a matte surface mirrors (4 %) is taken off again so that colours
    stay as they are named, and the brightest parts are compressed. Then the transfer curve of IEC 61966-2-1.
    """
    low = linear.min(-1, keepdims=True)
    colour = linear - np.where(low < 0.08, low - 6.25 * low * low, 0.04)
    start = 0.8 - 0.04
    peak = colour.max(-1, keepdims=True)
    room = 1.0 - start
    pressed = 1.0 - room * room / (np.maximum(peak, start) + room - start)
    mixed = 1.0 / (0.15 * (peak - pressed) + 1.0)
    bright = colour * (pressed / np.maximum(peak, 1e-6)) * mixed + pressed * (1.0 - mixed)
    colour = np.where(peak < start, colour, bright).clip(0.0, 1.0)
    encoded = np.where(colour <= 0.0031308, 12.92 * colour, 1.055 * colour ** (1 / 2.4) - 0.055)
    return (encoded * 255 + 0.5).astype(np.uint8)


@contextlib.contextmanager
def _silent_stdout() -> Iterator[None]:
    """Filament greets from C++ on file descriptor 1, where a program's results belong."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
