"""Insert a peg: "put the red peg in the blue block". A square peg, a square hole, 2 to 3 mm wider, with a chamfer.

The blocks are as much larger or smaller than nominal as the named peg, so that the fit stays what it is.
"""

from functools import cache

import mujoco
import numpy as np

from sim.planning.motion_planner import FACES, MotionPlanner
from sim.randomize.ranges import RandomizeConfig
from sim.scene.fixtures import BOX, PARKED_M
from sim.scene.layout import Layout, as_points
from sim.scene.parts import Quat, turned
from sim.scene.placement import draw_colours, draw_places, draw_yaws
from sim.scene.state import UPRIGHT, SceneState
from sim.tasks.base import Task, register_task
from sim.tasks.seen import PutDown

HOLE_HALF_M = 0.01225  # a nominal peg is 22 mm thick
BLOCK_HALF_M, BLOCK_TOP_M, FLOOR_M, CHAMFER_M = 0.032, 0.040, 0.012, 0.005
DEEP_M = 0.015  # of the peg's foot below the block's top
SMOOTH = 0.3  # friction of the block, whatever it touches: at 1, a peg would stick on a chamfer of 45 degrees
ASIDE_M = 0.004
DARK = (0.05, 0.05, 0.06, 1.0)
MIN_GAP_M = {("peg", "peg"): 0.10, ("block", "peg"): 0.10, ("block", "block"): 0.13}
OVER_PEG_M = 0.028  # the tool above a peg's top, the fingers still free of it
OVER_HOLE_M = 0.012  # the peg's foot above the block before it goes straight down


@register_task("insert_peg")
class InsertPeg(Task):
    """The named peg goes into the hole of the named block."""

    time_limit_s = 15.0
    success_text = (
        "the named peg upright in the named block, its foot 15 mm or more below the top, released and at rest"
    )
    max_objects = 2
    max_targets = 2
    target_kind = "block"
    target_turns = 4  # the hole is square
    seems_done = PutDown(0.01)
    object_shapes = ("peg",)
    sentences = (
        "put the {object} in the {target}",
        "put the {object} into the hole of the {target}",
        "insert the {object} into the {target}",
        "stick the {object} in the {target}",
        "take the {object_too} and insert it into the {target_too}",
        "the {object} goes in the {target}",
        "bring the {object} to the {target} and insert it",
        "I want the {object_too} in the {target}",
    )
    grammar = (
        "{please}{insert} the {object} {inside} the {target}",
        "{please}{take} the {object} and {insert} it {inside} the {target}",
        "{please}{bring} the {object} to the {target} and {insert} it {inside} the hole",
        "the {object} belongs in the {target}",
        "{inside} the {target} goes the {object}",
        "find the {object} and {insert} it {inside} the {target}",
    )

    def add_targets(self, spec: mujoco.MjSpec) -> None:
        """Add two blocks."""
        for i in range(self.max_targets):
            body = spec.worldbody.add_body(name=f"target_{i}", pos=PARKED_M + [0.2 * i, 0.3, 0])
            for k, (size, pos, quat) in enumerate(_boxes()):
                name, looks = (f"target_{i}_{k}", {}) if k < len(_boxes()) - 1 else (f"block_{i}_floor", {"rgba": DARK})
                body.add_geom(
                    name=name, type=BOX, size=size, pos=pos, quat=quat,
                    priority=1, friction=[SMOOTH, 0.005, 0.0001], **looks,
                )  # fmt: skip

    def draw_layout(self, rng: np.random.Generator, ranges: RandomizeConfig) -> Layout:
        """Draw where pegs and blocks stand and what is asked for. Index 0 is the named peg and the named block."""
        pegs, blocks = int(rng.integers(1, self.max_objects + 1)), int(rng.integers(1, self.max_targets + 1))
        kinds = ["block"] * blocks + ["peg"] * pegs
        placed = draw_places(rng, [[MIN_GAP_M[min(a, b), max(a, b)] for b in kinds] for a in kinds])
        colours, block_colours = draw_colours(rng, pegs), draw_colours(rng, blocks)
        things = {"object": (colours[0], "peg"), "target": (block_colours[0], "block")}
        wording, sentence = self.sample_instruction(rng, ranges.paraphrase, **things)
        block_yaw_rad = draw_yaws(rng, blocks, np.pi / 4)
        return Layout(
            instruction=sentence, wording=wording,
            object_shapes=("peg",) * pegs, object_colours=colours, object_xy_m=as_points(placed[blocks:]),
            object_yaw_rad=draw_yaws(rng, pegs),
            target_colours=block_colours, target_xy_m=as_points(placed[:blocks]), target_yaw_rad=block_yaw_rad,
        )  # fmt: skip

    def apply_layout(self, state: SceneState) -> None:
        """Put everything where it stands, the blocks at the named peg's scale."""
        super().apply_layout(state)
        scene, scale = state.scene, state.scene.slots[0].scale
        for body in scene.targets:
            first = scene.model.body_geomadr[body]
            for k, (size, pos, _) in enumerate(_boxes()):
                scene.model.geom_size[first + k] = np.multiply(size, scale)
                scene.model.geom_pos[first + k] = np.multiply(pos, scale)

    def object_pos_w(self, state: SceneState) -> np.ndarray:
        """Return the middle of the named peg."""
        return state.object_pos_w(0)

    def target_pos_w(self, state: SceneState) -> np.ndarray:
        """Return the middle of the mouth of the named block's hole."""
        return state.target_pos_w(0) + [0, 0, BLOCK_TOP_M * state.scene.slots[0].scale]

    def is_done(self, state: SceneState) -> bool:
        """Return whether the named peg is upright in the named block's hole, deep enough, released and at rest."""
        aside_x, aside_y, up = self.object_pos_w(state) - self.target_pos_w(state)
        deep = state.half_height_m(0) - up >= DEEP_M
        inside = np.hypot(aside_x, aside_y) <= ASIDE_M and abs(state.object_rotation_w(0)[2, 2]) >= UPRIGHT
        return bool(inside and deep and state.speed_m_s(0) < 0.05 and not state.is_held(0))

    def plan(self, planner: MotionPlanner) -> None:
        """Plan the waypoints that lead from here to success; a peg that has fallen over cannot be grasped."""
        if self.is_done(planner.state):
            planner.retreat()
            return
        if not planner.holds(0):
            _pick(planner)
        yaws_rad = planner.state.layout.target_yaw_rad or (0.0,)
        _insert(planner, self.target_pos_w(planner.state), yaws_rad[0])


@cache
def _boxes() -> list[tuple[list[float], list[float], Quat]]:
    """Return half sizes, middle and quaternion of the boxes around the hole, at nominal size: four each of walls, the
    same beside the chamfer, and the chamfer's slopes; the floor last."""
    boxes = []
    for k in range(4):
        yaw = k * np.pi / 2
        c, s = np.cos(yaw), np.sin(yaw)
        for inner, low, high in (
            (HOLE_HALF_M, 0.0, BLOCK_TOP_M - CHAMFER_M),
            (HOLE_HALF_M + CHAMFER_M, BLOCK_TOP_M - CHAMFER_M, BLOCK_TOP_M),
        ):
            # Like the vanes of a pinwheel: from the hole outwards, and from its one edge to the block's.
            size = [(BLOCK_HALF_M - inner) / 2, (BLOCK_HALF_M + inner) / 2, (high - low) / 2]
            x, y = (BLOCK_HALF_M + inner) / 2, (BLOCK_HALF_M - inner) / 2
            boxes.append((size, [c * x - s * y, s * x + c * y, (low + high) / 2], turned(yaw)))
        thick = 0.004
        size = [CHAMFER_M / 2**0.5, HOLE_HALF_M + CHAMFER_M, thick / 2]
        inwards = thick / 2 / 2**0.5
        x, z = HOLE_HALF_M + CHAMFER_M / 2 + inwards, BLOCK_TOP_M - CHAMFER_M / 2 - inwards
        boxes.append((size, [c * x, s * x, z], turned(yaw, -np.pi / 4)))
    floor_m = FLOOR_M / 2
    return [*boxes, ([HOLE_HALF_M, HOLE_HALF_M, floor_m], [0.0, 0.0, floor_m], (1.0, 0.0, 0.0, 0.0))]


def _pick(planner: MotionPlanner) -> None:
    """Grasp the named peg from above, straight down over it: it would fall over if it were touched beside."""
    style, peg_w, yaw, shape = planner.style, planner.object_pos_w(0), planner.grasp_yaw(0), planner.shape(0)
    top_w = peg_w + [0, 0, planner.state.half_height_m(0)]
    planner.rise(0.14, away_from_w=peg_w)
    planner.go("approach", top_w + [0, 0, style.hover_m], yaw, blend_rad=style.blend_rad / 2)
    planner.go("descend", top_w + [0, 0, OVER_PEG_M], yaw)
    planner.line("straddle", peg_w + [0, 0, shape.grasp_height_m + style.grasp_height_m], 1.0, speed=0.7)
    planner.grip(0.0, holds=0)


def _insert(planner: MotionPlanner, mouth_w: np.ndarray, yaw_rad: float) -> None:
    """Carry the peg over the hole, turned as the hole is, lower it and let go."""
    style, half_m = planner.style, planner.state.half_height_m(0)
    grip_m = planner.end_w[2] - planner.object_pos_w(0)[2]  # tool above the peg's middle
    carry_m = style.carry_m + half_m + 0.02
    planner.go("raise", [*planner.end_w[:2], carry_m], planner.yaw_rad, 0.0, blend_rad=style.blend_rad, holds=0)
    over_w = [*mouth_w[:2], carry_m]
    yaw = planner.easiest_yaw(over_w, [yaw_rad + turn for turn in FACES])
    planner.go("carry", over_w, yaw, 0.0, blend_rad=style.blend_rad / 2)
    planner.go("lower", mouth_w + [0, 0, half_m + grip_m + OVER_HOLE_M], yaw, 0.0, holds=0)
    floor_m = FLOOR_M * planner.state.scene.slots[0].scale
    planner.line("insert", [*mouth_w[:2], floor_m + half_m + grip_m + 0.5 * style.release_gap_m], 0.0, speed=0.5)
    planner.grip(1.0, "open")
    end = planner.end_w
    planner.line("clear", [*end[:2], end[2] + 0.05], 1.0)
    planner.retreat(0.05)
