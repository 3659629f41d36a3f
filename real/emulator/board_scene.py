"""The calibration board on the emulator's table."""

from typing import Any

import mujoco
import numpy as np

from real.cameras.calibration_board import SQUARE_M, SQUARES, board_image
from sim.scene.fixtures import PARKED_M
from sim.scene.layout import put_object
from sim.scene.state import SceneState
from sim.tasks.base import Task

BOARD_POS_W = np.array([-0.34, 0.0, 0.0005])  # the board's middle
BOARD_YAW_RAD = 0.3
HALF_THICKNESS_M = 0.0005


def base_from_board() -> np.ndarray:
    """Return (4, 4) the board's frame in the world frame."""
    c, s = np.cos(BOARD_YAW_RAD), np.sin(BOARD_YAW_RAD)
    pose = np.eye(4)
    pose[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.diag([1.0, -1.0, -1.0])
    half = np.array([*SQUARES, 0]) * SQUARE_M / 2
    pose[:3, 3] = BOARD_POS_W + [0, 0, HALF_THICKNESS_M] - pose[:3, :3] @ half
    return pose


class WithBoard:
    """A task with the calibration board on an otherwise empty table; everything else is the task's own."""

    def __init__(self, task: Task):
        self._task = task

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def apply_layout(self, state: SceneState) -> None:
        """Park every object and target away from the table, so that nothing hides the board."""
        self._task.apply_layout(state)
        for i in range(len(state.scene.objects)):
            put_object(state.scene, state.data, i, PARKED_M + [0.1 * i, 0, 0])
        state.scene.model.body_pos[state.scene.targets] = PARKED_M

    def add_targets(self, spec: mujoco.MjSpec) -> None:
        """Add the task's targets, and the board as a rectangle without contacts."""
        self._task.add_targets(spec)
        image = board_image()
        texture = spec.add_texture(name="charuco", type=mujoco.mjtTexture.mjTEXTURE_2D, nchannel=3)
        texture.height, texture.width = image.shape
        texture.data = np.repeat(image[:, :, None], 3, axis=2).tobytes()
        material = spec.add_material(name="charuco", specular=0.0)
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "charuco"
        half_yaw = BOARD_YAW_RAD / 2
        spec.worldbody.add_geom(
            name="charuco", type=mujoco.mjtGeom.mjGEOM_BOX, material="charuco", contype=0, conaffinity=0,
            size=[*(np.array(SQUARES) * SQUARE_M / 2), HALF_THICKNESS_M], pos=BOARD_POS_W,
            quat=[np.cos(half_yaw), 0, 0, np.sin(half_yaw)],
        )  # fmt: skip
