"""A camera's lens and its place, from pictures of the calibration board.

The lens by `cv2.calibrateCamera`. The camera in the hand: least squares on the reprojected corners over all pictures at
once, for its lens, its mount on the tool and the board's place on the bench together; it begins at the lens found
before and at the mount as designed. That the arm knows how far it moved tells focal length from distance, which the
pictures alone hardly do. The fixed camera then needs one look at the same board. (`cv2.calibrateHandEye` solves for the
mount from poses alone and is not in OpenCV 5.) Cameras here are OpenCV's: x right, y down, z ahead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from real.calibration.board import charuco_board, load_opencv
from sim.errors import UserError

MIN_CORNERS = 8
MIN_VIEWS = 6
OPENCV_FROM_MUJOCO = np.diag([1.0, -1.0, -1.0])  # of camera axes, either way


@dataclass(frozen=True)
class View:
    """The board in one picture: n corners, on the board (n, 3) in m and in the picture (n, 2) in pixels."""

    on_board_m: np.ndarray
    seen_px: np.ndarray


@dataclass(frozen=True)
class Lens:
    """Pinhole with radial distortion k1, k2; `rms_px` is how far the corners stay from it."""

    matrix: np.ndarray  # (3, 3) px
    distortion: np.ndarray  # (5,) as OpenCV orders them
    height: int
    width: int
    rms_px: float
    focal_std_px: float

    @property
    def fovy_deg(self) -> float:
        """Height of the view."""
        return float(np.rad2deg(2 * np.arctan(self.height / 2 / self.matrix[1, 1])))

    @property
    def fovy_std_deg(self) -> float:
        half = self.height / 2 / self.matrix[1, 1]
        return float(np.rad2deg(2 * half / (1 + half * half)) * self.focal_std_px / self.matrix[1, 1])


@dataclass(frozen=True)
class Mount:
    """Where a camera sits: (4, 4) pose in the frame that carries it, standard deviations in m and rad."""

    pose: np.ndarray
    pos_std_m: np.ndarray
    rotation_std_rad: np.ndarray


def find_board(image: np.ndarray) -> View | None:
    """The board in an RGB picture (H, W, 3); None when fewer than MIN_CORNERS corners are seen."""
    cv2 = load_opencv()
    board = charuco_board()
    corners, ids, _, _ = cv2.aruco.CharucoDetector(board).detectBoard(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    if ids is None or len(ids) < MIN_CORNERS:
        return None
    return View(board.getChessboardCorners()[np.ravel(ids)].astype(float), corners.reshape(-1, 2).astype(float))


def calibrate_lens(views: Sequence[View], height: int, width: int) -> Lens:
    """Focal length, centre and distortion from several pictures; from one, which tells less, the focal length alone."""
    if not views:
        raise UserError("the calibration board was not seen; lay it where the camera looks, in even light")
    cv2 = load_opencv()
    flags = cv2.CALIB_ZERO_TANGENT_DIST | cv2.CALIB_FIX_K3
    guess = np.array([[height, 0, (width - 1) / 2], [0, height, (height - 1) / 2], [0, 0, 1]], float)
    if len(views) < MIN_VIEWS:
        flags |= cv2.CALIB_FIX_K1 | cv2.CALIB_FIX_K2 | cv2.CALIB_FIX_PRINCIPAL_POINT | cv2.CALIB_FIX_ASPECT_RATIO
    boards = [view.on_board_m.astype(np.float32) for view in views]
    pictures = [view.seen_px.astype(np.float32) for view in views]
    rms, matrix, distortion, _, _, std, _, _ = cv2.calibrateCameraExtended(
        boards, pictures, (width, height), guess, np.zeros(5), flags=flags | cv2.CALIB_USE_INTRINSIC_GUESS
    )
    return Lens(matrix, np.ravel(distortion)[:5], height, width, float(rms), float(np.ravel(std)[1]))


def board_pose(view: View, lens: Lens) -> np.ndarray:
    """(4, 4) the board in the camera's frame."""
    cv2 = load_opencv()
    _, rotation, pos = cv2.solvePnP(view.on_board_m, view.seen_px, lens.matrix, lens.distortion)
    return _pose(np.concatenate([np.ravel(pos), np.ravel(rotation)]))


def calibrate_hand_eye(
    views: Sequence[View], base_from_tool: Sequence[np.ndarray], lens: Lens, tool_from_camera: np.ndarray
) -> tuple[Mount, Lens, np.ndarray]:
    """The camera's mount on the tool, its lens anew, and (4, 4) the board in the base frame.

    base_from_tool: (4, 4) of every view; tool_from_camera: the mount as designed. UserError with few or flat views.
    """
    if len(views) < MIN_VIEWS:
        raise UserError(f"the board was seen in {len(views)} pictures, expected at least {MIN_VIEWS}")
    base_from_board = base_from_tool[0] @ tool_from_camera @ board_pose(views[0], lens)

    def residual(unknown: np.ndarray) -> np.ndarray:
        mount, board, tried = _pose(unknown[:6]), _pose(unknown[6:12]), _with(lens, unknown[12:])
        return np.concatenate([
            (_project(np.linalg.inv(tool @ mount) @ board, view.on_board_m, tried) - view.seen_px).ravel()
            for tool, view in zip(base_from_tool, views, strict=True)
        ])  # fmt: skip

    matrix, (k1, k2) = lens.matrix, lens.distortion[:2]
    start = [*_vector(tool_from_camera), *_vector(base_from_board), matrix[1, 1], matrix[0, 2], matrix[1, 2], k1, k2]
    found = least_squares(residual, start, x_scale="jac")
    hessian = found.jac.T @ found.jac
    scale = np.sqrt(np.diag(hessian))
    if np.linalg.matrix_rank(hessian / np.outer(scale, scale)) < len(hessian):
        raise UserError("the pictures do not tell the camera's mount: the tool must turn about more than one axis")
    variance = 2 * found.cost / (len(found.fun) - len(found.x))
    std = np.sqrt(np.diag(np.linalg.inv(hessian)) * variance)
    rms_px = float(np.sqrt(4 * found.cost / len(found.fun)))
    refined = replace(_with(lens, found.x[12:]), rms_px=rms_px, focal_std_px=float(std[12]))
    return Mount(_pose(found.x[:6]), std[:3], std[3:6]), refined, _pose(found.x[6:12])


def _with(lens: Lens, numbers: np.ndarray) -> Lens:
    """`lens` with focal length, centre x and y, k1, k2; its pixels are square."""
    focal, x, y, k1, k2 = numbers
    matrix = np.array([[focal, 0, x], [0, focal, y], [0, 0, 1]])
    return replace(lens, matrix=matrix, distortion=np.array([k1, k2, 0, 0, 0]))


def _project(camera_from_board: np.ndarray, points_m: np.ndarray, lens: Lens) -> np.ndarray:
    """(n, 2) pixels of (n, 3) points, with k1 and k2 (OpenCV's camera model)."""
    points = points_m @ camera_from_board[:3, :3].T + camera_from_board[:3, 3]
    flat = points[:, :2] / points[:, 2:]
    square = (flat * flat).sum(axis=1, keepdims=True)
    flat = flat * (1 + lens.distortion[0] * square + lens.distortion[1] * square * square)
    return flat @ lens.matrix[:2, :2].T + lens.matrix[:2, 2]


def _pose(vector: np.ndarray) -> np.ndarray:
    """(4, 4) from a position and a rotation vector."""
    pose = np.eye(4)
    pose[:3, 3], pose[:3, :3] = vector[:3], Rotation.from_rotvec(vector[3:]).as_matrix()
    return pose


def _vector(pose: np.ndarray) -> np.ndarray:
    return np.concatenate([pose[:3, 3], Rotation.from_matrix(pose[:3, :3]).as_rotvec()])
