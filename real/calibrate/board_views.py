"""Collects the images that calibrate the cameras: the arm moves around the board, both cameras record at every stop."""

import logging
from pathlib import Path

import numpy as np

from real.calibrate.camera_poses import WristView, front_terms
from real.calibrate.estimates import Estimate
from real.calibrate.hand_eye import (
    HandEye,
    Intrinsics,
    View,
    board_pose,
    calibrate_hand_eye,
    calibrate_intrinsics,
    find_board,
)
from real.cameras.calibration_board import SQUARE_M, SQUARES, board_image, load_opencv
from real.control.guarded_motion import GuardedArm
from real.workcell.env import RobotEnv
from sim.core.errors import UserError
from sim.core.files import write_atomic

STILL_S = 0.6  # at every stop, before the image: longer than any image delay

_log = logging.getLogger(__name__)


def write_board_image(path: Path) -> None:
    """Write the board as an image to print."""
    _, data = load_opencv().imencode(".png", board_image())
    write_atomic(path, data.tobytes())


def calibrate_cameras(env: RobotEnv, arm: GuardedArm) -> tuple[dict[str, Estimate], dict[str, dict]]:
    """Return the terms of cameras and encoders, and each camera's intrinsics and pose as plain numbers.

    UserError when the board is not seen.
    """
    wrist, home = WristView(env.robot), np.array(env.robot.home_rad)
    on_wrist, on_bench = env.robot.wrist_cameras[0].name, env.robot.fixed_cameras[0]
    arm.move_to(home)
    arm.hold(STILL_S)
    first = find_board(env.cameras[on_wrist].latest().image)
    if first is None:
        raise UserError(
            "the wrist camera does not see the calibration board from the home pose; lay it below the gripper"
        )
    views, joints_rad, front, size = _collect_views(env, arm, wrist, _board_centre(wrist, env, first, home))
    intrinsics = calibrate_intrinsics(views, *size[on_wrist])
    found = calibrate_hand_eye(views, joints_rad, wrist.tool_pose, intrinsics, wrist.tool_from_camera)
    _log.info("%s camera: %d images, corners within %.2f px", on_wrist, len(views), found.intrinsics.rms_px)
    estimates = wrist.terms(found)
    cameras = {on_wrist: _plain(found.intrinsics, found.mount.pose, "tool_from_camera")}
    if front is None:
        _log.warning("the %s camera does not see the board: it is left as designed", on_bench.name)
        return estimates, cameras
    front_intrinsics = calibrate_intrinsics([front], *size[on_bench.name])
    _log.info("%s camera: %d corners within %.2f px", on_bench.name, len(front.seen_px), front_intrinsics.rms_px)
    base_from_camera = found.base_from_board @ np.linalg.inv(board_pose(front, front_intrinsics))
    std_m = _front_std_m(found, base_from_camera, front_intrinsics)
    estimates |= front_terms(base_from_camera, front_intrinsics, std_m, on_bench)
    return estimates, cameras | {on_bench.name: _plain(front_intrinsics, base_from_camera, "base_from_camera")}


def _front_std_m(found: HandEye, base_from_camera: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """Return (3,) m, standard deviation of the front camera's position: of one view, and of the board's pose."""
    board = found.base_from_board
    from_board_b = base_from_camera[:3, 3] - board[:3, 3]
    # A rotation about the board's axes moves the camera that sees it around the board.
    moves = np.hstack([np.eye(3), -np.cross(from_board_b, board[:3, :3].T).T])
    # Along the line of sight its position is as uncertain as its focal length.
    sight_m = np.linalg.norm(from_board_b) * intrinsics.focal_std_px / intrinsics.matrix[1, 1]
    return np.sqrt(np.diag(moves @ found.board_covariance @ moves.T) + sight_m**2)


def _board_centre(wrist: WristView, env: RobotEnv, view: View, joints_rad: np.ndarray) -> np.ndarray:
    """Return (3,) centre of the board in the base frame, by the camera as designed."""
    height, width = env.cameras[env.robot.wrist_cameras[0].name].latest().image.shape[:2]
    pose = (
        wrist.tool_pose(joints_rad)
        @ wrist.tool_from_camera
        @ board_pose(view, calibrate_intrinsics([view], height, width))
    )
    return pose[:3, :3] @ (np.array([*SQUARES, 0]) * SQUARE_M / 2) + pose[:3, 3]


def _collect_views(env: RobotEnv, arm: GuardedArm, wrist: WristView, middle_b: np.ndarray):
    """Return (views, measured joint angles (n, joints)) of the wrist camera, the front camera's best view or None, and
    (height, width) by camera.
    """
    views, joints, size = [], [], {}
    front: View | None = None
    for joints_rad in wrist.viewpoints(middle_b, np.array(env.robot.home_rad)):
        arm.move_to(joints_rad)
        arm.hold(STILL_S)
        images = {name: camera.latest().image for name, camera in env.cameras.items()}
        size = {name: image.shape[:2] for name, image in images.items()}
        if (seen := find_board(images[env.robot.wrist_cameras[0].name])) is not None:
            views.append(seen)
            joints.append(env.driver.state()[0][:-1].astype(float))
        in_front = find_board(images[env.robot.fixed_cameras[0].name])
        if in_front is not None and (front is None or len(in_front.seen_px) > len(front.seen_px)):
            front = in_front
    return views, np.array(joints), front, size


def _plain(intrinsics: Intrinsics, pose: np.ndarray, frame: str) -> dict:
    """Return them as plain JSON values."""
    return {
        "matrix": intrinsics.matrix.tolist(), "distortion": intrinsics.distortion.tolist(), "height": intrinsics.height,
        "width": intrinsics.width, "fovy_deg": intrinsics.fovy_deg, "rms_px": intrinsics.rms_px, frame: pose.tolist(),
    }  # fmt: skip
