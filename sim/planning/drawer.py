"""How an expert opens a drawer: the handle grasped from above and pulled straight out."""

import numpy as np

from sim.planning.motion_planner import MotionPlanner
from sim.scene.cabinet import GRASP_BELOW_BAR_M, OVER_M, PULL_M, STRADDLE, bar_w, opening_m


def pull_open(planner: MotionPlanner, i: int) -> None:
    """Grasp the handle of drawer `i` from above, pull it straight out, by how much varies, and release it."""
    state, style = planner.state, planner.style
    now_m, body = opening_m(state, i), state.scene.targets[i]
    rotation = state.data.xmat[body].reshape(3, 3)
    yaw = float(np.arctan2(rotation[1, 0], rotation[0, 0]))
    yaw += np.pi * round((planner.yaw_rad - yaw) / np.pi)  # a parallel jaw: half a turn is the same grasp
    down = [0.0, 0.0, style.grasp_height_m - GRASP_BELOW_BAR_M]
    grasp_w, end_w = (bar_w(state, i, opening) + down for opening in (now_m, PULL_M - style.release_gap_m))
    rise(planner)
    planner.go("approach", [*grasp_w[:2], OVER_M + style.hover_m - 0.06], yaw, STRADDLE)
    planner.line("descend", grasp_w, STRADDLE, speed=0.8)
    planner.grip(0.0)
    planner.line("pull", end_w, 0.0)
    planner.grip(STRADDLE, "open")
    planner.go("retreat", [*end_w[:2], OVER_M + 0.02], None, STRADDLE)


def rise(planner: MotionPlanner) -> None:
    """Go straight up over the cabinets, the fingers as they are."""
    tool = planner.end_w
    if tool[2] < OVER_M - 0.01:
        planner.go("rise", [*tool[:2], OVER_M], None, max(min(planner.opening, STRADDLE), 0.2), blend_rad=0.03)
