"""A low desk cabinet: one drawer each, put side by side they look like one. Where its parts are, and how it is opened.

Frame of a cabinet (body `target_i`): origin on the table under the middle of its front, x out of the front, z up.
The drawer (body and slide joint `drawer_i`) slides along x; its opening is the joint's position.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import mujoco
import numpy as np

from sim.scene.fixtures import BOX, PARKED_M
from sim.scene.layout import Circle, Layout, Point, apply_layout, as_points
from sim.scene.placement import AREA_X_M, AREA_Y_M, within_reach
from sim.scene.state import SceneState

WIDTH_M, DEPTH_M, HEIGHT_M = 0.100, 0.130, 0.064  # lower than what hangs 69 mm above the tool: the wrist camera
BOARD_M = 0.004  # of the cabinet
TRAVEL_M = 0.100
PULL_M = 0.096  # how far an expert pulls at most
FLOOR_M, SIDE_TOP_M = 0.008, 0.026  # of the drawer, above the table
INSIDE_HALF_WIDTH_M, INSIDE_LENGTH_M = 0.039, 0.117
PANEL_BACK_M, PANEL_FRONT_M = 0.001, 0.011  # thick, so that a finger that presses on its edge does not sink in
BAR_X_M, BAR_Z_M = 0.047, 0.034  # the handle's bar stands off far enough for a finger on either side
BAR_HALF_M = 0.0045
# Opening of the gripper with which a finger, 11 mm thick, goes down in the middle between bar and panel.
STRADDLE = ((BAR_X_M - BAR_HALF_M - PANEL_FRONT_M - 0.011) / 2 + BAR_HALF_M) / 0.040
GRASP_BELOW_BAR_M = 0.006  # of the tool point: the pads reach 22 mm above it
OVER_M = 0.090  # of the tool point: here the fingertips pass over a cabinet
WALNUT, BIRCH, STEEL = [0.50, 0.37, 0.25, 1], [0.82, 0.73, 0.58, 1], [0.72, 0.73, 0.75, 1]
MASS_KG = 0.30  # of a drawer
FRICTION_N, DAMPING_N_S_M = (0.8, 2.5), (4.0, 12.0)  # of its slides
SIGHT = np.cos(np.deg2rad(68))  # a front is turned to the camera at least so much
CAMERA_XY_M = np.array([-0.86, 0.0])
LEAST_RADIUS_M = 0.12  # of the cabinet's corners from the base


def add_cabinet(spec: mujoco.MjSpec, i: int) -> None:
    """Add target `i` as a cabinet with one drawer, whose front takes the episode's colour."""
    body = spec.worldbody.add_body(name=f"target_{i}", pos=PARKED_M + [0.2 * i, 0.3, 0])
    x, half_m, board = -DEPTH_M / 2, WIDTH_M / 2, BOARD_M / 2
    for pos, size in (
        ([x, half_m - board, HEIGHT_M / 2], [DEPTH_M / 2, board, HEIGHT_M / 2 - BOARD_M]),
        ([x, board - half_m, HEIGHT_M / 2], [DEPTH_M / 2, board, HEIGHT_M / 2 - BOARD_M]),
        ([x, 0, board], [DEPTH_M / 2, half_m, board]),
        ([x, 0, HEIGHT_M - board], [DEPTH_M / 2, half_m, board]),
        ([board - DEPTH_M, 0, HEIGHT_M / 2], [board, half_m - BOARD_M, HEIGHT_M / 2 - BOARD_M]),
    ):
        body.add_geom(type=BOX, pos=pos, size=size, rgba=WALNUT)
    _add_drawer(body, i)
    spec.add_exclude(bodyname1=f"target_{i}", bodyname2=f"drawer_{i}")  # the joint guides it


def _add_drawer(cabinet: mujoco.MjsBody, i: int) -> None:
    """Add panel, tray and handle, on a slide joint."""
    drawer = cabinet.add_body(name=f"drawer_{i}")
    drawer.add_joint(
        name=f"drawer_{i}", type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[1, 0, 0], range=[0, TRAVEL_M], limited=True,
        damping=np.mean(DAMPING_N_S_M), frictionloss=np.mean(FRICTION_N), armature=0.02,
        solref_friction=[0.004, 1],
    )  # fmt: skip
    back, wall, middle = PANEL_BACK_M - INSIDE_LENGTH_M, 0.002, (FLOOR_M + SIDE_TOP_M) / 2
    outer, length, x = INSIDE_HALF_WIDTH_M + 2 * wall, INSIDE_LENGTH_M / 2, PANEL_BACK_M - INSIDE_LENGTH_M / 2
    tray = (
        ([x, 0, FLOOR_M - 0.0015], [length, outer, 0.0015]),
        ([x, outer - wall, middle], [length, wall, SIDE_TOP_M - middle]),
        ([x, wall - outer, middle], [length, wall, SIDE_TOP_M - middle]),
        ([back - wall, 0, middle - 0.0015], [wall, outer, SIDE_TOP_M - middle + 0.0015]),
    )
    weight = MASS_KG / (len(tray) + 4)
    for pos, size in tray:
        drawer.add_geom(type=BOX, pos=pos, size=size, rgba=BIRCH, mass=weight)
    panel = (PANEL_FRONT_M - PANEL_BACK_M) / 2
    drawer.add_geom(
        name=f"target_{i}_front", type=BOX, pos=[PANEL_BACK_M + panel, 0, 0.032],
        size=[panel, WIDTH_M / 2 - 0.0015, 0.0295], mass=weight,
    )  # fmt: skip
    post = (BAR_X_M - PANEL_FRONT_M) / 2
    for y in (-0.026, 0.026):
        drawer.add_geom(
            type=BOX, pos=[PANEL_FRONT_M + post, y, BAR_Z_M], size=[post, 0.003, 0.003], rgba=STEEL, mass=weight
        )
    drawer.add_geom(type=BOX, pos=[BAR_X_M, 0, BAR_Z_M], size=[BAR_HALF_M, 0.029, BAR_HALF_M], rgba=STEEL, mass=weight)


# ---- where they stand ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class DrawerLayout(Layout):
    """A layout whose targets are cabinets."""

    drawer_open_m: tuple[float, ...]
    drawer_friction_n: tuple[float, ...]  # of the slides
    drawer_damping_n_s_m: tuple[float, ...]


@dataclass(frozen=True)
class Cabinets:
    """Cabinets as drawn: where they stand, m and rad in the world frame, and how their slides resist."""

    xy_m: tuple[Point, ...]
    yaw_rad: tuple[float, ...]
    friction_n: tuple[float, ...]
    damping_n_s_m: tuple[float, ...]

    def layout_values(self) -> dict[str, Any]:
        """Return the fields of a `DrawerLayout` that hold them."""
        return {
            "target_xy_m": self.xy_m,
            "target_yaw_rad": self.yaw_rad,
            "drawer_friction_n": self.friction_n,
            "drawer_damping_n_s_m": self.damping_n_s_m,
            "keep_out_m": keep_out_m(self),
        }


def draw_cabinets(rng: np.random.Generator, n: int) -> Cabinets:
    """Draw `n` cabinets side by side, the named one at either end, within reach closed and open, seen by the camera."""
    while True:
        yaw = np.pi + rng.uniform(-1.3, 1.3)
        bar = np.array([rng.uniform(*AREA_X_M), rng.uniform(*AREA_Y_M)])
        out, side = np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])
        row = (np.arange(n) - (n - 1) / 2) * rng.choice([-1, 1])
        places = bar - BAR_X_M * out + WIDTH_M * np.outer(row, side)
        if all(_is_handy(place, out, side) for place in places):
            break
    friction_n, damping_n_s_m = rng.uniform(*FRICTION_N, n).tolist(), rng.uniform(*DAMPING_N_S_M, n).tolist()
    return Cabinets(as_points(places), (float(yaw),) * n, tuple(friction_n), tuple(damping_n_s_m))


def _is_handy(place: np.ndarray, out: np.ndarray, side: np.ndarray) -> bool:
    """Return whether the tool reaches the handle wherever the drawer is, and the cabinet stands clear of the arm and
    shows its front."""
    reached = all(within_reach(place + x * out) for x in (BAR_X_M, BAR_X_M + PULL_M, PULL_M / 2))
    corners = [place - x * out + y * side for x in (0.0, DEPTH_M) for y in (-WIDTH_M / 2, WIDTH_M / 2)]
    to_camera = CAMERA_XY_M - place
    seen = out @ to_camera >= SIGHT * np.linalg.norm(to_camera)
    clear = min(np.linalg.norm(corner) for corner in corners) > LEAST_RADIUS_M
    return bool(reached and seen and clear)


def is_beside(xy: np.ndarray, cabinets: Cabinets, gap_m: float) -> bool:
    """Return whether (2,) m is at least `gap_m` from every cabinet, its drawer pulled out."""
    low, high = -DEPTH_M, BAR_X_M + TRAVEL_M
    for place, yaw in zip(cabinets.xy_m, cabinets.yaw_rad, strict=True):
        c, s = np.cos(yaw), np.sin(yaw)
        x, y = np.array([[c, s], [-s, c]]) @ (xy - place)
        beyond = max(low - x, 0.0, x - high), max(abs(y) - WIDTH_M / 2, 0.0)
        if np.hypot(*beyond) < gap_m:
            return False
    return True


def keep_out_m(cabinets: Cabinets) -> tuple[Circle, ...]:
    """Return circles that cover the cabinets, their drawers pulled out, and room around."""
    circles: list[Circle] = []
    for place, yaw in zip(cabinets.xy_m, cabinets.yaw_rad, strict=True):
        for x in (-0.09, -0.02, 0.05, 0.12):
            cx, cy = (place + x * np.array([np.cos(yaw), np.sin(yaw)])).tolist()
            circles.append((cx, cy, 0.13))
    return tuple(circles)


def apply_drawer_layout(state: SceneState) -> None:
    """Put everything where it stands, each drawer as far open as drawn."""
    scene, data, layout = state.scene, state.data, cast(DrawerLayout, state.layout)
    apply_layout(scene, data, layout)
    used = len(layout.drawer_open_m)
    for i in range(len(scene.targets)):
        joint = scene.model.joint(f"drawer_{i}")
        data.qpos[joint.qposadr[0]] = layout.drawer_open_m[i] if i < used else 0.0
        scene.model.dof_frictionloss[joint.dofadr[0]] = layout.drawer_friction_n[i] if i < used else FRICTION_N[1]
        scene.model.dof_damping[joint.dofadr[0]] = layout.drawer_damping_n_s_m[i] if i < used else DAMPING_N_S_M[1]


# ---- what is true of a drawer ----------------------------------------------------------------------


def opening_m(state: SceneState, i: int) -> float:
    """Return how far drawer `i` is open."""
    return float(state.data.qpos[state.scene.model.joint(f"drawer_{i}").qposadr[0]])


def speed_m_s(state: SceneState, i: int) -> float:
    """Return how fast drawer `i` slides, either way."""
    return abs(float(state.data.qvel[state.scene.model.joint(f"drawer_{i}").dofadr[0]]))


def is_touched(state: SceneState, i: int) -> bool:
    """Return whether any part of the arm or gripper touches drawer `i`."""
    return state.is_touched_by_arm(state.scene.model.body(f"drawer_{i}").id)


def point_w(state: SceneState, i: int, pos: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return a point (3,) m of cabinet `i` given in its frame."""
    body = state.scene.targets[i]
    return state.data.xpos[body] + state.data.xmat[body].reshape(3, 3) @ pos


def bar_w(state: SceneState, i: int, opening_m: float) -> np.ndarray:
    """Return the middle (3,) m of the handle of drawer `i` when it is so far open."""
    return point_w(state, i, [BAR_X_M + opening_m, 0.0, BAR_Z_M])


def top_w(state: SceneState, i: int) -> np.ndarray:
    """Return the middle (3,) m of the top of cabinet `i`, which stays where it is."""
    return point_w(state, i, [-DEPTH_M / 2, 0.0, HEIGHT_M])


def in_drawer(state: SceneState, i: int, pos_w: np.ndarray) -> np.ndarray:
    """Return a point (3,) m of the world in the frame of drawer `i`: x from its panel's back face, z from its floor."""
    body = state.scene.targets[i]
    seen = state.data.xmat[body].reshape(3, 3).T @ (pos_w - state.data.xpos[body])
    return seen - [opening_m(state, i) + PANEL_BACK_M, 0.0, FLOOR_M]
