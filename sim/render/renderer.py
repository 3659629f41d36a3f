"""Images of a scene by MuJoCo's own renderer (OpenGL), or by the one that the configuration names."""

import contextlib
import copy
from collections.abc import Iterator
from typing import Protocol

import mujoco
import numpy as np

from sim.core.errors import UserError
from sim.render.gl import begin_drawing, check_gl, drawing_error
from sim.scene.build import RenderConfig, Scene

SHADOW = mujoco.mjtRndFlag.mjRND_SHADOW


class Renderer(Protocol):
    """Draws a scene's cameras from joint positions alone, on data of its own. One thread only."""

    def render(self, camera: str, qpos: np.ndarray) -> np.ndarray:
        """Return uint8 (H, W, 3): what `camera` sees with the joints at `qpos`."""
        ...

    def close(self) -> None: ...


def make_renderer(scene: Scene, config: RenderConfig) -> Renderer:
    """Return the renderer that `config` names. UserError where its libraries are missing."""
    begin_drawing()
    if config.renderer == "filament":
        from sim.render.filament import FilamentRenderer  # needs Vulkan, which most machines do without

        return FilamentRenderer(scene, config)
    return OpenGlRenderer(scene, config)


class OpenGlRenderer:
    """MuJoCo's own."""

    def __init__(self, scene: Scene, config: RenderConfig):
        check_gl()
        self._scene = scene
        self._data = mujoco.MjData(scene.model)
        try:
            with _quality(scene.model, config):
                self._renderer = mujoco.Renderer(scene.model, config.height, config.width, max_geom=400)
        except (ImportError, AttributeError, RuntimeError, ValueError) as error:  # by back-end and driver
            raise drawing_error(error) from error
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = [1, 1, 1, 0, 0, 0]  # group 3 holds collision shapes
        self._option.sitegroup[:] = 0
        self._meshes = self._scene.meshes_edition

    def render(self, camera: str, qpos: np.ndarray) -> np.ndarray:
        self._place(camera, qpos)
        with _in_this_thread():
            return self._renderer.render()

    def depth(self, camera: str, qpos: np.ndarray) -> np.ndarray:
        """Return float32 (H, W), m along the optical axis to what each pixel of `render` shows; what is farther than
        the scene reaches is at its far end."""
        self._place(camera, qpos)
        flags = self._renderer.scene.flags
        shadows, flags[SHADOW] = flags[SHADOW], 0  # nothing that depth shows, and half of its price
        self._renderer.enable_depth_rendering()
        try:
            with _in_this_thread():
                return self._renderer.render()
        finally:
            self._renderer.disable_depth_rendering()
            flags[SHADOW] = shadows

    def segment(self, camera: str, qpos: np.ndarray) -> np.ndarray:
        """Return which geom each pixel shows, int32 (H, W), -1 where there is none."""
        self._place(camera, qpos)
        self._renderer.enable_segmentation_rendering()
        try:
            with _in_this_thread():
                return self._renderer.render()[..., 0]
        finally:
            self._renderer.disable_segmentation_rendering()

    def _place(self, camera: str, qpos: np.ndarray) -> None:
        """Set up what `camera` looks at."""
        begin_drawing()
        if self._meshes != self._scene.meshes_edition:
            self._upload_meshes()
        self._data.qpos[:] = qpos
        mujoco.mj_kinematics(self._scene.model, self._data)
        mujoco.mj_camlight(self._scene.model, self._data)
        self._renderer.update_scene(self._data, self._scene.cameras[camera], self._option)

    def _upload_meshes(self) -> None:
        """Show the used shapes at the scale of this episode."""
        with _in_this_thread():
            self._renderer._gl_context.make_current()
        for mesh in self._scene.shown_meshes:
            mujoco.mjr_uploadMesh(self._scene.model, self._renderer._mjr_context, mesh)
        self._meshes = self._scene.meshes_edition

    def close(self) -> None:
        self._renderer.close()


@contextlib.contextmanager
def _in_this_thread() -> Iterator[None]:
    """Raise UserError where OpenGL's context is current in another thread: EGL does not hand it over."""
    try:
        yield
    except Exception as error:  # of the back-end's own class
        if "BAD_ACCESS" not in str(error):
            raise
        raise UserError(
            "images were drawn in another thread before, and OpenGL draws in one thread alone: make an environment, or "
            "draw first, in the thread that steps it"
        ) from error


@contextlib.contextmanager
def _quality(model: mujoco.MjModel, config: RenderConfig) -> Iterator[None]:
    """Give the OpenGL contexts made inside the quality of `config`; the model keeps its own for those of others."""
    vis = model.vis
    before = copy.copy(vis.global_), copy.copy(vis.quality)
    vis.global_.offwidth, vis.global_.offheight = config.width, config.height
    vis.quality.shadowsize, vis.quality.offsamples = config.shadow_size, config.samples
    vis.quality.numslices, vis.quality.numstacks = config.slices, max(config.slices // 2, 4)
    try:
        yield
    finally:
        vis.global_, vis.quality = before
