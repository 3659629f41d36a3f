"""Takes the pictures that calibrate the cameras: the arm goes about the board, both cameras look at every stop."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from real.calibrate.camera import HandEye, Lens, View, board_pose, calibrate_hand_eye, calibrate_lens, find_board
from real.calibrate.posterior import Estimate
from real.calibrate.views import WristCamera, front_terms
from real.cameras.board import SQUARE_M, SQUARES, board_picture, load_opencv
from real.control.guarded_motion import GuardedArm
from real.workcell.env import RobotEnv
from sim.core.errors import UserError

STILL_S = 0.6  # at every stop, before the picture: longer than any picture is late


def write_board(path: Path) -> None:
    """The board as a picture to print."""
    load_opencv().imwrite(str(path), board_picture())


def calibrate_cameras(
    env: RobotEnv, arm: GuardedArm, say: Callable[[str], None]
) -> tuple[dict[str, Estimate], dict[str, dict]]:
    """The terms of cameras and encoders, and each camera's lens and place as plain numbers.

    UserError when the board is not seen.
    """
    wrist, home = WristCamera(env.robot), np.array(env.robot.home_rad)
    arm.go(home)
    arm.hold(STILL_S)
    first = find_board(env.cameras["wrist"].latest().image)
    if first is None:
        raise UserError("the wrist camera does not see the calibration board from the home pose; lay it under it")
    views, joints_rad, front, size = _go_about(env, arm, wrist, _board_middle(wrist, env, first, home))
    lens = calibrate_lens(views, *size["wrist"])
    found = calibrate_hand_eye(views, joints_rad, wrist.tool_pose, lens, wrist.tool_from_camera)
    say(f"wrist camera: {len(views)} pictures, corners within {found.lens.rms_px:.2f} px")
    estimates = wrist.terms(found)
    cameras = {"wrist": _plain(found.lens, found.mount.pose, "tool_from_camera")}
    if front is None:
        say("the front camera does not see the board: it stays as it was designed")
        return estimates, cameras
    front_lens = calibrate_lens([front], *size["front"])
    say(f"front camera: {len(front.seen_px)} corners within {front_lens.rms_px:.2f} px")
    base_from_camera = found.base_from_board @ np.linalg.inv(board_pose(front, front_lens))
    std_m = _front_std_m(found, base_from_camera, front_lens)
    estimates |= front_terms(base_from_camera, front_lens, std_m, env.robot.fixed_cameras[0])
    return estimates, cameras | {"front": _plain(front_lens, base_from_camera, "base_from_camera")}


def _front_std_m(found: HandEye, base_from_camera: np.ndarray, lens: Lens) -> np.ndarray:
    """(3,) m, of the front camera's position: how sure one look is, and how sure the board's place is."""
    board = found.base_from_board
    from_board_b = base_from_camera[:3, 3] - board[:3, 3]
    # Turned about the board's axes, the camera that sees it goes about the board.
    moves = np.hstack([np.eye(3), -np.cross(from_board_b, board[:3, :3].T).T])
    # Along the line of sight its place is as sure as its focal length.
    sight_m = np.linalg.norm(from_board_b) * lens.focal_std_px / lens.matrix[1, 1]
    return np.sqrt(np.diag(moves @ found.board_covariance @ moves.T) + sight_m**2)


def _board_middle(wrist: WristCamera, env: RobotEnv, view: View, joints_rad: np.ndarray) -> np.ndarray:
    """(3,) where the board's middle is, by the camera as designed, base frame."""
    height, width = env.cameras["wrist"].latest().image.shape[:2]
    pose = (
        wrist.tool_pose(joints_rad) @ wrist.tool_from_camera @ board_pose(view, calibrate_lens([view], height, width))
    )
    return pose[:3, :3] @ (np.array([*SQUARES, 0]) * SQUARE_M / 2) + pose[:3, 3]


def _go_about(env: RobotEnv, arm: GuardedArm, wrist: WristCamera, middle_b: np.ndarray):
    """(views, joint angles (n, joints) as measured) of the wrist camera, the front camera's best view or None, and
    (height, width) by camera.
    """
    views, joints, size = [], [], {}
    front: View | None = None
    for joints_rad in wrist.looks(middle_b, np.array(env.robot.home_rad)):
        arm.go(joints_rad)
        arm.hold(STILL_S)
        pictures = {name: camera.latest().image for name, camera in env.cameras.items()}
        size = {name: picture.shape[:2] for name, picture in pictures.items()}
        if (seen := find_board(pictures["wrist"])) is not None:
            views.append(seen)
            joints.append(env.driver.state()[0][:-1].astype(float))
        ahead = find_board(pictures["front"])
        if ahead is not None and (front is None or len(ahead.seen_px) > len(front.seen_px)):
            front = ahead
    return views, np.array(joints), front, size


def _plain(lens: Lens, pose: np.ndarray, frame: str) -> dict:
    """As JSON knows it."""
    return {
        "matrix": lens.matrix.tolist(), "distortion": lens.distortion.tolist(), "height": lens.height,
        "width": lens.width, "fovy_deg": lens.fovy_deg, "rms_px": lens.rms_px, frame: pose.tolist(),
    }  # fmt: skip
