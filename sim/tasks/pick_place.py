"""Pick and place: "put the red cube on the blue plate".

What is placed, what is wanted, when it is over. Stepping, seeing and varying live elsewhere.
"""

import mujoco
import numpy as np

from sim.errors import UserError, nearest
from sim.scene import CUBE_HALF_M, MAX_OBJECTS, PARKED_M, PLATE_RADIUS_M, PLATE_TOP_M, Scene

NAME = "pick_place"
TIME_LIMIT_S = 15.0
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.80, 0.08, 0.08),
    "green": (0.10, 0.60, 0.15),
    "blue": (0.10, 0.22, 0.80),
    "yellow": (0.90, 0.78, 0.08),
    "purple": (0.48, 0.14, 0.62),
    "white": (0.90, 0.90, 0.90),
}
WORDINGS = (
    "put the {cube} cube on the {plate} plate",
    "place the {cube} cube onto the {plate} plate",
    "pick up the {cube} cube and put it on the {plate} plate",
    "move the {cube} cube to the {plate} plate",
    "set the {cube} block down on the {plate} plate",
    "take the {cube} block and place it on the {plate} dish",
    "the {cube} cube goes on the {plate} plate",
    "I want the {cube} block on the {plate} dish",
)
SETTLED_PERIODS = 4  # success must hold for 0.2 s
ON_PLATE_M = PLATE_RADIUS_M - 0.005
REACH_M = (0.25, 0.455)  # radius from the base in which a tool-down grasp exists
AREA_X_M, AREA_Y_M = (-0.45, -0.20), (-0.24, 0.24)
MIN_GAP_M = {("cube", "cube"): 0.092, ("cube", "plate"): 0.095, ("plate", "plate"): 0.110}


def instruction(cube: str, plate: str, wording: int) -> str:
    """The sentence for one pair of colours. UserError for a colour that does not exist."""
    for colour in (cube, plate):
        if colour not in COLOURS:
            raise UserError(nearest(colour, COLOURS, "colour"))
    return WORDINGS[wording].format(cube=cube, plate=plate)


def draw_layout(rng: np.random.Generator) -> dict:
    """Where things stand and what is asked for. Index 0 is the named cube and the named plate."""
    cubes, plates = int(rng.integers(1, MAX_OBJECTS + 1)), int(rng.integers(1, MAX_OBJECTS + 1))
    placed = _place(rng, ["plate"] * plates + ["cube"] * cubes)
    names = list(COLOURS)
    cube_colours = [str(c) for c in rng.permutation(names)[:cubes]]
    plate_colours = [str(c) for c in rng.permutation(names)[:plates]]
    wording = int(rng.integers(len(WORDINGS)))
    return {
        "cubes": cubes,
        "plates": plates,
        "cube_colours": ",".join(cube_colours),
        "plate_colours": ",".join(plate_colours),
        "plate_xy_m": placed[:plates].ravel().tolist(),
        "cube_xy_m": placed[plates:].ravel().tolist(),
        "cube_yaw_rad": rng.uniform(-np.pi, np.pi, cubes).tolist(),
        "wording": wording,
        "instruction": instruction(cube_colours[0], plate_colours[0], wording),
    }


def _min_gap_m(kind: str, other: str) -> float:
    return MIN_GAP_M[min(kind, other), max(kind, other)]


def _place(rng: np.random.Generator, kinds: list[str]) -> np.ndarray:
    """(n, 2) positions in the reachable ring with the gaps of MIN_GAP_M, by rejection."""
    while True:
        placed: list[np.ndarray] = []
        for kind in kinds:
            gaps = [_min_gap_m(kind, other) for other in kinds[: len(placed)]]
            free = _free_place(rng, placed, gaps)
            if free is None:
                break  # too crowded: begin anew
            placed.append(free)
        if len(placed) == len(kinds):
            return np.array(placed)


def _free_place(rng: np.random.Generator, placed: list[np.ndarray], gaps: list[float]) -> np.ndarray | None:
    """(2,) a reachable position that keeps its gap to each one placed; None when none was found."""
    for _ in range(200):
        xy = np.array([rng.uniform(*AREA_X_M), rng.uniform(*AREA_Y_M)])
        apart = all(np.linalg.norm(xy - p) >= g for p, g in zip(placed, gaps, strict=True))
        if apart and REACH_M[0] <= np.linalg.norm(xy) <= REACH_M[1]:
            return xy
    return None


def apply_layout(scene: Scene, data: mujoco.MjData, layout: dict) -> None:
    """Put cubes and plates where the layout says; park the rest."""
    cube_xy = np.reshape(layout["cube_xy_m"], (-1, 2))
    plate_xy = np.reshape(layout["plate_xy_m"], (-1, 2))
    for i in range(MAX_OBJECTS):
        pose = np.array([*(PARKED_M + [0.1 * i, 0, 0]), 1, 0, 0, 0])
        if i < layout["cubes"]:
            yaw = layout["cube_yaw_rad"][i]
            pose[:] = [*cube_xy[i], CUBE_HALF_M, np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
        data.qpos[scene.cube_qpos[i] : scene.cube_qpos[i] + 7] = pose
        on_table = i < layout["plates"]
        scene.model.body_pos[scene.plates[i]] = (*plate_xy[i], 0.0) if on_table else PARKED_M + [0.2 * i, 0.3, 0]


def object_pos_w(scene: Scene, data: mujoco.MjData) -> np.ndarray:
    """(3,) centre of the named cube in the world frame, m."""
    return data.xpos[scene.cubes[0]].copy()


def target_pos_w(scene: Scene, data: mujoco.MjData) -> np.ndarray:
    """(3,) centre of the top of the named plate in the world frame, m."""
    return data.xpos[scene.plates[0]] + [0, 0, PLATE_TOP_M]


def is_placed(scene: Scene, data: mujoco.MjData) -> bool:
    """The named cube rests on the named plate, let go and still."""
    offset = object_pos_w(scene, data) - target_pos_w(scene, data)
    speed = np.linalg.norm(data.qvel[scene.cube_dof[0] : scene.cube_dof[0] + 3])
    on_plate = np.hypot(offset[0], offset[1]) <= ON_PLATE_M and abs(offset[2] - CUBE_HALF_M) <= 0.008
    return bool(on_plate and speed < 0.05 and not _held(scene, data))


def _held(scene: Scene, data: mujoco.MjData) -> bool:
    pairs = data.contact.geom[: data.ncon]
    touches_cube = (pairs == scene.cube_geoms[0]).any(axis=1)
    return bool(np.isin(pairs[touches_cube], scene.pads).any())
