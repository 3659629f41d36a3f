"""The ChArUco calibration board, to be printed: a chessboard with markers in its white squares, so that a part of it in
view is enough.

Board frame: origin in the upper left corner, x right, y down the board, z into the table; metres.
"""

from typing import Any

import numpy as np

from sim.core.errors import UserError

SQUARES = (7, 5)  # along x and y
SQUARE_M, MARKER_M = 0.030, 0.022
PIXELS_PER_SQUARE = 120


def load_opencv() -> Any:
    """Return OpenCV with ArUco. UserError where it is missing."""
    try:
        import cv2
    except ImportError as error:
        raise UserError(
            "calibrating cameras needs OpenCV; install it with: pip install opencv-python-headless"
        ) from error
    return cv2


def charuco_board() -> Any:
    """Return OpenCV's description of the board."""
    aruco = load_opencv().aruco
    return aruco.CharucoBoard(SQUARES, SQUARE_M, MARKER_M, aruco.getPredefinedDictionary(aruco.DICT_4X4_50))


def board_image() -> np.ndarray:
    """Return the image, uint8 (H, W): print it so that a square is SQUARE_M wide."""
    return charuco_board().generateImage(tuple(PIXELS_PER_SQUARE * n for n in SQUARES))
