"""The calibration board: what is printed for a real bench, and the same one on the emulator's table.

A ChArUco board: a chessboard whose white squares carry markers, so that a part of it is enough. Board frame: origin in
the upper left corner, x right, y down the board, z into the table; metres.
"""

from typing import Any

import mujoco
import numpy as np

from sim.core.errors import UserError
from sim.scene.fixtures import PARKED_M
from sim.scene.layout import put_object
from sim.scene.state import SceneState
from sim.tasks.base import Task

SQUARES = (7, 5)  # along x and y
SQUARE_M, MARKER_M = 0.030, 0.022
PIXELS_PER_SQUARE = 120
BOARD_POS_W = np.array([-0.34, 0.0, 0.0005])  # the board's middle, on the emulator's table
BOARD_YAW_RAD = 0.3
HALF_THICKNESS_M = 0.0005


def load_opencv() -> Any:
    """OpenCV with ArUco. UserError where it is missing."""
    try:
        import cv2
    except ImportError as error:
        raise UserError(
            "calibrating cameras needs OpenCV; install it with: pip install opencv-python-headless"
        ) from error
    return cv2


def charuco_board() -> Any:
    """OpenCV's description of the board."""
    aruco = load_opencv().aruco
    return aruco.CharucoBoard(SQUARES, SQUARE_M, MARKER_M, aruco.getPredefinedDictionary(aruco.DICT_4X4_50))


def board_picture() -> np.ndarray:
    """uint8 (H, W): print it so that a square is SQUARE_M wide."""
    return charuco_board().generateImage(tuple(PIXELS_PER_SQUARE * n for n in SQUARES))


def base_from_board() -> np.ndarray:
    """(4, 4) the board's frame on the emulator's table, in the world frame."""
    c, s = np.cos(BOARD_YAW_RAD), np.sin(BOARD_YAW_RAD)
    pose = np.eye(4)
    pose[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.diag([1.0, -1.0, -1.0])
    half = np.array([*SQUARES, 0]) * SQUARE_M / 2
    pose[:3, 3] = BOARD_POS_W + [0, 0, HALF_THICKNESS_M] - pose[:3, :3] @ half
    return pose


class WithBoard:
    """A task with the board on its table, cleared for it; everything else is the task's own."""

    def __init__(self, task: Task):
        self._task = task

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def apply_layout(self, state: SceneState) -> None:
        """As drawn, but nothing hides the board: who lays it down clears the table."""
        self._task.apply_layout(state)
        for i in range(len(state.scene.objects)):
            put_object(state.scene, state.data, i, PARKED_M + [0.1 * i, 0, 0])
        state.scene.model.body_pos[state.scene.targets] = PARKED_M

    def add_targets(self, spec: mujoco.MjSpec) -> None:
        """The task's targets, and the board as a rectangle that is seen and not felt."""
        self._task.add_targets(spec)
        picture = board_picture()
        texture = spec.add_texture(name="charuco", type=mujoco.mjtTexture.mjTEXTURE_2D, nchannel=3)
        texture.height, texture.width = picture.shape
        texture.data = np.repeat(picture[:, :, None], 3, axis=2).tobytes()
        material = spec.add_material(name="charuco", specular=0.0)
        material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "charuco"
        half_yaw = BOARD_YAW_RAD / 2
        spec.worldbody.add_geom(
            name="charuco", type=mujoco.mjtGeom.mjGEOM_BOX, material="charuco", contype=0, conaffinity=0,
            size=[*(np.array(SQUARES) * SQUARE_M / 2), HALF_THICKNESS_M], pos=BOARD_POS_W,
            quat=[np.cos(half_yaw), 0, 0, np.sin(half_yaw)],
        )  # fmt: skip
