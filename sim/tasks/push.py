"""Push: "slide the red block into the blue circle", on the table all the way: a block that was lifted does not count.

The expert pushes with the closed hand, its fingers flat against a face of the block, so that the force goes through
the block's middle towards the circle: there a block goes straight and does not turn. Where it ends up beside the
circle the expert goes round and pushes again.
"""

from collections.abc import Mapping

import mujoco
import numpy as np

from sim.planning.motion_planner import HALF_TURNS, MotionPlanner
from sim.randomize.ranges import RandomizeConfig
from sim.scene import fixtures
from sim.scene.build import Scene
from sim.scene.layout import draw_colours, draw_places, half_height_m, speed_m_s, within_reach
from sim.scene.layout import stand as apply_layout
from sim.tasks.instructions import say

NAME = "push"
TIME_LIMIT_S = 15.0
SETTLED_PERIODS = 4  # success must hold for 0.2 s
SHAPES = ("cube",)
OBJECTS = TARGETS = 3
SENTENCES = (
    "push the {object} into the {target}",
    "slide the {object} into the {target}",
    "push the {object_too} onto the {target_too}",
    "slide the {object_too} over to the {target}",
    "shove the {object} into the {target} without lifting it",
    "the {object_too} slides into the {target}",
    "move the {object_too} into the {target} without lifting it",
    "I want the {object} pushed into the {target_too}",
)
GRAMMAR = (
    "{please}{push} the {object} into the {target}",
    "{please}{push} the {object} along the table into the {target}",
    "{please}{push} the {object} over to the {target}",
    "without lifting it {push} the {object} into the {target}",
    "{push} the {object} until it is in the {target}",
    "into the {target} {push} the {object}",
)
WAY_M = (0.08, 0.16)  # from the block to the circle
RUN_UP_M = 0.07  # of the hand, behind the block's middle
INSIDE_M = 0.033  # from the circle's middle; then the middle of every face is within, of the largest block too
LIFTED_M = 0.005  # under the lowest corner; sliding and tipping leave a corner on the table
LANE_M = 0.085  # from the way of hand and block to the middle of another block
TOUCH_M = 0.060  # so near they may touch
CLUTTER_M = 0.11  # to that of anything else, which may be larger
ZONES_M = 0.120  # between circles
BLOCKS_M = 0.092
TOOL_M = 0.018  # height of the tool point when it pushes
FINGERS_M = 0.0112  # from the tool point to the back of a finger of the closed hand
BACK_OFF_M = 0.03
OFFSET_SHARE = 0.6  # of where the style would let go beside the middle of a plate


def add_targets(spec: mujoco.MjSpec) -> None:
    """Three circles, and a place to remember the highest that the named block was lifted."""
    for i in range(TARGETS):
        fixtures.add_zone(spec, i)
    spec.nuserdata = 1  # `data.userdata[0]`, m; zero when an episode begins


def draw_layout(rng: np.random.Generator, ranges: RandomizeConfig) -> dict:
    """Where things stand and what is asked for. The named block and circle have index 0 and room between them."""
    blocks, zones = int(rng.integers(1, OBJECTS + 1)), int(rng.integers(1, TARGETS + 1))
    block, zone = _draw_way(rng)
    lane = _lane(block, zone)
    others = np.full((blocks + zones - 2,) * 2, BLOCKS_M)
    others[blocks - 1 :, blocks - 1 :] = ZONES_M
    rules = [lambda xy: within_reach(xy) and _distance_m(lane, xy) >= LANE_M] * (blocks - 1)
    rules += [lambda xy: within_reach(xy) and _distance_m(np.array([block, zone]), xy) >= ZONES_M] * (zones - 1)
    placed = draw_places(rng, others, rules).reshape(-1, 2)
    colours, zone_colours = draw_colours(rng, blocks), draw_colours(rng, zones)
    things = {"object": (colours[0], "cube"), "target": (zone_colours[0], "zone")}
    wording, sentence = say(rng, ranges.paraphrase, SENTENCES, GRAMMAR, **things)
    return {
        "objects": blocks,
        "targets": zones,
        "object_shapes": ",".join(["cube"] * blocks),
        "object_colours": ",".join(colours),
        "target_colours": ",".join(zone_colours),
        "target_xy_m": np.ravel([zone, *placed[blocks - 1 :]]).tolist(),
        "object_xy_m": np.ravel([block, *placed[: blocks - 1]]).tolist(),
        "object_yaw_rad": rng.uniform(-np.pi, np.pi, blocks).tolist(),
        "keep_out_m": np.ravel([[*xy, CLUTTER_M] for xy in lane]).tolist(),
        "wording": wording,
        "instruction": sentence,
    }


def _draw_way(rng: np.random.Generator) -> np.ndarray:
    """(2, 2) m, the block and the circle: the hand reaches behind the block and past the circle."""
    while True:
        way = draw_places(rng, np.full((2, 2), WAY_M[0]))
        ends = _lane(*way)[0], _lane(*way[::-1])[0]
        if np.linalg.norm(way[1] - way[0]) <= WAY_M[1] and all(within_reach(end) for end in ends):
            return way


def _lane(block: np.ndarray, zone: np.ndarray) -> np.ndarray:
    """(n, 2) points, 2 cm apart or less, of where hand and block pass: from the run-up to the middle of the circle."""
    along = (zone - block) / np.linalg.norm(zone - block)
    return np.linspace(block - RUN_UP_M * along, zone, 16)


def _distance_m(points: np.ndarray, xy: np.ndarray) -> float:
    return float(np.linalg.norm(points - xy, axis=1).min())


def object_pos_w(scene: Scene, data: mujoco.MjData, layout: Mapping) -> np.ndarray:
    """(3,) centre of the named block in the world frame, m."""
    return data.xpos[scene.objects[0]].copy()


def target_pos_w(scene: Scene, data: mujoco.MjData, layout: Mapping) -> np.ndarray:
    """(3,) centre of the named circle in the world frame, m."""
    return data.xpos[scene.targets[0]].copy()


def is_done(scene: Scene, data: mujoco.MjData, layout: Mapping) -> bool:
    """The named block lies in the named circle, left alone and still, and was never seen lifted in this episode."""
    lifted = _lifted_m(scene, data, layout) > LIFTED_M
    away = object_pos_w(scene, data, layout) - target_pos_w(scene, data, layout)
    inside = np.hypot(away[0], away[1]) <= INSIDE_M and abs(away[2] - half_height_m(layout, 0)) <= 0.005
    return bool(inside and not lifted and speed_m_s(scene, data, 0) < 0.05 and not _is_touched(scene, data))


def _lifted_m(scene: Scene, data: mujoco.MjData, layout: Mapping) -> float:
    """Height of the block's lowest corner over the table, m: the greatest of all times that this was asked."""
    leaning = np.abs(data.xmat[scene.objects[0]].reshape(3, 3)[2]).sum()
    lowest_m = data.xpos[scene.objects[0], 2] - half_height_m(layout, 0) * leaning
    data.userdata[0] = max(data.userdata[0], lowest_m)
    return float(data.userdata[0])


def _is_touched(scene: Scene, data: mujoco.MjData) -> bool:
    """Some part of the arm touches the named block."""
    roots = scene.model.body_rootid
    pairs = data.contact.geom[: data.ncon]
    touching = scene.model.geom_bodyid[pairs[np.isin(pairs, scene.object_geoms[0]).any(axis=1)]]
    return bool((roots[touching] == roots[scene.base]).any())


def plan(planner: MotionPlanner, layout: Mapping) -> None:
    """The legs of one push, whatever has happened before; after a lift nothing helps."""
    scene, data = planner.scene, planner.data
    if _lifted_m(scene, data, layout) > LIFTED_M:
        return
    block, zone = planner.object_w(0)[:2], target_pos_w(scene, data, layout)[:2]
    if np.linalg.norm(zone - block) <= INSIDE_M:
        planner.retreat()
        return
    lane = _lane(block, zone)
    in_the_way = [i for i in range(1, layout["objects"]) if _distance_m(lane, planner.object_w(i)[:2]) < TOUCH_M]
    if in_the_way:
        planner.put_aside(in_the_way[0], lane)
        return
    _push(planner, block, zone + OFFSET_SHARE * planner.style.place_offset_m, half_height_m(layout, 0))


def _push(planner: MotionPlanner, block: np.ndarray, goal: np.ndarray, half_m: float) -> None:
    """One straight push of the block with half the edge `half_m` from `block` (2,) to `goal` (2,) m, and away."""
    way = goal - block
    along = way / np.linalg.norm(way)
    face = _face(planner, along)
    contact = block - along * half_m / (along @ face) - FINGERS_M * face
    begin = contact - along * (RUN_UP_M - FINGERS_M - half_m)
    turn = np.arctan2(face[1], face[0]) - planner.yaw_rad
    yaw = planner.yaw_rad + (turn + np.pi / 2) % np.pi - np.pi / 2  # either finger may be in front: turn the least
    planner.rise()
    planner.go("approach", [*begin, planner.style.hover_m], yaw, 0.0, HALF_TURNS, blend_rad=planner.style.blend_rad / 2)
    planner.go("descend", [*begin, TOOL_M], yaw, 0.0, HALF_TURNS)
    planner.line("push", [*(contact + way), TOOL_M], 0.0)
    planner.line("back", [*(contact + way - BACK_OFF_M * along), TOOL_M], 0.0)
    planner.go("retreat", [*planner.end_w[:2], planner.style.hover_m], None, 0.0)


def _face(planner: MotionPlanner, along: np.ndarray) -> np.ndarray:
    """(2,) unit vector along which the block's face lies that looks most towards `along`."""
    axes = planner.data.xmat[planner.scene.objects[0]].reshape(3, 3)[:2]
    flat = [axis / np.linalg.norm(axis) for axis in axes.T if np.linalg.norm(axis) > 0.7]
    return max((sign * axis for axis in flat for sign in (1, -1)), key=lambda normal: normal @ along)


__all__ = ["NAME", "OBJECTS", "SETTLED_PERIODS", "SHAPES", "TARGETS", "TIME_LIMIT_S", "add_targets", "apply_layout",
           "draw_layout", "is_done", "object_pos_w", "plan", "target_pos_w"]  # fmt: skip
