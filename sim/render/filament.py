"""The same scene drawn with Filament, MuJoCo's physically based renderer.

Training never sees these images, so they stand in for reality when sim-to-real loss is measured. They
come from the same compiled model as `sim.render.renderer.OpenGlRenderer`'s and follow every edit made to it in
place, but for the pixels of textures, which are uploaded once.

Filament's own post-processing is off: it dithers with a noise that goes on from image to image, so the
same episode would not give the same images twice. Anti-aliasing, tone mapping and the display's transfer
curve are done here instead.
"""

import contextlib
import ctypes
import os
import sys
import weakref
from collections.abc import Iterator

import mujoco
import numpy as np
from mujoco import mjrf

from sim.render.photometry import Lights, develop
from sim.render.vulkan import check_vulkan
from sim.scene.build import RenderConfig, Scene

OVERSAMPLING = 2  # pixels drawn for one delivered, along each side
SLICES = 48  # of round primitives
# Ambient occlusion would leak 1.4 MB an image (MuJoCo 4.0.0 on Mesa's Vulkan driver) and halve the speed.
VIEW = '<mujoco><custom><numeric name="filament.ao.enabled" data="0"/></custom></mujoco>'
# Fields that Filament has copies of.
LOOKS = (
    "mesh_vert", "geom_type", "geom_dataid", "geom_group", "geom_matid", "geom_size", "geom_rgba",
    "mat_rgba", "mat_texid", "mat_texrepeat", "mat_texuniform", "mat_emission", "mat_specular", "mat_shininess",
    "mat_reflectance", "mat_metallic", "mat_roughness",
)  # fmt: skip


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
        """Return uint8 (H, W, 3): what `camera` sees with the joints at `qpos`."""
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
        self._upload()
        self._dress(np.ones(model.nmesh))

    def draw(self, data: mujoco.MjData, camera: int) -> np.ndarray:
        """Return float32 (H, W, 3), 0..1, proportional to the light that arrives."""
        if self._looks() != self._shown:
            self._follow_edits()
        self._lights.update(data)
        self._bodies.update(data)
        return self._canvas.draw(self._scene, self._camera.seen(data, camera))

    def _looks(self) -> list[bytes]:
        return [getattr(self._model, name).tobytes() for name in LOOKS]

    def _follow_edits(self) -> None:
        scales = mesh_scales(self._model, self._vertices)
        if scales is None:
            self._leave()
            self._upload()
            scales = np.ones(self._model.nmesh)
        else:
            del self._bodies  # out of the scene before the next enter
        self._dress(scales)

    def _upload(self) -> None:
        """Upload meshes and textures, tens of megabytes, and what refers to them."""
        self._vertices = self._model.mesh_vert.copy()
        self._resources = mjrf.ModelResources(self._context, self._model)
        self._lights = Lights(self._context, self._scene, self._resources, self._model)

    def _dress(self, scales: np.ndarray) -> None:
        """Dress bodies as the model says they look: Filament copies that when they are made, so an edit
        takes new ones."""
        model = self._model
        self._shown = self._looks()
        model.vis.quality.numslices, model.vis.quality.numstacks = SLICES, SLICES // 2
        option = mujoco.MjvOption()
        option.geomgroup[:] = [1, 1, 1, 0, 0, 0]  # group 3 holds collision shapes
        option.sitegroup[:] = 0
        self._bodies = mjrf.ModelRenderables(self._scene, self._resources)
        self._bodies.set_options(option)
        _settle_colours(model, self._scene, self._bodies)
        for geom in np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_MESH):
            body = self._bodies.get_renderable(mujoco.mjtObj.mjOBJ_GEOM, geom)
            body.set_size(np.full(3, scales[model.geom_dataid[geom]]))

    def _leave(self) -> None:
        """Leave the scene, what uses the others first."""
        self._lights.leave()
        del self._bodies, self._lights, self._resources

    def close(self) -> None:
        """Close it; what lives in the context goes before."""
        self._leave()
        del self._canvas, self._scene, self._context


def mesh_scales(model: mujoco.MjModel, vertices: np.ndarray) -> np.ndarray | None:
    """Return (nmesh,) how much larger each mesh is than with `vertices` (nmeshvert, 3); None when one has
    another form."""
    scales = np.ones(model.nmesh)
    for mesh, (first, count) in enumerate(zip(model.mesh_vertadr, model.mesh_vertnum, strict=True)):
        now, then = model.mesh_vert[first : first + count], vertices[first : first + count]
        scales[mesh] = np.vdot(now, then) / max(np.vdot(then, then), 1e-12)
        if np.abs(now - scales[mesh] * then).max() > 1e-5:
            return None
    return scales


def _settle_colours(model: mujoco.MjModel, scene: mjrf.Scene, bodies: mjrf.ModelRenderables) -> None:
    """Settle the colours: by MuJoCo's rule a geom's own colour goes before its material's; Filament does it the other
    way round.

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
        """Return float32 (H, W, 3), 0..1, proportional to the light that arrives."""
        request = mjrf.RenderRequest(
            scene=scene, camera=camera, target=self._target, viewport=self._area, post_processing=False
        )
        self._context.wait_for_frame(self._context.render([request], [self._read]))
        return self._pixels.astype(np.float32) / 255


@contextlib.contextmanager
def _silent_stdout() -> Iterator[None]:
    """Keep Filament silent: it prints a banner from C++ on file descriptor 1, where a program's results belong."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # C's own buffer, which would be written at the program's end
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
