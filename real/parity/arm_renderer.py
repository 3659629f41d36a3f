"""Renders the arm's silhouette as the simulated cameras see it, and warps images of the table between camera poses.

The model holds the arm and the front camera of the simulated bench, and nothing else.
"""

from functools import lru_cache

import mujoco
import numpy as np
from scipy.ndimage import map_coordinates

from sim.render.gl import begin_drawing, check_gl, drawing_error
from sim.robots.robot import Robot
from sim.scene.fixtures import add_cameras

GRAZING = 0.05  # m that a ray must descend per metre to count as meeting the table


class ArmRenderer:
    """One arm in the cameras of its simulated bench. To be used from one thread (OpenGL)."""

    def __init__(self, robot: Robot, image_size: tuple[int, int]):
        check_gl()
        spec = mujoco.MjSpec.from_file(str(robot.mjcf))
        add_cameras(spec, robot)
        self.robot, self.image_size = robot, image_size
        self._model = spec.compile()
        self._model.vis.quality.offsamples, self._model.vis.quality.shadowsize = 0, 0
        self._data = mujoco.MjData(self._model)
        self._qpos = np.array([self._model.joint(name).qposadr[0] for name in robot.joint_names])
        self._fingers = np.array([self._model.joint(name).qposadr[0] for name in ("finger_left", "finger_right")])
        begin_drawing()
        try:
            self._renderer = mujoco.Renderer(self._model, *image_size)
        except (ImportError, AttributeError, RuntimeError, ValueError) as error:  # by back-end and driver
            raise drawing_error(error) from error
        self._renderer.enable_segmentation_rendering()
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = [1, 1, 1, 0, 0, 0]  # group 3 holds collision shapes
        self.silhouette = lru_cache(maxsize=4096)(self._silhouette)

    def _silhouette(self, camera: str, state: tuple[float, ...]) -> np.ndarray:
        """Return bool (H, W): where `camera` sees the arm or its gripper. state: joints in rad, opening 0..1."""
        self._pose(state)
        self._renderer.update_scene(self._data, camera, self._option)
        return self._renderer.render()[..., 1] == int(mujoco.mjtObj.mjOBJ_GEOM)

    def _pose(self, state: tuple[float, ...]) -> None:
        self._data.qpos[self._qpos] = state[:-1]
        self._data.qpos[self._fingers] = np.clip(state[-1], 0, 1) * self.robot.gripper_stroke_m / 2
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)

    def camera_pose(self, camera: str, state: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Return position (3,) m and rotation (3, 3) of a camera in the base frame; it looks along its -z."""
        self._pose(state)
        index = self._model.camera(camera).id
        return self._data.cam_xpos[index].copy(), self._data.cam_xmat[index].reshape(3, 3).copy()

    def tool_px(self, camera: str) -> tuple[float, float]:
        """Return (row, column) at which a camera on the arm sees the point between the finger tips."""
        pos_w, rotation_w = self.camera_pose(camera, (*self.robot.home_rad, 1.0))
        seen = rotation_w.T @ (self._data.site("tcp").xpos - pos_w)
        height, width = self.image_size
        scale = self._focal_px(camera) / -seen[2]
        return float(height / 2 - seen[1] * scale - 0.5), float(width / 2 + seen[0] * scale - 0.5)

    def _focal_px(self, camera: str) -> float:
        return self.image_size[0] / 2 / np.tan(np.deg2rad(self._model.camera(camera).fovy[0]) / 2)

    def warp_table(
        self, layers: np.ndarray, camera: str, here: tuple[float, ...], there: tuple[float, ...]
    ) -> np.ndarray:
        """Return (n, H, W) float: images of the table from `camera` at state `here`, warped to the view at state
        `there`.

        By the homography of the plane z = 0, pixel by pixel; nan where it is not visible from both.
        """
        height, width = self.image_size
        focal_px = self._focal_px(camera)
        rows, columns = np.mgrid[:height, :width] + 0.5
        rays = np.stack([(columns - width / 2) / focal_px, (height / 2 - rows) / focal_px, -np.ones(rows.shape)])
        pos_w, rotation_w = self.camera_pose(camera, there)
        rays_w = np.tensordot(rotation_w, rays, 1)
        down = np.where(rays_w[2] < -GRAZING, -rays_w[2], np.nan)
        table_w = pos_w[:, None, None] + rays_w * (pos_w[2] / down)
        pos_w, rotation_w = self.camera_pose(camera, here)
        seen = np.tensordot(rotation_w.T, table_w - pos_w[:, None, None], 1)
        depth = np.where(seen[2] < -1e-3, -seen[2], np.nan)
        at = np.stack([height / 2 - seen[1] / depth * focal_px, width / 2 + seen[0] / depth * focal_px]) - 0.5
        known = np.isfinite(at).all(axis=0)
        at = np.where(known, at, -10.0)
        return np.stack([map_coordinates(layer, at, order=1, mode="constant", cval=np.nan) for layer in layers])

    def close(self) -> None:
        self._renderer.close()
