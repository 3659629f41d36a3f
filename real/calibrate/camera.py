"""A camera's lens and its place, from pictures of the calibration board.

The lens by `cv2.calibrateCamera`. The camera in the hand: least squares on the reprojected corners over all pictures at
once, for its lens, its mount on the tool, the board's place on the bench and what the encoders show too much together;
it begins at the lens found before, at the mount as designed and at true encoders. That the arm knows how far it moved
tells focal length from distance, which the pictures alone hardly do. The encoders' offsets have a prior: J1's is the
same as another place of the board, J6's as a mount turned about the tool, and both stay as uncertain as they were. The
fixed camera then needs one look at the same board. (`cv2.calibrateHandEye` solves for the mount from poses alone and is
not in OpenCV 5.) Cameras here are OpenCV's: x right, y down, z ahead.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from real.calibrate.posterior import Estimate
from real.cameras.board import charuco_board, load_opencv
from sim.core.errors import UserError

MIN_CORNERS = 8
MIN_VIEWS = 6
# Before anything is seen: as wide as `encoder_bias_rad` in conf/randomize/full.yaml, uniform from -3 to 3 mrad.
OFFSET_STD_RAD = 0.003 / np.sqrt(3)
FLAT = 1e-9  # least eigenvalue of the normal equations, every unknown scaled to 1; 1e-5 with the looks of `views.py`
# What `calibrate_hand_eye` solves for, in this order; positions before rotations.
MOUNT, BOARD, LENS, OFFSET = slice(0, 6), slice(6, 12), slice(12, 17), slice(17, None)
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
    """Where a camera sits: (4, 4) pose in the frame that carries it, standard deviations in m and rad.

    The position's are along the axes of that frame, the rotation's about the camera's own.
    """

    pose: np.ndarray
    pos_std_m: np.ndarray
    rotation_std_rad: np.ndarray


@dataclass(frozen=True)
class HandEye:
    """What pictures from the hand tell together; the mount goes with the offsets.

    base_from_board: (4, 4); board_covariance: (6, 6) of its position in the base frame, m, and of its rotation about
    the board's own axes, rad. offset_rad: (joints,) how much more than the truth the encoders show.
    """

    mount: Mount
    lens: Lens
    base_from_board: np.ndarray
    board_covariance: np.ndarray
    offset_rad: Estimate


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
    return _moved(np.eye(4), np.concatenate([np.ravel(pos), np.ravel(rotation)]))


def calibrate_hand_eye(
    views: Sequence[View],
    joints_rad: np.ndarray,
    tool_pose: Callable[[np.ndarray], np.ndarray],
    lens: Lens,
    tool_from_camera: np.ndarray,
) -> HandEye:
    """The camera's mount on the tool, its lens anew, the board in the base frame and the encoders' offsets.

    joints_rad: (n, joints) as the encoders showed them at every view; tool_pose: (4, 4) of the tool in the base frame
    from true joint angles (joints,); tool_from_camera: the mount as designed. UserError with few or flat views.
    """
    if len(views) < MIN_VIEWS:
        raise UserError(f"the board was seen in {len(views)} pictures, expected at least {MIN_VIEWS}")
    base_from_board = tool_pose(joints_rad[0]) @ tool_from_camera @ board_pose(views[0], lens)
    looks = _Looks(views, np.asarray(joints_rad), tool_pose, lens, tool_from_camera, base_from_board)
    unknown, covariance, rms_px = _fit(looks)
    std = np.sqrt(np.diag(covariance))
    mount, board, refined = looks.parts(unknown)
    return HandEye(
        Mount(mount, std[MOUNT][:3], std[MOUNT][3:]),
        replace(refined, rms_px=rms_px, focal_std_px=float(std[LENS][0])),
        board,
        covariance[BOARD, BOARD],
        Estimate(unknown[OFFSET], std[OFFSET]),
    )


@dataclass(frozen=True)
class _Looks:
    """The pictures, and where the search for what explains them begins: arguments as of `calibrate_hand_eye`."""

    views: Sequence[View]
    joints_rad: np.ndarray
    tool_pose: Callable[[np.ndarray], np.ndarray]
    lens: Lens
    tool_from_camera: np.ndarray
    base_from_board: np.ndarray

    def start(self) -> np.ndarray:
        """The unknowns where the search begins: small motions of both poses, the lens's numbers, offsets."""
        matrix, (k1, k2) = self.lens.matrix, self.lens.distortion[:2]
        numbers = [matrix[1, 1], matrix[0, 2], matrix[1, 2], k1, k2]
        return np.array([*np.zeros(12), *numbers, *np.zeros(self.joints_rad.shape[1])])

    def parts(self, unknown: np.ndarray) -> tuple[np.ndarray, np.ndarray, Lens]:
        """(4, 4) camera on the tool, (4, 4) board in the base frame, and the lens."""
        mount, board = _moved(self.tool_from_camera, unknown[MOUNT]), _moved(self.base_from_board, unknown[BOARD])
        return mount, board, _with(self.lens, unknown[LENS])

    def off_px(self, unknown: np.ndarray) -> np.ndarray:
        """(2 corners of all views,) from where the corners are seen to where they would be."""
        mount, board, lens = self.parts(unknown)
        cameras = [self.tool_pose(shown - unknown[OFFSET]) @ mount for shown in self.joints_rad]
        return np.concatenate([
            (_project(np.linalg.inv(camera) @ board, view.on_board_m, lens) - view.seen_px).ravel()
            for camera, view in zip(cameras, self.views, strict=True)
        ])  # fmt: skip


def _fit(looks: _Looks) -> tuple[np.ndarray, np.ndarray, float]:
    """The unknowns, their covariance and how far corners are off, px rms. UserError where views are flat."""
    unknown, corner_std_px = looks.start(), looks.lens.rms_px / np.sqrt(2)

    def residual(tried: np.ndarray) -> np.ndarray:
        """In standard deviations: corners, then the prior."""
        return np.concatenate([looks.off_px(tried) / corner_std_px, tried[OFFSET] / OFFSET_STD_RAD])

    for _ in range(2):  # the lens alone tells how far corners are off only about; the first fit tells it
        found = least_squares(residual, unknown, x_scale="jac")
        unknown, off_px = found.x, looks.off_px(found.x)
        corner_std_px = np.sqrt(off_px @ off_px / (len(off_px) - len(unknown)))
    hessian = found.jac.T @ found.jac
    scale = np.sqrt(np.diag(hessian))
    if np.linalg.eigvalsh(hessian / np.outer(scale, scale))[0] < FLAT:
        raise UserError("the pictures do not tell the camera's mount: the tool must turn about more than one axis")
    rms_px = float(np.sqrt(2 * np.mean(off_px**2)))
    return unknown, _covariance(hessian, found.jac, found.fun, looks.views), rms_px


def _covariance(hessian: np.ndarray, jacobian: np.ndarray, residual: np.ndarray, views: Sequence[View]) -> np.ndarray:
    """(n, n) of the unknowns: what every corner adds for itself, and what the corners of a view have in common.

    The second part is the sandwich over views (Cameron and Miller, 2015, eq. 11): an encoder's noise, a light or a blur
    move all corners of a picture alike. It alone is too small where views are hardly more than unknowns, the first
    alone where corners move together. On 48 benches with hidden offsets, errors were 0.4 to 1.1 of their sum's standard
    deviation (rms) for every number, never 3; of the first part's up to 2.6.
    """
    ends = np.cumsum([2 * len(view.seen_px) for view in views])[:-1]
    rows = slice(0, ends[-1] + 2 * len(views[-1].seen_px))  # without the prior
    pairs = zip(np.split(jacobian[rows], ends), np.split(residual[rows], ends), strict=True)
    scores = np.array([part.T @ off for part, off in pairs])
    bread = np.linalg.inv(hessian)
    return bread + bread @ (scores.T @ scores) @ bread * len(views) / (len(views) - 1)


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


def _moved(pose: np.ndarray, by: np.ndarray) -> np.ndarray:
    """(4, 4) `pose` shifted by `by[:3]` in the frame it is told in and turned by the vector `by[3:]` about its own."""
    moved = np.eye(4)
    moved[:3, 3], moved[:3, :3] = pose[:3, 3] + by[:3], pose[:3, :3] @ Rotation.from_rotvec(by[3:]).as_matrix()
    return moved
