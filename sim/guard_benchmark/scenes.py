"""Motions in clutter, with and without the guard, against a dense simulation of where the arm really goes.

The truth shares nothing with the guard's distances but the MJCF: the servo layer plays what was sent at
125 Hz until the policy falls silent at a drawn moment, from every policy period an emergency stop is
played out in 2 ms steps, and MuJoCo's own collision pass looks at the whole arm, its fingers at a drawn
opening, every 2 mm. All in the base frame, m.
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from sim.control.servo import Servo
from sim.core.contract import Observation
from sim.guard.clearance import MARGIN_M, Clearance
from sim.guard.motion_guard import MotionGuard
from sim.guard.workspace import KeepOut, Workspace
from sim.robots.robot import Robot

MOST_BOXES = 6
FINE_RAD = 0.002  # between two looks of the truth: 2 mm at a metre
FAR_M = 0.030  # up to here the truth knows how near the arm came
REST_TICKS = 40
EMERGENCY_DT_S = 0.002


@dataclass(frozen=True)
class ClutteredMotion:
    """A bench, where the motion begins, what is asked for and when the policy falls silent."""

    workspace: Workspace
    start: np.ndarray  # (D,)
    asked: np.ndarray  # (n, D)


@dataclass(frozen=True)
class Outcome:
    """How near to something the arm came, m (FAR_M: not near), without and with the guard's distances."""

    unguarded_m: float
    guarded_m: float
    intervened: bool

    @property
    def would_collide(self) -> bool:
        return self.unguarded_m < 0


class Truth:
    """The arm and its bench as MuJoCo compiles them, every collision geom as it is."""

    def __init__(self, robot: Robot, workspace: Workspace, opening: float):
        spec = mujoco.MjSpec.from_file(str(robot.mjcf))
        for geom in list(spec.geoms):
            geom.margin = FAR_M / 2
        if workspace.table_z_m is not None:
            spec.worldbody.add_geom(
                type=mujoco.mjtGeom.mjGEOM_BOX, size=[2, 2, 0.1], pos=[0, 0, workspace.table_z_m - 0.1],
                margin=FAR_M / 2,
            )  # fmt: skip
        for box in workspace.obstacles:
            half = np.deg2rad(box.yaw_deg) / 2
            spec.worldbody.add_geom(
                type=mujoco.mjtGeom.mjGEOM_BOX, size=box.half_m, pos=box.center_m,
                quat=[np.cos(half), 0, 0, np.sin(half)], margin=FAR_M / 2,
            )  # fmt: skip
        self._model = spec.compile()
        self._data = mujoco.MjData(self._model)
        self._joints = [self._model.joint(name).qposadr[0] for name in robot.joint_names]
        self._robot = robot
        fingers = np.setdiff1d(np.arange(self._model.nq), self._joints)
        self._data.qpos[fingers] = opening * robot.gripper_stroke_m / 2

    def nearest_m(self, joints_rad: np.ndarray) -> float:
        """Return the distance of the nearest pair, at most FAR_M; negative when two overlap."""
        self._data.qpos[self._joints] = joints_rad
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_collision(self._model, self._data)
        return min(float(self._data.contact.dist.min()), FAR_M) if self._data.ncon else FAR_M

    def tool_m(self, joints_rad: np.ndarray) -> np.ndarray:
        """Return (3,) the tool point."""
        self._data.qpos[self._joints] = joints_rad
        mujoco.mj_kinematics(self._model, self._data)
        return self._data.site("tcp").xpos.copy()

    def along_m(self, way: np.ndarray) -> float:
        """Return the nearest on a way (n, joints), looked at every FINE_RAD."""
        nearest = self.nearest_m(way[0])
        for a, b in zip(way[:-1], way[1:], strict=True):
            looks = int(np.ceil(np.abs(b - a).sum() / FINE_RAD))
            for k in range(1, looks + 1):
                nearest = min(nearest, self.nearest_m(a + (b - a) * (k / looks)))
        return nearest


def draw(robot: Robot, rng: np.random.Generator) -> tuple[ClutteredMotion, Truth]:
    """Draw a straight joint motion past the table and 0 to MOST_BOXES boxes; its start keeps the guard's margin."""
    joints, low, high = robot.joints, np.array(robot.position_min_rad), np.array(robot.position_max_rad)
    bare = Truth(robot, Workspace(table_z_m=0.0), 0.5)
    while True:
        start = rng.uniform(low, high)
        if bare.nearest_m(start) < MARGIN_M:
            continue
        goal = np.clip(start + rng.uniform(-1, 1, joints) * rng.uniform(0.1, 1.2), low, high)
        boxes = tuple(_box(rng, bare, start, goal) for _ in range(rng.integers(MOST_BOXES + 1)))
        # The tool's box is not what is measured here.
        workspace = Workspace((-2.0, -2.0, -2.0), (2.0, 2.0, 2.0), 0.0, boxes)
        truth = Truth(robot, workspace, rng.random())
        if truth.nearest_m(start) >= MARGIN_M:
            return ClutteredMotion(workspace, np.array([*start, 1.0]), _stream(robot, rng, start, goal)), truth


def _box(rng: np.random.Generator, bare: Truth, start: np.ndarray, goal: np.ndarray) -> KeepOut:
    near = bare.tool_m(start + rng.random() * 1.3 * (goal - start)) + rng.normal(size=3) * 0.1
    half = rng.uniform(0.01, 0.08, 3)
    return KeepOut(tuple(near.tolist()), tuple(half.tolist()), float(rng.uniform(0, 180)))


def _stream(robot: Robot, rng: np.random.Generator, start: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Return (n, D) targets on the straight way at a drawn speed, which end abruptly: the policy falls silent."""
    step = rng.uniform(0.2, 1.0) * robot.policy_speed_rad_s * robot.control_period_s
    n = max(int(np.abs(goal - start).max() / step), 1)
    n = min(n, int(rng.integers(1, 2 * n + 1)))
    shares = np.arange(1, n + 1)[:, None] / max(np.abs(goal - start).max() / step, 1.0)
    joints = start + shares * (goal - start)
    return np.column_stack([joints, np.ones(n)]).astype(np.float32)


def judge(robot: Robot, scene: ClutteredMotion, truth: Truth, upcoming: int) -> Outcome:
    """Play the scene without and with distances; `upcoming` is how many targets ahead the guard is told."""
    bare, full = MotionGuard(robot), MotionGuard(robot, Clearance(robot, scene.workspace))
    unguarded = _play(robot, bare, scene, truth, 0)
    guarded = _play(robot, full, scene, truth, upcoming)
    intervened = any(reason.startswith(("slowed", "stopped")) for reason in full.report.counts)
    return Outcome(unguarded, guarded, intervened)


def _play(robot: Robot, guard: MotionGuard, scene: ClutteredMotion, truth: Truth, upcoming: int) -> float:
    """Return how near the arm came: on its way, and on the emergency stop from every period."""
    sent = scene.start.astype(np.float32)
    guard.reset(sent)
    servo = Servo(robot)
    servo.reset(sent[: robot.joints])
    way, nearest, ticks = [servo.position_rad], FAR_M, 0
    for k, asked in enumerate(scene.asked):
        ahead = scene.asked[k + 1 : k + 1 + upcoming]
        sent = guard.check(Observation({}, sent, "", 0.0), asked, ahead)
        servo.set_target(sent[: robot.joints])
        while (ticks + 1) * robot.servo_period_s <= (k + 1) * robot.control_period_s + 1e-9:
            way.append(servo.tick())
            ticks += 1
        nearest = min(nearest, truth.along_m(_emergency(robot, servo.position_rad, servo.velocity_rad_s)))
    way += [servo.tick() for _ in range(REST_TICKS)]
    return min(nearest, truth.along_m(np.array(way)))


def _emergency(robot: Robot, position: np.ndarray, speed: np.ndarray) -> np.ndarray:
    """Return (n, joints), every joint braking evenly by itself, integrated in time; distances of the data sheet at full
    speed, the torque that gives them at any."""
    full = np.array(robot.max_speed_rad_s)
    braking = full * full / (2 * np.array(robot.stop_distance_rad))
    way, position, speed = [position], position.copy(), speed.copy()
    while np.abs(speed).max() > 0:
        slower = np.sign(speed) * np.maximum(np.abs(speed) - braking * EMERGENCY_DT_S, 0)
        position = position + (speed + slower) / 2 * EMERGENCY_DT_S
        speed = slower
        way.append(position)
    return np.array(way)
