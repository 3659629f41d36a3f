"""Push: "slide the red block into the blue circle", on the table all the way: a block that was lifted does not count.

The expert pushes with the closed gripper, its fingers flat against a face of the block, so that the force goes through
the block's middle towards the circle: there a block goes straight and does not turn. Where it ends up beside the
circle the expert goes round and pushes again.
"""

from dataclasses import dataclass, replace
from typing import cast

import mujoco
import numpy as np

from sim.planning.motion_planner import HALF_TURNS, MotionPlanner
from sim.randomize.ranges import RandomizeConfig
from sim.scene import fixtures
from sim.scene.layout import Layout, as_points
from sim.scene.placement import draw_colours, draw_places, draw_yaws, within_reach
from sim.scene.state import SceneState
from sim.tasks.base import Memory, Task, register_task
from sim.tasks.seen import Slid

WAY_M = (0.08, 0.16)  # from the block to the circle
RUN_UP_M = 0.07  # of the gripper, behind the block's middle
INSIDE_M = 0.033  # from the circle's middle; then the middle of every face is within, of the largest block too
LIFTED_M = 0.005  # under the lowest corner; sliding and tipping leave a corner on the table
LANE_M = 0.085  # from the way of gripper and block to the middle of another block
TOUCH_M = 0.060  # so near they may touch
DISTRACTOR_M = 0.11  # to that of anything else, which may be larger
ZONES_M = 0.120  # between circles
BLOCKS_M = 0.092
TOOL_M = 0.018  # height of the tool point when it pushes
FINGERS_M = 0.0112  # from the tool point to the back of a finger of the closed gripper
BACK_OFF_M = 0.03
OFFSET_SHARE = 0.6  # of where the style would let go beside the middle of a plate


@dataclass(frozen=True)
class PushMemory(Memory):
    """lifted_m: the greatest height of the block's lowest corner over the table so far."""

    lifted_m: float = 0.0


@register_task("push")
class Push(Task):
    """The named block is slid into the named circle."""

    time_limit_s = 15.0
    success_text = "the named block in the named circle, never lifted, untouched and at rest"
    object_shapes = ("cube",)
    max_objects = 3
    max_targets = 3
    target_kind = "zone"
    seems_done = Slid(INSIDE_M)
    sentences = (
        "push the {object} into the {target}",
        "slide the {object} into the {target}",
        "push the {object_too} onto the {target_too}",
        "slide the {object_too} over to the {target}",
        "shove the {object} into the {target} without lifting it",
        "the {object_too} slides into the {target}",
        "move the {object_too} into the {target} without lifting it",
        "I want the {object} pushed into the {target_too}",
    )
    grammar = (
        "{please}{push} the {object} into the {target}",
        "{please}{push} the {object} along the table into the {target}",
        "{please}{push} the {object} over to the {target}",
        "without lifting it {push} the {object} into the {target}",
        "{push} the {object} until it is in the {target}",
        "into the {target} {push} the {object}",
    )

    def add_targets(self, spec: mujoco.MjSpec) -> None:
        """Add three circles."""
        for i in range(self.max_targets):
            fixtures.add_zone(spec, i)

    def draw_layout(self, rng: np.random.Generator, ranges: RandomizeConfig) -> Layout:
        """Draw where things stand and what is asked for. Index 0 is what is named, with room between."""
        blocks, zones = int(rng.integers(1, self.max_objects + 1)), int(rng.integers(1, self.max_targets + 1))
        block, zone = _draw_way(rng)
        lane = _lane(block, zone)
        others = np.full((blocks + zones - 2,) * 2, BLOCKS_M)
        others[blocks - 1 :, blocks - 1 :] = ZONES_M
        rules = [lambda xy: within_reach(xy) and _distance_m(lane, xy) >= LANE_M] * (blocks - 1)
        rules += [lambda xy: within_reach(xy) and _distance_m(np.array([block, zone]), xy) >= ZONES_M] * (zones - 1)
        placed = draw_places(rng, others, rules).reshape(-1, 2)
        colours, zone_colours = draw_colours(rng, blocks), draw_colours(rng, zones)
        things = {"object": (colours[0], "cube"), "target": (zone_colours[0], "zone")}
        wording, sentence = self.sample_instruction(rng, ranges.paraphrase, **things)
        return Layout(
            instruction=sentence, wording=wording,
            object_shapes=("cube",) * blocks, object_colours=colours,
            object_xy_m=as_points([block, *placed[: blocks - 1]]), object_yaw_rad=draw_yaws(rng, blocks),
            target_colours=zone_colours, target_xy_m=as_points([zone, *placed[blocks - 1 :]]),
            keep_out_m=tuple((x, y, DISTRACTOR_M) for x, y in as_points(lane)),
        )  # fmt: skip

    def object_pos_w(self, state: SceneState) -> np.ndarray:
        """Return the centre of the named block."""
        return state.object_pos_w(0)

    def target_pos_w(self, state: SceneState) -> np.ndarray:
        """Return the centre of the named circle."""
        return state.target_pos_w(0)

    def first_memory(self, state: SceneState) -> PushMemory:
        """Return that nothing was lifted."""
        return PushMemory(super().first_memory(state).object_start_w)

    def remember(self, state: SceneState) -> PushMemory:
        """Return the memory with the greatest height to which the named block was lifted."""
        memory = cast(PushMemory, state.memory)
        return replace(memory, lifted_m=max(memory.lifted_m, _lifted_m(state)))

    def graspable(self, state: SceneState) -> None:
        """Return None: the block is not to be lifted."""

    def is_done(self, state: SceneState) -> bool:
        """Return whether the named block lies in the named circle, untouched, at rest and never lifted."""
        away = self.object_pos_w(state) - self.target_pos_w(state)
        inside = np.hypot(away[0], away[1]) <= INSIDE_M and abs(away[2] - state.half_height_m(0)) <= 0.005
        return bool(inside and not _was_lifted(state) and state.speed_m_s(0) < 0.05 and not _is_touched(state))

    def plan(self, planner: MotionPlanner) -> None:
        """Plan one push, whatever has happened before; after a lift nothing helps."""
        if _was_lifted(planner.state):
            return
        block, zone = planner.object_pos_w(0)[:2], self.target_pos_w(planner.state)[:2]
        if np.linalg.norm(zone - block) <= INSIDE_M:
            planner.retreat()
            return
        lane = _lane(block, zone)
        others = range(1, len(planner.state.layout.object_shapes))
        in_the_way = [i for i in others if _distance_m(lane, planner.object_pos_w(i)[:2]) < TOUCH_M]
        if in_the_way:
            planner.put_aside(in_the_way[0], lane)
            return
        _push(planner, block, zone + OFFSET_SHARE * planner.style.place_offset_m, planner.state.half_height_m(0))


def _draw_way(rng: np.random.Generator) -> np.ndarray:
    """Draw (2, 2) m, the block and the circle: the gripper reaches behind the block and past the circle."""
    while True:
        way = draw_places(rng, np.full((2, 2), WAY_M[0]))
        ends = _lane(*way)[0], _lane(*way[::-1])[0]
        if np.linalg.norm(way[1] - way[0]) <= WAY_M[1] and all(within_reach(end) for end in ends):
            return way


def _lane(block: np.ndarray, zone: np.ndarray) -> np.ndarray:
    """Return (n, 2) points where gripper and block pass: from the run-up to the middle of the circle."""
    along = (zone - block) / np.linalg.norm(zone - block)
    return np.linspace(block - RUN_UP_M * along, zone, 16)


def _distance_m(points: np.ndarray, xy: np.ndarray) -> float:
    return float(np.linalg.norm(points - xy, axis=1).min())


def _lifted_m(state: SceneState) -> float:
    """Return the height of the block's lowest corner over the table, m."""
    leaning = np.abs(state.object_rotation_w(0)[2]).sum()
    return float(state.object_pos_w(0)[2] - state.half_height_m(0) * leaning)


def _was_lifted(state: SceneState) -> bool:
    """Return whether the block was seen lifted in this episode."""
    return cast(PushMemory, state.memory).lifted_m > LIFTED_M


def _is_touched(state: SceneState) -> bool:
    """Return whether some part of the arm touches the named block."""
    return state.is_touched_by_arm(state.scene.objects[0])


def _push(planner: MotionPlanner, block: np.ndarray, goal: np.ndarray, half_m: float) -> None:
    """Push the block, half its edge `half_m`, straight from `block` (2,) to `goal` (2,) m, and withdraw."""
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
    """Return the normal (2,) of the block's face that looks most towards `along`."""
    axes = planner.state.object_rotation_w(0)[:2]
    flat = [axis / np.linalg.norm(axis) for axis in axes.T if np.linalg.norm(axis) > 0.7]
    return max((sign * axis for axis in flat for sign in (1, -1)), key=lambda normal: normal @ along)
