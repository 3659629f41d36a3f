"""Shapes: they stand, they are held by the real gripper, they weigh what mechanics says, and a slot changes in place."""

import mujoco
import numpy as np
import pytest

from sim.errors import UserError
from sim.kinematics import ToolKinematics, tool_down
from sim.meshing import bent_rod, lathe, mass_properties
from sim.robot import FR3
from sim.shapes import SHAPES, Shape
from sim.wardrobe import HIDDEN_GROUP, Slot, add_slot

SPOT_W = np.array([-0.33, 0.06])
GRIPPED, SETTLE_STEPS, LIFT_M = 0.004, 500, 0.08
CASES = [(name, scale) for name, shape in SHAPES.items() for scale in (0.85, 1.0, shape.max_scale)]


def bench(spec: mujoco.MjSpec) -> tuple[mujoco.MjModel, Slot]:
    """A table with a slot on it, physics set as in the scene."""
    for key in list(spec.keys):
        spec.delete(key)
    spec.option.timestep = 0.002
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 5
    spec.worldbody.add_geom(
        name="table", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.45, 0.5, 0.02], pos=[-0.28, 0, -0.02],
        friction=[0.8, 0.005, 0.0001],
    )  # fmt: skip
    add_slot(spec, "slot", list(SHAPES), [0, 0, 0])
    model = spec.compile()
    return model, Slot(model, "slot", list(SHAPES))


def dress(bench: tuple[mujoco.MjModel, Slot], shape: str, scale: float = 1.0, **how) -> tuple[mujoco.MjModel, Slot]:
    model, slot = bench
    slot.wear(shape, scale=scale, **how)
    mujoco.mj_setConst(model, mujoco.MjData(model))
    return bench


def stand(model: mujoco.MjModel, slot: Slot, height_m: float, yaw_rad: float = 0.0) -> mujoco.MjData:
    data = mujoco.MjData(model)
    turn = [np.cos(yaw_rad / 2), 0, 0, np.sin(yaw_rad / 2)]
    data.qpos[slot.qpos : slot.qpos + 7] = [*SPOT_W, height_m, *turn]
    return data


def tilt_deg(data: mujoco.MjData, slot: Slot) -> float:
    return float(np.degrees(np.arccos(np.clip(data.xmat[slot.body][8], -1, 1))))


@pytest.fixture(scope="module")
def table():
    return bench(mujoco.MjSpec())


@pytest.fixture(scope="module")
def arm():
    return bench(mujoco.MjSpec.from_file(str(FR3.mjcf)))


@pytest.fixture(scope="module")
def kinematics():
    return ToolKinematics(FR3)


@pytest.mark.parametrize(("name", "scale"), CASES)
def test_dropped_from_5_mm_it_stands_still(table, name, scale):
    (model, slot), shape = dress(table, name, scale), SHAPES[name]
    half = scale * shape.half_height_m
    data = stand(model, slot, half + 0.005, yaw_rad=0.4)
    mujoco.mj_step(model, data, SETTLE_STEPS)
    assert np.linalg.norm(data.xpos[slot.body][:2] - SPOT_W) < 0.002
    assert tilt_deg(data, slot) < 2.0
    assert data.xpos[slot.body][2] == pytest.approx(half, abs=0.0008)
    assert np.abs(data.qvel[slot.dof : slot.dof + 6]).max() < 0.02


def reach(model, data, kinematics, pos_w, yaw, near, opening, seconds):
    """Move the drives' targets along a line in joint space, then rest a quarter of a second."""
    goal = kinematics.inverse(pos_w, tool_down(yaw), near)
    assert goal is not None
    steps, start = int(seconds / 0.002), near.copy()
    arm = [model.actuator(n).id for n in FR3.joint_names]
    data.ctrl[model.actuator("gripper").id] = opening * FR3.gripper_stroke_m / 2
    for k in range(steps):
        data.ctrl[arm] = start + (goal - start) * (k + 1) / steps
        mujoco.mj_step(model, data)
    mujoco.mj_step(model, data, 125)
    return goal


def grasp_yaws(shape: Shape, body_yaw: float) -> list[float]:
    """Where to turn the fingers, as close to the arm's rest as a half turn allows."""
    yaws = shape.grasp_yaws_rad or (0.0, 0.3, 1.0)
    return [(yaw + body_yaw + np.pi / 2) % np.pi - np.pi / 2 for yaw in yaws]


@pytest.mark.parametrize(("name", "scale"), CASES)
def test_grasped_and_lifted_by_the_gripper_it_stays_in_hand(arm, kinematics, name, scale):
    shape, body_yaw = SHAPES[name], 0.3
    model, slot = dress(arm, name, scale, mass_kg=shape.mass_kg[1])
    for yaw in grasp_yaws(shape, body_yaw):
        half = scale * shape.half_height_m
        data = stand(model, slot, half + 0.0002, body_yaw)
        grasp = np.array([*SPOT_W, half + scale * shape.grasp_height_m])
        above = kinematics.inverse(grasp + [0, 0, 0.1], tool_down(yaw), np.array(FR3.home_rad))
        data.qpos[[model.joint(n).qposadr[0] for n in FR3.joint_names]] = above
        data.qpos[[model.joint(n).qposadr[0] for n in ("finger_left", "finger_right")]] = FR3.gripper_stroke_m / 2
        low = reach(model, data, kinematics, grasp, yaw, above, 1.0, 0.6)
        before_w = data.xpos[slot.body].copy()
        assert np.linalg.norm(before_w[:2] - SPOT_W) < 0.001, "the open fingers pushed it"
        low = reach(model, data, kinematics, grasp, yaw, low, 0.0, 0.5)
        fingers = data.qpos[[model.joint(n).qposadr[0] for n in ("finger_left", "finger_right")]]
        assert fingers.sum() == pytest.approx(scale * shape.grasp_width_m, abs=GRIPPED)
        reach(model, data, kinematics, grasp + [0, 0, LIFT_M], yaw, low, 0.0, 0.6)
        mujoco.mj_step(model, data, SETTLE_STEPS)
        risen = data.xpos[slot.body] - before_w
        assert risen[2] == pytest.approx(LIFT_M, abs=0.005)
        assert np.linalg.norm(risen[:2]) < 0.006
        assert tilt_deg(data, slot) < 8.0
