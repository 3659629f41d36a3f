"""Where things stand at the start of an episode: colours, free places on the table, putting and parking."""

from collections.abc import Callable, Mapping, Sequence

import mujoco
import numpy as np

from sim.scene.build import Scene
from sim.scene.fixtures import PARKED_M
from sim.scene.shapes import SHAPES

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.80, 0.08, 0.08),
    "green": (0.10, 0.60, 0.15),
    "blue": (0.10, 0.22, 0.80),
    "yellow": (0.90, 0.78, 0.08),
    "purple": (0.48, 0.14, 0.62),
    "white": (0.90, 0.90, 0.90),
}
REACH_M = (0.25, 0.455)  # radius from the base in which a tool-down grasp exists
AREA_X_M, AREA_Y_M = (-0.45, -0.20), (-0.24, 0.24)


def draw_colours(rng: np.random.Generator, n: int) -> list[str]:
    """`n` colours, no two alike."""
    return [str(colour) for colour in rng.permutation(list(COLOURS))[:n]]


def within_reach(xy: np.ndarray) -> bool:
    """Whether a tool that points down reaches (2,) m."""
    return bool(REACH_M[0] <= np.linalg.norm(xy) <= REACH_M[1])


def draw_shapes(rng: np.random.Generator, shapes: Sequence[str], n: int) -> list[str]:
    """`n` of the shapes that objects may have; with one to choose from nothing is drawn."""
    return [shapes[0]] * n if len(shapes) == 1 else [str(shape) for shape in rng.choice(list(shapes), n)]


def draw_places(
    rng: np.random.Generator,
    gaps_m: np.ndarray | Sequence[Sequence[float]],
    allowed: Sequence[Callable[[np.ndarray], bool]] | Callable[[np.ndarray], bool] = within_reach,
) -> np.ndarray:
    """(n, 2) positions, m, by rejection: the i-th and j-th at least `gaps_m[i][j]` apart.

    allowed: what a position must satisfy, for all of them or one each; default: the tool reaches it.
    """
    gaps = np.asarray(gaps_m, float)
    rules = [allowed] * len(gaps) if callable(allowed) else list(allowed)
    while True:
        placed: list[np.ndarray] = []
        for i, rule in enumerate(rules):
            free = _free_place(rng, placed, gaps[i, : len(placed)], rule)
            if free is None:
                break  # too crowded: begin anew
            placed.append(free)
        if len(placed) == len(gaps):
            return np.array(placed)


def _free_place(
    rng: np.random.Generator, placed: list[np.ndarray], gaps_m: np.ndarray, allowed: Callable[[np.ndarray], bool]
) -> np.ndarray | None:
    """(2,) an allowed position that keeps its gap to each one placed; None when none was found."""
    for _ in range(200):
        xy = np.array([rng.uniform(*AREA_X_M), rng.uniform(*AREA_Y_M)])
        apart = all(np.linalg.norm(xy - p) >= g for p, g in zip(placed, gaps_m, strict=True))
        if apart and allowed(xy):
            return xy
    return None


def stand(scene: Scene, data: mujoco.MjData, layout: Mapping) -> None:
    """Put objects, clutter and targets where the layout says; park the ones it does not use.

    layout: `object_xy_m` flat (2n,), `object_yaw_rad` (n,), the same of `clutter`, `target_xy_m` flat (2m,)
    and, where wanted, `target_yaw_rad` (m,). Things stand on the table.
    """
    for i in range(len(scene.objects)):
        put_object(scene, data, i, PARKED_M + [0.1 * i, 0, 0])
    for kind, first in (("object", 0), ("clutter", len(scene.objects) - scene.inventory.distractors)):
        shapes, yaws = layout[f"{kind}_shapes"].split(","), layout[f"{kind}_yaw_rad"]
        for i, xy in enumerate(np.reshape(layout[f"{kind}_xy_m"], (-1, 2))):
            height_m = SHAPES[shapes[i]].half_height_m * layout["object_scale"][first + i]
            put_object(scene, data, first + i, [*xy, height_m], yaws[i])
    target_xy = np.reshape(layout["target_xy_m"], (-1, 2))
    for i, body in enumerate(scene.targets):
        used = i < len(target_xy)
        scene.model.body_pos[body] = (*target_xy[i], 0.0) if used else PARKED_M + [0.2 * i, 0.3, 0]
        scene.model.body_quat[body] = turned(
            layout["target_yaw_rad"][i] if used and "target_yaw_rad" in layout else 0.0
        )


def put_object(
    scene: Scene, data: mujoco.MjData, i: int, pos_w: Sequence[float] | np.ndarray, yaw_rad: float = 0.0
) -> None:
    """Object `i` upright with its middle at `pos_w` (3,) m."""
    first = scene.object_qpos[i]
    data.qpos[first : first + 7] = [*pos_w, *turned(yaw_rad)]


def half_height_m(layout: Mapping, i: int) -> float:
    """Middle of the task's object `i` above what it stands on."""
    return SHAPES[layout["object_shapes"].split(",")[i]].half_height_m * layout["object_scale"][i]


def grasp_half_width_m(layout: Mapping, i: int) -> float:
    """Travel of each finger at which it touches the task's object `i`."""
    return SHAPES[layout["object_shapes"].split(",")[i]].grasp_width_m / 2 * layout["object_scale"][i]


def turned(yaw_rad: float) -> tuple[float, float, float, float]:
    """Quaternion (w x y z) of a turn about z."""
    return float(np.cos(yaw_rad / 2)), 0.0, 0.0, float(np.sin(yaw_rad / 2))


def is_held(scene: Scene, data: mujoco.MjData, i: int) -> bool:
    """A pad of the gripper touches object `i`."""
    pairs = data.contact.geom[: data.ncon]
    touched = np.isin(pairs, scene.object_geoms[i]).any(axis=1)
    return bool(np.isin(pairs[touched], scene.pads).any())


def speed_m_s(scene: Scene, data: mujoco.MjData, i: int) -> float:
    """How fast object `i` moves."""
    first = scene.object_dof[i]
    return float(np.linalg.norm(data.qvel[first : first + 3]))
