"""Distances of the arm to itself, to the table and to keep-out boxes, by MuJoCo.

A model of its own: the arm's collision geoms, the fingers each as one box over their whole travel (so
that the opening does not matter), the table as a plane. Ways are walked in steps in which no point
moves farther than `STEP_M`; at every step MuJoCo's collision pass names the pairs nearer than
`MARGIN_M`. What a gripper holds is unknown here.
"""

from collections.abc import Sequence

import mujoco
import numpy as np

from sim.guard.motion_guard import MotionGuard
from sim.guard.workspace import KeepOut, Workspace
from sim.robots.mjcf import arm_spec, compiled
from sim.robots.robot import Robot

MARGIN_M = 0.010  # between parts of the arm, and to the table and keep-out boxes
STEP_M = 2 * MARGIN_M  # so that nothing is met between two looks: no point of the arm moves farther
FINE_STEP_M = 0.002  # in an episode that began nearer than allowed
TOUCH_M = 0.001  # between fingers and table: they take things off it
CREEP_M = 1e-4  # how much nearer than at the start an arm that starts too near may come: rounding
TABLE = "table"


class Clearance:
    """One arm on its bench. Satisfies `sim.guard.motion_guard.Distances`."""

    def __init__(self, robot: Robot, workspace: Workspace = Workspace()):
        self._model, fingers = _build(robot, workspace)
        self._data = mujoco.MjData(self._model)
        self._qpos = np.array([self._model.joint(name).qposadr[0] for name in robot.joint_names])
        self._tool = self._data.site_xpos[self._model.site("tcp").id]
        self._reach_m = _reach_m(self._model, robot)
        self._box = np.array(workspace.tool_min_m), np.array(workspace.tool_max_m)
        self._may_touch = _may_touch(self._model, fingers)
        self.reset(np.array(robot.home_rad))

    def reset(self, joints_rad: np.ndarray) -> None:
        """Begin at `joints_rad`. An arm that is found too near to something may move, but no nearer."""
        self._found: dict[tuple[int, int], float] = {}
        self._pose(joints_rad)
        self._low = (np.minimum(self._box[0], self._tool) - CREEP_M).tolist()
        self._high = (np.maximum(self._box[1], self._tool) + CREEP_M).tolist()
        for pair, distance in self._near():
            if distance < self._least_m(pair):
                self._found[pair] = min(distance - CREEP_M, self._found.get(pair, np.inf))

    def blocked(self, ways: Sequence[np.ndarray]) -> str:
        """Return what comes too near on ways (n, joints) in rad, the first thing found; "" when all are free."""
        return next((why for joints_rad in self._looks(ways) if (why := self._too_near(joints_rad))), "")

    def _looks(self, ways: Sequence[np.ndarray]) -> np.ndarray:
        """Return (m, joints) where to look along the ways; not at where each begins."""
        begins = np.concatenate([way[:-1] for way in ways])
        legs = np.concatenate([way[1:] for way in ways]) - begins
        step_m = FINE_STEP_M if self._found else STEP_M
        counts = np.maximum(np.ceil(np.abs(legs) @ self._reach_m / step_m), 1).astype(int)
        owner = np.repeat(np.arange(len(legs)), counts)
        number = np.arange(1, len(owner) + 1) - (np.cumsum(counts) - counts)[owner]
        return begins[owner] + legs[owner] * (number / counts[owner])[:, None]

    def _too_near(self, joints_rad: np.ndarray) -> str:
        self._pose(joints_rad)
        tool = self._tool.tolist()
        if not all(low <= at <= high for low, at, high in zip(self._low, tool, self._high, strict=True)):
            return "tool outside its workspace"
        for pair, distance in self._near():
            if distance < self._found.get(pair, self._least_m(pair)):
                return f"{self._name(pair[1])} near {self._name(pair[0])}"
        return ""

    def _least_m(self, pair: tuple[int, int]) -> float:
        return TOUCH_M if pair in self._may_touch else MARGIN_M

    def _pose(self, joints_rad: np.ndarray) -> None:
        self._data.qpos[self._qpos] = joints_rad
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_collision(self._model, self._data)

    def _near(self) -> list[tuple[tuple[int, int], float]]:
        """Return the pairs of geoms, the smaller id first, that are nearer than MARGIN_M, with their distance."""
        if not self._data.ncon:
            return []
        contact = self._data.contact
        pairs = (tuple(sorted(pair)) for pair in contact.geom.tolist())
        return list(zip(pairs, contact.dist.tolist(), strict=True))

    def _name(self, geom: int) -> str:
        body = self._model.geom_bodyid[geom]
        return self._model.body(body).name if body else self._model.geom(geom).name


def guarded(robot: Robot, workspace: Workspace = Workspace()) -> MotionGuard:
    """Return the motion guard as every arm has it, simulated or real: with its distances."""
    return MotionGuard(robot, Clearance(robot, workspace))


def _build(robot: Robot, workspace: Workspace) -> tuple[mujoco.MjModel, list[str]]:
    """Return the model, and the bodies of the fingers."""
    spec = arm_spec(robot)
    for geom in list(spec.geoms):
        if not (geom.contype or geom.conaffinity):
            spec.delete(geom)
    # One margin for every pair; a geom's own would be added to its partner's.
    spec.option.enableflags |= mujoco.mjtEnableBit.mjENBL_OVERRIDE
    spec.option.o_margin = MARGIN_M
    fingers = [joint for joint in spec.joints if joint.name not in robot.joint_names]
    for joint in fingers:
        _sweep(joint)
    if workspace.table_z_m is not None:
        plane = mujoco.mjtGeom.mjGEOM_PLANE
        spec.worldbody.add_geom(name=TABLE, type=plane, size=[1, 1, 0.1], pos=[0, 0, workspace.table_z_m])
    for i, box in enumerate(workspace.obstacles):
        _add_box(spec, f"keep-out box {i}", box)
    return compiled(robot, spec), [joint.parent.name for joint in fingers]


def _sweep(joint: mujoco.MjsJoint) -> None:
    """Grow the boxes of a finger over the travel of its slide joint and leave it in the middle."""
    if joint.type != mujoco.mjtJoint.mjJNT_SLIDE:
        raise ValueError(f"joint {joint.name} of the gripper does not slide")
    axis, (low, high) = np.array(joint.axis), joint.range
    for geom in joint.parent.geoms:
        if geom.type != mujoco.mjtGeom.mjGEOM_BOX or not np.allclose(geom.quat, [1, 0, 0, 0]):
            raise ValueError(f"a finger on {joint.name} is not made of boxes along its axes")
        geom.pos = np.array(geom.pos) + axis * (low + high) / 2
        geom.size = np.array(geom.size) + np.abs(axis) * (high - low) / 2


def _add_box(spec: mujoco.MjSpec, name: str, box: KeepOut) -> None:
    half = np.deg2rad(box.yaw_deg) / 2
    spec.worldbody.add_geom(
        name=name, type=mujoco.mjtGeom.mjGEOM_BOX, pos=box.center_m, size=box.half_m,
        quat=[np.cos(half), 0, 0, np.sin(half)],
    )  # fmt: skip


def _may_touch(model: mujoco.MjModel, fingers: list[str]) -> set[tuple[int, int]]:
    """Return the pairs that may come as near as TOUCH_M: the fingers and the table."""
    if TABLE not in {model.geom(g).name for g in range(model.ngeom)}:
        return set()
    table, bodies = model.geom(TABLE).id, {model.body(name).id for name in fingers}
    tips = [g for g in range(model.ngeom) if model.geom_bodyid[g] in bodies]
    return {(min(g, table), max(g, table)) for g in tips}


def _reach_m(model: mujoco.MjModel, robot: Robot) -> np.ndarray:
    """Return (joints,): no point of the arm is farther from that joint's axis: the links laid end to end."""
    number = {int(model.joint(name).bodyid[0]): i for i, name in enumerate(robot.joint_names)}
    reach = np.zeros(len(number))
    for geom in range(model.ngeom):
        body = int(model.geom_bodyid[geom])
        far = float(np.linalg.norm(model.geom_pos[geom]) + model.geom_rbound[geom])
        while body:
            if body in number:
                reach[number[body]] = max(reach[number[body]], far)
            far += float(np.linalg.norm(model.body_pos[body]))
            body = int(model.body_parentid[body])
    return reach
