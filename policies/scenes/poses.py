"""The arm and what it may hold, somewhere in a scene: later looks of an episode without playing one."""

import mujoco
import numpy as np

from policies.scenes.labels import named_points_w
from sim.envs.simulation import Simulation
from sim.planning.kinematics import tool_down
from sim.scene.fixtures import PLATE_TOP_M
from sim.scene.layout import put_object
from sim.scene.shapes import SHAPES

ANYWHERE = "anywhere"
AREA_M = ([-0.45, -0.24], [-0.2, 0.24])  # of the table, x and y
HELD_JITTER_M = (0.006, 0.0, 0.006)  # of an object between the pads, in the tool's frame
SLIDE_SHARE = 0.3  # of scenes in which drawers and buttons are not as the episode has them
UPSIDE = np.diag([1.0, -1.0, -1.0])  # the tool looks down where an object stands upright


def pose_at_random(world: Simulation, rng: np.random.Generator, step: int | None) -> bool:
    """Move the tool near one of the points of the task, or of a step of it, or anywhere, with or without an object;
    return whether it holds one.

    No physics: one layout a look teaches places better than many looks at one.
    """
    _slide(world, rng)
    reached, held = move_arm(world, rng, step)
    if not reached:
        return False
    travel = rng.choice([1.0, 1.0, rng.random()]) * world.scene.finger_travel_m
    if held is not None:
        travel = world.scene.slots[held].grasp_half_width_m
        hold(world, held, rng.normal(0, 1, 3) * HELD_JITTER_M)
    world.data.qpos[world.scene.finger_qpos] = travel
    mujoco.mj_forward(world.scene.model, world.data)
    return held is not None


def move_arm(world: Simulation, rng: np.random.Generator, step: int | None = None) -> tuple[bool, int | None]:
    """Move the tool near one of these points or anywhere: whether it can, and the object to be held there."""
    points_w = named_points_w(world, step)
    place, holding = str(rng.choice([*points_w, ANYWHERE])), rng.random() < 0.5
    centers = {**points_w, ANYWHERE: np.array([*rng.uniform(*AREA_M), 0.0])}
    spread, low_m = 0.04 * rng.random(), 0.03 if place == "target" else 0.015
    pos_w = [*(centers[place][:2] + rng.normal(0, spread, 2)), rng.uniform(low_m, 0.20)]
    home = np.array(world.robot.home_rad)
    joints = world.kinematics.inverse(np.array(pos_w), tool_down(rng.uniform(-np.pi / 2, np.pi / 2)), home)
    if joints is None:
        return False, None
    world.data.qpos[world.scene.arm_qpos] = joints - world.encoder_bias_rad
    held = world.task.graspable(world.scene_state) if step is None else world.scene_state.object_at(points_w["object"])
    return True, held if holding and place != "object" else None


def hold(world: Simulation, i: int, offset_t: np.ndarray) -> None:
    """Put object `i` upright between the pads, `offset_t` (3,) m in the tool's frame from where a grasp is aimed."""
    mujoco.mj_kinematics(world.scene.model, world.data)
    site, slot, pose = world.scene.tcp_site, world.scene.slots[i], np.empty(7)
    tool_w = world.data.site_xmat[site].reshape(3, 3)
    below_m = SHAPES[slot.shape].grasp_height_m * slot.scale
    pose[:3] = world.data.site_xpos[site] + tool_w @ (offset_t + [0.0, 0.0, below_m])
    mujoco.mju_mat2Quat(pose[3:], (tool_w @ UPSIDE).ravel())
    first = world.scene.object_qpos[i]
    world.data.qpos[first : first + 7] = pose


def _slide(world: Simulation, rng: np.random.Generator) -> None:
    """Open drawers and press buttons somewhat, in some scenes."""
    model, fingers = world.scene.model, set(world.scene.finger_qpos.tolist())
    for joint in np.flatnonzero(model.jnt_type == mujoco.mjtJoint.mjJNT_SLIDE):
        if model.jnt_qposadr[joint] not in fingers and rng.random() < SLIDE_SHARE:
            world.data.qpos[model.jnt_qposadr[joint]] = rng.uniform(*model.jnt_range[joint])
    mujoco.mj_kinematics(model, world.data)


def finish_steps(world: Simulation, rng: np.random.Generator) -> None:
    """Do the first few steps of a long task: object `i` stands on target `i`."""
    state, steps = world.scene_state, world.params.layout.subtasks
    for i in range(int(rng.integers(len(steps))) if steps else 0):
        on_w = state.target_pos_w(i) + [*rng.normal(0, 0.008, 2), PLATE_TOP_M + state.half_height_m(i)]
        put_object(world.scene, world.data, i, on_w, rng.uniform(-np.pi, np.pi))
    mujoco.mj_forward(world.scene.model, world.data)
