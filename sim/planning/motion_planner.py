"""The motions that tasks are made of: waypoints, grasps and placements, planned by IK from the simulator's state.

A task's `plan(planner)` calls these in order; the waypoints they append are followed by `sim.expert.scripted`. The
tool always points down. Positions are in the world frame, yaws turn the direction in which the fingers open.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.planning.kinematics import BenchKinematics, tool_down
from sim.scene.parts import Shape
from sim.scene.placement import AREA_X_M, AREA_Y_M, within_reach
from sim.scene.shapes import SHAPES
from sim.scene.state import SceneState

# How the wrist may turn when its range does not allow the yaw: to another face of a cube that is to be
# grasped; by little when the cube is held and any yaw will do.
FACES = (0.0, np.pi / 2, -np.pi / 2, np.pi)
HALF_TURNS = (0.0, np.pi, -np.pi)  # of a parallel jaw: the same grasp
LEAST_TURNS = (0.0, np.pi / 6, -np.pi / 6, np.pi / 3, -np.pi / 3, np.pi / 2, -np.pi / 2)
LOWEST_TOOL_M = 0.014  # the fingers end 10 mm below the tool point
LINE_STEP_M = 0.02  # between the way-points of a straight line
ROOM_M = 0.10  # between the middles of what stands on the table, so that the fingers find room


@dataclass(frozen=True)
class Waypoint:
    """One step of the motion: go to `joints_rad` with the gripper at `opening`, then wait for the gripper."""

    name: str
    joints_rad: np.ndarray
    opening: float
    tool_pos_w: np.ndarray  # (3,) m, where it leads
    blend_rad: float = 0.0  # go on when closer than this; 0: arrive at rest
    grips: bool = False  # stay until the fingers no longer move
    holds: int = -1  # the object that must be held at the waypoint, or all is planned anew
    speed: float = 1.0  # of the style's


@dataclass(frozen=True)
class MotionStyle:
    """What varies between two experts."""

    speed: float  # of the policy's limit
    accel_rad_s2: float
    hover_m: float
    carry_m: float
    grasp_height_m: float
    release_gap_m: float
    blend_rad: float
    other_yaw: bool
    other_way: bool  # of two ways equally good
    place_offset_m: np.ndarray
    detour_m: np.ndarray  # (3,) how far the way to the object leads aside

    @staticmethod
    def draw(
        rng: np.random.Generator, speed: tuple[float, float] = (0.5, 0.95), detour_m: float = 0.0
    ) -> "MotionStyle":
        return MotionStyle(
            speed=rng.uniform(*speed),
            accel_rad_s2=rng.uniform(3.0, 6.0),
            hover_m=rng.uniform(0.07, 0.12),
            carry_m=rng.uniform(0.08, 0.13),
            grasp_height_m=rng.uniform(-0.003, 0.004),
            release_gap_m=rng.uniform(0.0, 0.015),
            blend_rad=rng.uniform(0.03, 0.10),
            other_yaw=bool(rng.random() < 0.15),
            other_way=bool(rng.random() < 0.5),
            place_offset_m=rng.uniform(-0.011, 0.011, 2),
            detour_m=rng.uniform(-detour_m, detour_m, 3),
        )


class MotionPlanner:
    """Plans waypoints from where the arm is now. Reads the simulator's state; moves nothing."""

    def __init__(self, state: SceneState, kinematics: BenchKinematics, style: MotionStyle):
        self.state, self.style = state, style
        self._scene, self._data = state.scene, state.data
        self._kinematics = kinematics

    def begin(self, joints_rad: np.ndarray, opening: float) -> None:
        """Plan anew from these commanded joints (joints,) and this measured opening."""
        self.joints_rad, self.opening = joints_rad, opening
        self.waypoints: list[Waypoint] = []

    # ---- the present state -----------------------------------------------------------------------

    @property
    def tool_pos_w(self) -> np.ndarray:
        """Return where the tool is now, (3,) m."""
        return self.state.tool_pos_w

    def object_pos_w(self, i: int) -> np.ndarray:
        """Return the centre of object `i`, (3,) m."""
        return self.state.object_pos_w(i)

    def holds(self, i: int) -> bool:
        """Return whether object `i` is between the fingers."""
        near = np.linalg.norm(self.object_pos_w(i) - self.tool_pos_w) < 0.02
        return bool(near and self.opening < 0.75)

    @property
    def yaw_rad(self) -> float:
        """Return the direction in which the fingers will open at the last waypoint."""
        rotation = self._kinematics.forward(self.joints_rad)[1]
        return float(np.arctan2(rotation[1, 1], rotation[0, 1]))

    @property
    def end_w(self) -> np.ndarray:
        """Return where the tool will be at the last waypoint, (3,) m."""
        return self.waypoints[-1].tool_pos_w if self.waypoints else self.tool_pos_w

    # ---- waypoints -------------------------------------------------------------------------------

    def go(
        self, name: str, pos_w: Sequence[float] | np.ndarray, yaw_rad: float | None = None, opening: float = 1.0,
        turns: Sequence[float] = FACES, **how,
    ) -> None:  # fmt: skip
        """Append a waypoint at the pose; the wrist turns by the first of `turns` that its range allows.

        yaw_rad: None keeps the yaw, turned as little as the range demands. how: fields of `Waypoint`.
        """
        if yaw_rad is None:
            yaw_rad, turns = self.yaw_rad, LEAST_TURNS
        poses = (self._pose(pos_w, yaw_rad + turn) for turn in turns)
        # Out of reach: stay, and time out.
        self.joints_rad = next((pose for pose in poses if pose is not None), self.joints_rad)
        self.waypoints.append(Waypoint(name, self.joints_rad, opening, np.asarray(pos_w, float), **how))

    def _pose(self, pos_w: Sequence[float] | np.ndarray, yaw_rad: float) -> np.ndarray | None:
        """Return joints (joints,) rad that reach the pose, bent as at home: found from here, else from home."""
        home = np.array(self._scene.robot.home_rad)
        for near in (self.joints_rad, home):
            pose = self._kinematics.inverse(pos_w, tool_down(yaw_rad), near)
            if pose is not None and np.abs(pose - home)[:-1].max() < self._scene.robot.posture_rad:
                return pose
        return None

    def easiest_yaw(self, pos_w: Sequence[float] | np.ndarray, yaws_rad: Sequence[float]) -> float:
        """Return the yaw that turns the joints least: a wrist near its end would have to go all round."""

        def effort_rad(yaw_rad: float) -> float:
            pose = self._pose(pos_w, yaw_rad)
            return np.inf if pose is None else float(np.abs(pose - self.joints_rad).max())

        return min(yaws_rad, key=effort_rad)

    def line(self, name: str, pos_w: Sequence[float] | np.ndarray, opening: float, speed: float = 0.5) -> None:
        """Append a straight line of the tool to `pos_w`, the yaw kept, at rest at its end."""
        start, goal = self.end_w, np.asarray(pos_w, float)
        steps = max(int(np.ceil(np.linalg.norm(goal - start) / LINE_STEP_M)), 1)
        for i in range(1, steps + 1):
            between = {"blend_rad": 0.02} if i < steps else {}
            self.go(name, start + (goal - start) * i / steps, None, opening, FACES, speed=speed, **between)

    def grip(self, opening: float, name: str = "close", holds: int = -1) -> None:
        """Move the fingers and wait until they are still."""
        self.waypoints.append(Waypoint(name, self.joints_rad, opening, self.end_w, grips=True, holds=holds))

    # ---- grasping and placing ----------------------------------------------------------------------

    def rise(self, clear_m: float = 0.09, *, away_from_w: np.ndarray | None = None) -> None:
        """Go up before moving sideways, so that nothing is swept away; not over `away_from_w` or high up."""
        tool = self.end_w
        beside = away_from_w is None or np.linalg.norm(tool[:2] - away_from_w[:2]) > 0.01
        if tool[2] < 0.06 and beside:
            self.go("rise", [*tool[:2], clear_m], None, blend_rad=self.style.blend_rad)

    def pick(self, i: int) -> None:
        """Grasp object `i` from above."""
        style, object_pos_w, yaw, shape = self.style, self.object_pos_w(i), self.grasp_yaw(i), self.shape(i)
        turns = FACES if shape.symmetric or len(shape.grasp_yaws_rad) > 1 else HALF_TURNS
        grasp_m = max(object_pos_w[2] + shape.grasp_height_m + style.grasp_height_m, LOWEST_TOOL_M)
        self.rise(away_from_w=object_pos_w)
        above_m = object_pos_w[2] + shape.half_height_m + style.hover_m - 0.02
        if style.detour_m.any() and self.end_w[2] > 0.06:
            aside_w = (self.end_w + [*object_pos_w[:2], above_m]) / 2 + style.detour_m
            self.go("detour", [*aside_w[:2], max(aside_w[2], 0.12)], None, blend_rad=0.1)
        self.go("approach", [*object_pos_w[:2], above_m], yaw, turns=turns, blend_rad=style.blend_rad / 2)
        self.go("descend", [*object_pos_w[:2], grasp_m], yaw, turns=turns)
        self.grip(0.0, holds=i)

    def place(self, i: int, on_w: np.ndarray, *, yaw_rad: float | None = None, carry_m: float | None = None) -> None:
        """Lift object `i`, carry it over `on_w`, the middle of where it is to stand, and release it there."""
        style = self.style
        grip_m = np.clip(self.end_w[2] - self.object_pos_w(i)[2], -0.02, 0.02)  # tool above the object's centre
        half_m = self.state.half_height_m(i)
        carry_m = max(style.carry_m, 0.08) + half_m - 0.02 if carry_m is None else carry_m
        self.go("lift", [*self.end_w[:2], carry_m], self.yaw_rad, 0.0, blend_rad=style.blend_rad, holds=i)
        how = {"turns": LEAST_TURNS} if yaw_rad is None else {"turns": FACES}
        yaw = self.yaw_rad if yaw_rad is None else yaw_rad
        self.go("carry", [*on_w[:2], carry_m], yaw, 0.0, blend_rad=style.blend_rad / 2, **how)
        down_m = on_w[2] + half_m + style.release_gap_m + grip_m
        self.go("lower", [*on_w[:2], down_m], self.yaw_rad, 0.0, turns=LEAST_TURNS)
        self.grip(1.0, "open")
        self.retreat()

    def put_aside(self, i: int, keep_free_w: np.ndarray | None = None) -> None:
        """Take object `i` away to the nearest free place on the table.

        keep_free_w: (n, 2) m, points that it shall not stand near.
        """
        if not self.holds(i):
            self.pick(i)
        self.place(i, np.array([*self._free_place(i, keep_free_w), 0.0]))

    def _free_place(self, i: int, keep_free_w: np.ndarray | None) -> np.ndarray:
        """Return (2,) m of a grid over the table: the nearest to object `i` with room, or that with most room."""
        taken = [self._data.xpos[np.delete(self._scene.objects, i), :2], self._data.xpos[self._scene.targets, :2]]
        taken = np.concatenate(taken if keep_free_w is None else [*taken, keep_free_w])
        grid = [np.array([x, y]) for x in np.arange(*AREA_X_M, 0.02) for y in np.arange(*AREA_Y_M, 0.02)]
        room = {tuple(xy): np.linalg.norm(taken - xy, axis=1).min() for xy in grid if within_reach(xy)}
        here = self.object_pos_w(i)[:2]
        free = [xy for xy, gap_m in room.items() if gap_m >= ROOM_M]
        return np.array(min(free, key=lambda xy: np.hypot(*(here - xy))) if free else max(room, key=room.__getitem__))

    def retreat(self, up_m: float = 0.10) -> None:
        """Go straight up, the gripper open."""
        end = self.end_w
        self.go("retreat", [*end[:2], end[2] + up_m])

    def shape(self, i: int) -> Shape:
        """Return the shape of object `i`."""
        return SHAPES[self._scene.slots[i].shape]

    def grasp_yaw(self, i: int) -> float:
        """Return the finger direction, rad, that grasps object `i`: the clear one that turns the wrist least."""
        now, offered = self.yaw_rad, self.shape(i).grasp_yaws_rad
        if offered:
            face = self.state.object_yaw_rad(i)
            turns = [(face + yaw - now + np.pi / 2) % np.pi - np.pi / 2 for yaw in offered]
        else:
            turns = np.linspace(-np.pi / 2, np.pi / 2, 8, endpoint=False).tolist()
        yaws = [now + turn for turn in sorted(turns, key=abs)]
        if self.style.other_yaw:
            yaws.reverse()
        return float(max(yaws, key=lambda yaw: min(self._clearance_m(i, yaw), 0.045)))

    def _clearance_m(self, i: int, yaw_rad: float) -> float:
        """Return the distance from the open fingers around object `i` to the nearest other object's centre."""
        fingers = self.object_pos_w(i)[:2] + 0.052 * np.outer([1, -1], [np.cos(yaw_rad), np.sin(yaw_rad)])
        others = self._data.xpos[np.delete(self._scene.objects, i), :2]
        if not len(others):
            return np.inf
        return float(np.linalg.norm(fingers[:, None] - others[None], axis=-1).min())
