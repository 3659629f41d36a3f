"""Shapes: they stand, the real gripper holds them, they weigh what mechanics says, and a slot changes in place."""

import dataclasses

import mujoco
import numpy as np
import pytest
from fr3 import FR3

from sim.core.errors import UserError
from sim.planning.kinematics import ToolKinematics, tool_down
from sim.scene.meshing import bent_rod, lathe, mass_properties
from sim.scene.object_slot import HIDDEN_GROUP, Slot, add_slot
from sim.scene.parts import STEEL, Shape
from sim.scene.shapes import SHAPES

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
    slot.set_shape(shape, scale=scale, **how)
    mujoco.mj_setConst(model, mujoco.MjData(model))
    return bench


def stand(model: mujoco.MjModel, slot: Slot, height_m: float, yaw_rad: float = 0.0) -> mujoco.MjData:
    data = mujoco.MjData(model)
    turn = [np.cos(yaw_rad / 2), 0, 0, np.sin(yaw_rad / 2)]
    data.joint("slot").qpos[:] = [*SPOT_W, height_m, *turn]
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
    assert np.abs(data.joint("slot").qvel).max() < 0.02


def reach(model, data, goal, opening, seconds):
    """Move the drives' targets along a line in joint space, then rest a quarter of a second."""
    steps, arm = int(seconds / 0.002), [model.actuator(n).id for n in FR3.joint_names]
    start = data.qpos[[model.joint(n).qposadr[0] for n in FR3.joint_names]]
    data.ctrl[model.actuator("gripper").id] = opening * FR3.gripper_stroke_m / 2
    for k in range(steps):
        data.ctrl[arm] = start + (goal - start) * (k + 1) / steps
        mujoco.mj_step(model, data)
    mujoco.mj_step(model, data, 125)


def joints_at(kinematics: ToolKinematics, points_w: list[np.ndarray], yaw: float) -> list[np.ndarray]:
    """Joint angles that bring the tool, pointing down, to each point, each found from the one before."""
    found = [np.array(FR3.home_rad)]
    for point_w in points_w:
        joints = kinematics.inverse(point_w, tool_down(yaw), found[-1])
        assert joints is not None
        found.append(joints)
    return found[1:]


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
        above, low, high = joints_at(kinematics, [grasp + [0, 0, 0.1], grasp, grasp + [0, 0, LIFT_M]], yaw)
        fingers = [model.joint(n).qposadr[0] for n in ("finger_left", "finger_right")]
        data.qpos[[model.joint(n).qposadr[0] for n in FR3.joint_names]] = above
        data.qpos[fingers] = FR3.gripper_stroke_m / 2
        reach(model, data, low, opening=1.0, seconds=0.6)
        before_w = data.xpos[slot.body].copy()
        assert np.linalg.norm(before_w[:2] - SPOT_W) < 0.001, "the open fingers pushed it"
        reach(model, data, low, opening=0.0, seconds=0.5)
        assert data.qpos[fingers].sum() == pytest.approx(scale * shape.grasp_width_m, abs=GRIPPED)
        reach(model, data, high, opening=0.0, seconds=0.6)
        mujoco.mj_step(model, data, SETTLE_STEPS)
        risen = data.xpos[slot.body] - before_w
        assert risen[2] == pytest.approx(LIFT_M, abs=0.005)
        assert np.linalg.norm(risen[:2]) < 0.006
        assert tilt_deg(data, slot) < 5.0


# ---- what a slot wears ---------------------------------------------------------------------------


def rest_after(model: mujoco.MjModel, slot: Slot, shape: str, seconds: float = 0.3) -> np.ndarray:
    data = stand(model, slot, SHAPES[shape].half_height_m + 0.01, 0.2)
    data.joint("slot").qvel[4] = 1.0
    mujoco.mj_step(model, data, int(seconds / 0.002))
    return data.qpos.copy()


def test_worn_again_it_is_the_same_body_bit_for_bit(table):
    model, slot = dress(table, "mug", 0.93, mass_kg=0.11)
    first = rest_after(model, slot, "mug")
    for other in SHAPES:
        dress(table, other, 0.9)
    dress(table, "mug", 0.93, mass_kg=0.11)
    np.testing.assert_array_equal(rest_after(model, slot, "mug"), first)


@pytest.mark.parametrize("name", SHAPES)
def test_a_worn_shape_moves_like_one_compiled_alone(table, name):
    """Oracle: MuJoCo's own compiler, given the scaled shape and its inertia."""
    shape, scale, mass = SHAPES[name], 0.9, 0.1
    spec = mujoco.MjSpec()
    body = spec.worldbody.add_body(
        name="slot", mass=mass, ipos=scale * shape.com_m, inertia=mass * scale**2 * shape.inertia_per_kg,
        explicitinertial=1,
    )  # fmt: skip
    body.add_freejoint(name="slot")
    dataclasses.replace(shape, max_scale=scale).add(spec, body, "slot")
    alone = spec.compile()
    used, slot = dress(table, name, scale, mass_kg=mass)
    np.testing.assert_allclose(used.body_inertia[slot.body], alone.body_inertia[1], rtol=1e-9)
    poses = []
    for model in (alone, used):
        data = mujoco.MjData(model)
        data.joint("slot").qpos[:] = [*SPOT_W, 0.5, 1, 0, 0, 0]
        data.qvel[:] = [0.1, 0.2, 1.0, 2.0, -3.0, 4.0]
        model.opt.timestep, model.opt.integrator = 0.002, mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        mujoco.mj_step(model, data, 60)
        names = shape.geom_names("slot")
        geoms = [model.geom(n).id for n in names]
        corners = np.concatenate([data.geom_xpos[geoms].ravel(), data.geom_xmat[geoms].ravel()])
        poses.append(np.concatenate([data.joint("slot").qpos, corners, model.geom_size[geoms].ravel()]))
    np.testing.assert_allclose(poses[1], poses[0], atol=1e-6)


def test_inertia_of_a_worn_cube_is_that_of_a_solid_one_times_the_factor(table):
    model, slot = dress(table, "cube", 1.2, mass_kg=0.1, inertia=1.3)
    np.testing.assert_allclose(model.body_inertia[slot.body], 1.3 * 0.1 * 0.048**2 / 6, rtol=1e-9)
    assert model.body_mass[slot.body] == 0.1


def test_only_the_worn_shape_touches_and_shows(table):
    model, slot = dress(table, "bowl")
    on = np.flatnonzero((model.geom_contype > 0) & (model.geom_bodyid == slot.body))
    np.testing.assert_array_equal(np.sort(on), np.sort(slot.touched("bowl")))
    shown = np.flatnonzero((model.geom_group != HIDDEN_GROUP) & (model.geom_bodyid == slot.body))
    np.testing.assert_array_equal(shown, np.sort(slot.geoms["bowl"]))


def drawn(model: mujoco.MjModel, slot: Slot, shape: str, scale: float, renderer: mujoco.Renderer) -> np.ndarray:
    """Where `shape`, seen from straight above, covers the black ground: (H, W) bool."""
    slot.set_shape(shape, scale=scale)
    slot.paint(shape, (1.0, 1.0, 1.0))
    for mesh in slot.shown_meshes:
        mujoco.mjr_uploadMesh(model, renderer._mjr_context, mesh)
    data = stand(model, slot, 0.1)
    mujoco.mj_kinematics(model, data)
    camera = mujoco.MjvCamera()
    camera.lookat[:], camera.distance, camera.elevation = [*SPOT_W, 0.1], 0.4, -90
    option = mujoco.MjvOption()
    option.geomgroup[:] = [0, 0, 1, 0, 0, 0]
    renderer.update_scene(data, camera, option)
    return renderer.render().max(axis=2) > 20


@pytest.mark.parametrize("name", ["ball", "bowl", "can"])
def test_a_picture_shows_the_scale_that_is_felt(table, name):
    model, slot = table
    renderer = mujoco.Renderer(model, 128, 128)
    areas = [drawn(model, slot, name, scale, renderer).sum() for scale in (1.0, 0.8)]
    renderer.close()
    assert areas[1] / areas[0] == pytest.approx(0.64, abs=0.05)  # perspective takes a little


def test_paint_leaves_steel_and_paper_alone(table):
    model, slot = dress(table, "screwdriver")
    slot.paint("screwdriver", (0.1, 0.2, 0.3))
    handle, shaft = slot.geoms["screwdriver"][:2]
    np.testing.assert_allclose(model.geom_rgba[handle], [0.1, 0.2, 0.3, 1.0], rtol=1e-6)
    np.testing.assert_allclose(model.geom_rgba[shaft, :3], STEEL, rtol=1e-6)


def test_what_a_slot_cannot_wear_is_named(table):
    _, slot = table
    with pytest.raises(UserError, match="did you mean 'mug'"):
        slot.set_shape("mugg")
    with pytest.raises(UserError, match=r"scale=1\.3 of a bowl: expected more than 0, at most 1\.1"):
        slot.set_shape("bowl", scale=1.3)
    with pytest.raises(UserError, match="unknown shape 'teapot'"):
        add_slot(mujoco.MjSpec(), "slot", ["teapot"], [0, 0, 0])
    with pytest.raises(ValueError, match="has its shape already"):
        Slot(table[0], "slot", list(SHAPES))


# ---- meshes and masses ---------------------------------------------------------------------------


def test_inertia_of_a_turned_cylinder_is_the_textbook_one():
    radius, height = 0.02, 0.05
    rod = lathe([(0, 0), (radius, 0), (radius, height), (0, height)], segments=300)
    mass, centre, inertia = mass_properties([(rod, 1000.0)])
    assert mass == pytest.approx(1000 * np.pi * radius**2 * height, rel=1e-3)
    np.testing.assert_allclose(centre, [0, 0, height / 2], atol=1e-9)
    across = (3 * radius**2 + height**2) / 12
    np.testing.assert_allclose(inertia / mass, np.diag([across, across, radius**2 / 2]), rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize("name", [name for name, shape in SHAPES.items() if shape.parts[0].mesh is not None])
def test_surfaces_are_closed_face_outwards_and_cost_little(name):
    meshes = [part.mesh for part in SHAPES[name].parts if part.mesh is not None]
    assert sum(len(mesh.faces) for mesh in meshes) <= 600
    for mesh in meshes:
        a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
        area = np.cross(b - a, c - a) / 2
        np.testing.assert_allclose(area.sum(axis=0), 0, atol=1e-9)  # a closed surface has no net area
        assert (np.einsum("fi,fki->fk", area, mesh.normals[mesh.faces]) > 0).all()
        assert np.einsum("fi,fi->", a, area) > 0  # three times the volume


def test_a_closed_bent_rod_has_the_volume_of_its_length():
    arc = [(0.02 * np.cos(a), 0.02 * np.sin(a)) for a in np.linspace(0, np.pi, 80)]
    mass, centre, _ = mass_properties([(bent_rod(arc, 0.003, sides=60), 1.0)])
    assert mass == pytest.approx(np.pi * 0.02 * np.pi * 0.003**2, rel=5e-3)  # Pappus
    assert centre[1] == pytest.approx(0.0, abs=1e-9) and centre[2] > 0.012


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_figures_fit_the_gripper(shape):
    assert shape.max_scale * shape.grasp_width_m <= 0.0661
    assert 0.020 <= 2 * shape.half_height_m <= 0.160
    assert shape.max_scale * (shape.half_height_m - shape.grasp_height_m) <= 0.065, "under the palm"
    outlines = [np.hypot(*part.mesh.vertices[:, :2].T).max() for part in shape.parts if part.mesh is not None]
    assert max(outlines, default=0.0) <= shape.radius_m + 1e-9
    low = shape.half_height_m + shape.grasp_height_m
    assert 0.85 * low >= 0.010, "the fingers end 10 mm below the tool point"
    assert np.abs(shape.com_m).max() < 0.015
    assert shape.inertia_per_kg.max() < np.sum(np.sort(shape.inertia_per_kg)[:2]), "no rigid body has such moments"


# ---- contacts ------------------------------------------------------------------------------------


def probed(spec: mujoco.MjSpec) -> mujoco.MjModel:
    """With a hand of three small boxes that can be put anywhere."""
    probe = spec.worldbody.add_body(name="probe", mocap=True)
    for k in range(3):
        probe.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.004, 0.011, 0.015], pos=[0.012 * k, 0, 0])
    return spec.compile()


def gaps(model: mujoco.MjModel, places: np.ndarray) -> list[np.ndarray]:
    """Depths of all contacts of the slot with the probe at each place (x y z qw qx qy qz), in order."""
    data, found = mujoco.MjData(model), []
    data.qpos[-7:] = [0, 0, 0.5, 1, 0, 0, 0]
    for place in places:
        data.mocap_pos[0], data.mocap_quat[0] = place[:3] + [0, 0, 0.5], place[3:] / np.linalg.norm(place[3:])
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_collision(model, data)
        found.append(np.sort(data.contact.dist))
    return found


@pytest.mark.parametrize("name", SHAPES)
def test_a_worn_shape_is_touched_wherever_the_shape_compiled_alone_is(name):
    """Oracle: the scaled shape alone, every pair of geoms tried; the slot has MuJoCo's tree of bounding boxes."""
    shape, scale = SHAPES[name], 0.85
    rng = np.random.default_rng(5)
    places = np.column_stack([rng.uniform(-1, 1, (300, 3)) * [0.06, 0.06, 0.06], rng.normal(size=(300, 4))])
    spec = mujoco.MjSpec()
    add_slot(spec, "slot", list(SHAPES), [0, 0, 0])
    used = probed(spec)
    slot = Slot(used, "slot", list(SHAPES))
    for other in (*SHAPES, name):
        slot.set_shape(other, scale=scale)
    spec = mujoco.MjSpec()
    body = spec.worldbody.add_body(name="slot", mass=0.1, inertia=[1e-4] * 3, explicitinertial=True)
    body.add_freejoint()
    dataclasses.replace(shape, max_scale=scale).add(spec, body, "slot")
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE
    expected = gaps(probed(spec), places)
    assert sum(len(depths) > 0 for depths in expected) > 15
    for depths, right in zip(gaps(used, places), expected, strict=True):
        assert len(depths) == len(right)
        # The deepest alone: of faces nearly flat on one another rounding decides which further points MuJoCo takes.
        np.testing.assert_allclose(depths[:1], right[:1], atol=1e-6)  # its ccd_tolerance
