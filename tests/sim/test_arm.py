"""The FR3 model against numbers of the manual and data sheet, typed out here, and a closed-form DH chain."""

import importlib.util
import itertools
from pathlib import Path

import mujoco
import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "fr3_mjcf"
ARM, BOTH = FOLDER / "fr3.xml", FOLDER / "fr3_gripper.xml"
JOINTS = ["j1", "j2", "j3", "j4", "j5", "j6"]

# q (deg), flange position (mm), rx ry rz (deg); None where ry = 90 makes rx and rz free.
POSES = [
    ([0, 0, 0, 0, 0, 0], [-520, -202, 38], [90, 0, 0]),
    ([0, -90, 0, 0, 0, 0], [-102, -202, 660], None),
    ([0, -90, 90, -90, -90, 0], [-342, -102, 320], [180, 0, 90]),
    ([0, -90, -90, -90, 90, 0], [342, -102, 320], [180, 0, -90]),
    ([0, -60, 90, -120, -90, 0], [-449.85, -102, 162.49], [180, 0, 90]),
    ([90, -90, -90, -90, 90, 0], [102, 342, 320], [180, 0, 0]),
    ([10, -80, 100, -110, -85, 15], [-351.21, -174.35, 234.04], [178.70, 4.83, 84.95]),
]
MASSES_KG = {
    "base": 1.9,
    "shoulder": 2.24,
    "upperarm": 4.94,
    "forearm": 2.29,
    "wrist1": 1.56,
    "wrist2": 1.56,
    "wrist3": 0.36,
}
LIMITS_DEG = [(-175, 175), (-265, 85), (-150, 150), (-265, 85), (-175, 175), (-175, 175)]
TORQUE_NM = [150, 150, 150, 28, 28, 28]


@pytest.fixture(scope="module")
def arm():
    return mujoco.MjModel.from_xml_path(str(ARM))


@pytest.fixture(scope="module")
def both():
    return mujoco.MjModel.from_xml_path(str(BOTH))


def forward(model, q_deg, finger_m=0.0):
    data = mujoco.MjData(model)
    data.qpos[:6] = np.deg2rad(q_deg)
    data.qpos[6:] = finger_m
    mujoco.mj_forward(model, data)
    return data


def rotation(rx, ry, rz):
    """Rz·Ry·Rx from degrees, the controller's convention."""
    (a, b, c), (x, y, z) = np.cos(np.deg2rad([rx, ry, rz])), np.sin(np.deg2rad([rx, ry, rz]))
    about_x = np.array([[1, 0, 0], [0, a, -x], [0, x, a]])
    about_y = np.array([[b, 0, y], [0, 1, 0], [-y, 0, b]])
    about_z = np.array([[c, -z, 0], [z, c, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def dh_flange(q_rad):
    """Classic DH with the manual's table: a, d in m, alpha in rad."""
    a = [0, -0.280, -0.240, 0, 0, 0]
    d = [0.140, 0, 0, 0.102, 0.102, 0.100]
    alpha = [np.pi / 2, 0, 0, np.pi / 2, -np.pi / 2, 0]
    pose = np.eye(4)
    for ai, di, al, q in zip(a, d, alpha, q_rad, strict=True):
        c, s, ca, sa = np.cos(q), np.sin(q), np.cos(al), np.sin(al)
        pose = pose @ [[c, -s * ca, s * sa, ai * c], [s, c * ca, -c * sa, ai * s], [0, sa, ca, di], [0, 0, 0, 1]]
    return pose


@pytest.mark.parametrize(("q_deg", "position_mm", "rpy_deg"), POSES)
def test_flange_pose_equals_the_reference_vectors(arm, q_deg, position_mm, rpy_deg):
    flange = forward(arm, q_deg).site("flange")
    np.testing.assert_allclose(flange.xpos * 1e3, position_mm, atol=0.01)
    if rpy_deg is not None:
        np.testing.assert_allclose(flange.xmat.reshape(3, 3), rotation(*rpy_deg), atol=2e-4)  # angles given to 0.01°


def test_gimbal_pose_has_ry_90(arm):
    flange = forward(arm, [0, -90, 0, 0, 0, 0]).site("flange")
    assert flange.xmat.reshape(3, 3)[2, 0] == pytest.approx(-1, abs=1e-9)


def test_flange_pose_equals_dh_closed_form_everywhere(arm):
    rng = np.random.default_rng(3)
    low, high = np.array(LIMITS_DEG).T
    for q_deg in rng.uniform(low, high, (50, 6)):
        flange = forward(arm, q_deg).site("flange")
        expected = dh_flange(np.deg2rad(q_deg))
        np.testing.assert_allclose(flange.xpos, expected[:3, 3], atol=1e-9)
        np.testing.assert_allclose(flange.xmat.reshape(3, 3), expected[:3, :3], atol=1e-9)


def test_masses(arm):
    for body, mass in MASSES_KG.items():
        assert arm.body(body).mass[0] == pytest.approx(mass), body
    assert arm.body_mass.sum() == pytest.approx(14.85, abs=0.1)


def test_long_links_have_the_inertia_of_long_links(arm):
    # A rod of the tube's length alone has m·l²/12; the vendor's URDF is 5 to 15 times below the values used here.
    for body, length_m in (("upperarm", 0.280), ("forearm", 0.240)):
        rod = MASSES_KG[body] * length_m**2 / 12
        assert np.sort(arm.body(body).inertia)[1:].min() > rod


def test_gravity_torque_of_j2_stretched_out(arm):
    # At q = 0 the arm lies along -x. Horizontal distance of each centre of mass from axis 2, by hand.
    lever_m = {"upperarm": 0.1405, "forearm": 0.280 + 0.1810, "wrist1": 0.5199, "wrist2": 0.5201, "wrist3": 0.5206}
    expected = 9.81 * sum(MASSES_KG[b] * x for b, x in lever_m.items())
    assert abs(forward(arm, [0] * 6).qfrc_bias[1]) == pytest.approx(expected, abs=0.01)


def test_worst_gravity_torques_without_load(arm):
    # Largest |torque| over a grid of the joint range; the reference gives one decimal.
    data, torque, worst = mujoco.MjData(arm), np.zeros(6), np.zeros(6)
    for q in itertools.product(range(-265, 86, 15), range(-150, 151, 30), range(-265, 86, 30), (-90, -15, 15, 75)):
        data.qpos[1:5] = np.deg2rad(q)
        mujoco.mj_kinematics(arm, data)
        mujoco.mj_comPos(arm, data)
        mujoco.mj_rne(arm, data, 0, torque)  # at rest: qfrc_bias
        worst = np.maximum(worst, np.abs(torque))
    assert worst[0] == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(worst[1:5], [37.0, 14.4, 2.2, 0.5], atol=0.06)


def test_limits(both):
    for name, (low, high), torque in zip(JOINTS, LIMITS_DEG, TORQUE_NM, strict=True):
        np.testing.assert_allclose(np.rad2deg(both.joint(name).range), [low, high], atol=1e-4)
        np.testing.assert_allclose(np.rad2deg(both.actuator(name).ctrlrange), [low, high], atol=1e-4)
        np.testing.assert_array_equal(both.actuator(name).forcerange, [-torque, torque])
        np.testing.assert_array_equal(both.jnt_actfrcrange[both.joint(name).id], [-torque, torque])
        assert both.joint(name).limited[0] and both.actuator(name).forcelimited[0]


@pytest.mark.parametrize("file", [ARM, BOTH])
@pytest.mark.parametrize("q_deg", [p[0] for p in POSES])
def test_no_self_contact(file, q_deg):
    model = mujoco.MjModel.from_xml_path(str(file))
    for finger_m in (0.0, 0.040):
        assert forward(model, q_deg, finger_m).ncon == 0


def test_self_contact_is_seen(both):
    # Folded on itself the hand runs into the arm: the excludes do not hide everything.
    assert forward(both, [18, -106, -110, 45, -115, -27]).ncon > 0


def test_visual_geoms_never_touch(both):
    for i in range(both.ngeom):
        is_pad = both.geom(i).name.startswith("pad_")
        assert (both.geom_contype[i] == 0) == (both.geom_group[i] == 2 and not is_pad)


def test_light_enough_for_software_rendering(both):
    triangles = sum(
        both.mesh_facenum[both.geom_dataid[i]]
        for i in range(both.ngeom)
        if both.geom_type[i] == mujoco.mjtGeom.mjGEOM_MESH
    )
    assert 1000 < triangles < 4000


@pytest.mark.parametrize("joint", range(6))
def test_servo_follows_a_step_with_little_overshoot(both, joint):
    data = mujoco.MjData(both)
    mujoco.mj_resetDataKeyframe(both, data, both.key("home").id)
    home = data.qpos[:6].copy()
    data.ctrl[joint] += np.deg2rad(2)
    path = []
    for _ in range(round(0.5 / both.opt.timestep)):
        mujoco.mj_step(both, data)
        path.append(np.rad2deg(data.qpos[:6] - home))
    assert np.max(path) < 2 * 1.05
    np.testing.assert_allclose(path[-1], 2.0 * (np.arange(6) == joint), atol=0.02)


def test_gravity_is_compensated(both):
    data = mujoco.MjData(both)
    mujoco.mj_resetDataKeyframe(both, data, both.key("home").id)
    home = data.qpos.copy()
    for _ in range(round(1 / both.opt.timestep)):
        mujoco.mj_step(both, data)
    np.testing.assert_allclose(data.qpos, home, atol=1e-4)
    mujoco.mj_forward(both, data)
    # The motors deliver that compensation: 3 N·m and more at the shoulder, not zero.
    np.testing.assert_allclose(data.qfrc_actuator[:6], data.qfrc_bias[:6], atol=0.05)
    assert abs(data.qfrc_actuator[1]) > 3


def test_tcp_is_160_mm_below_the_flange_and_aligned(both):
    data = forward(both, [20, -70, 80, -60, -70, 30])
    flange, tcp = data.site("flange"), data.site("tcp")
    frame = flange.xmat.reshape(3, 3)
    np.testing.assert_allclose(tcp.xmat, flange.xmat, atol=1e-9)
    np.testing.assert_allclose(frame.T @ (tcp.xpos - flange.xpos), [0, 0, 0.160], atol=1e-9)


def test_pads_close_on_the_tcp_and_open_80_mm_along_its_y(both):
    for finger_m in (0.0, 0.040):
        data = forward(both, [0, -60, 90, -120, -90, 0], finger_m)
        tcp, frame = data.site("tcp").xpos, data.site("tcp").xmat.reshape(3, 3)
        left, right = (frame.T @ (data.geom(f"pad_{side}").xpos - tcp) for side in ("left", "right"))
        thickness = 2 * both.geom("pad_left").size[1]
        assert left[1] - right[1] - thickness == pytest.approx(2 * finger_m, abs=1e-9)
        assert left[1] > 0 > right[1]
        np.testing.assert_allclose(left[[0, 2]], right[[0, 2]], atol=1e-9)
        assert abs(left[2]) < both.geom("pad_left").size[2]  # the tcp lies between the pads


def test_wrist_camera_sees_fingertips_and_table(both):
    data = forward(both, [0, -60, 90, -120, -90, 0], 0.040)
    camera, tcp = data.camera("wrist"), data.site("tcp")
    frame, half = tcp.xmat.reshape(3, 3), np.tan(np.deg2rad(both.camera("wrist").fovy[0]) / 2)
    seen = [data.geom("pad_left").xpos, data.geom("pad_right").xpos, tcp.xpos, tcp.xpos + 0.2 * frame[:, 2]]
    for point in seen:
        x, y, z = camera.xmat.reshape(3, 3).T @ (point - camera.xpos)
        assert z < -0.05 and max(abs(x), abs(y)) < 0.95 * half * -z
        # Nothing stands between the lens and the point but the pads and fingers themselves.
        hit = np.zeros(1, np.int32)
        mujoco.mj_ray(both, data, camera.xpos, point - camera.xpos, np.array([0, 0, 1, 1, 0, 0], np.uint8), 1, -1, hit)
        assert hit[0] < 0 or "finger" in both.body(both.geom_bodyid[hit[0]]).name


def test_gripper_opens_and_closes(both):
    data = mujoco.MjData(both)
    mujoco.mj_resetDataKeyframe(both, data, both.key("home").id)
    for target in (0.0, 0.040, 0.010):
        data.ctrl[6] = target
        for _ in range(round(0.6 / both.opt.timestep)):
            mujoco.mj_step(both, data)
        np.testing.assert_allclose(data.qpos[6:8], target, atol=5e-4)


def test_gripper_holds_a_cube_when_shaken():
    spec = mujoco.MjSpec.from_file(str(BOTH))
    cube = spec.worldbody.add_body(name="cube")
    cube.add_freejoint()
    cube.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.020] * 3, mass=0.1)
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    mujoco.mj_forward(model, data)
    home = data.qpos[:6].copy()
    data.qpos[8:11] = data.site("tcp").xpos
    mujoco.mju_mat2Quat(data.qpos[11:15], data.site("tcp").xmat)
    dt = model.opt.timestep

    def steps(seconds, wave=0.0):
        speed = []
        for i in range(round(seconds / dt)):
            t = i * dt
            swell = wave * np.sin(np.pi * t / seconds) ** 2  # starts and ends at rest
            data.ctrl[:6] = home
            data.ctrl[[0, 1, 3]] += swell * np.sin(2 * np.pi * np.array([2.0, 2.5, 3.0]) * t)
            before = data.body("cube").xpos.copy()
            mujoco.mj_step(model, data)
            speed.append((data.body("cube").xpos - before) / dt)
        return np.abs(np.diff(speed, axis=0)).max() / dt

    def in_hand():
        return data.site("tcp").xmat.reshape(3, 3).T @ (data.body("cube").xpos - data.site("tcp").xpos)

    model.opt.gravity[2] = 0  # the cube floats until the pads have it
    data.ctrl[6] = 0
    steps(0.6)
    model.opt.gravity[2] = -9.81

    def force(pad):
        total, one = 0.0, np.zeros(6)
        for i in range(data.ncon):
            if model.geom(pad).id in data.contact[i].geom:
                mujoco.mj_contactForce(model, data, i, one)
                total += one[0]
        return total

    assert force("pad_left") == pytest.approx(60, abs=3)
    assert force("pad_right") == pytest.approx(60, abs=3)

    start = in_hand()
    steps(1.0)
    np.testing.assert_allclose(in_hand(), start, atol=2e-4)
    assert steps(2.0, wave=0.06) > 4  # m/s²: it was shaken indeed
    np.testing.assert_allclose(in_hand(), start, atol=1e-3)


def test_names_of_the_combined_model_have_no_prefix(both):
    assert [both.joint(i).name for i in range(both.njnt)] == [*JOINTS, "finger_left", "finger_right"]
    assert [both.actuator(i).name for i in range(both.nu)] == [*JOINTS, "gripper"]
    assert {both.site(i).name for i in range(both.nsite)} == {"flange", "tcp"}
    assert [both.camera(i).name for i in range(both.ncam)] == ["wrist"]
    assert {"pad_left", "pad_right"} <= {both.geom(i).name for i in range(both.ngeom)}


def test_home_has_the_tool_straight_down_and_open(both):
    data = mujoco.MjData(both)
    mujoco.mj_resetDataKeyframe(both, data, both.key("home").id)
    mujoco.mj_forward(both, data)
    np.testing.assert_allclose(data.site("tcp").xmat.reshape(3, 3)[:, 2], [0, 0, -1], atol=1e-5)
    assert data.site("tcp").xpos[2] > 0.1  # the fingertips clear the plane the arm stands on
    np.testing.assert_allclose(data.qpos[6:8], 0.040)
    np.testing.assert_allclose(data.ctrl[:6], data.qpos[:6])
    assert data.ncon == 0


def test_combined_file_is_up_to_date():
    found = importlib.util.spec_from_file_location("combine", FOLDER / "combine.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    assert module.combine() == BOTH.read_text(), "run assets/fr3_mjcf/combine.py"


def test_gripper_alone_opens():
    model = mujoco.MjModel.from_xml_path(str(FOLDER / "gripper.xml"))
    assert model.body_mass.sum() == pytest.approx(1.0)
