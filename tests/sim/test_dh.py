"""The DH chain against MuJoCo's own kinematics of the same arm."""

import mujoco
import numpy as np
import pytest
from fr3 import FR3

from sim.control.dh import frames, jacobian


@pytest.fixture(scope="module")
def arm():
    model = mujoco.MjModel.from_xml_path(str(FR3.mjcf))
    return model, mujoco.MjData(model)


@pytest.mark.parametrize("seed", range(5))
def test_tool_and_jacobian_are_those_of_the_model(arm, seed):
    model, data = arm
    joints = np.random.default_rng(seed).uniform(FR3.position_min_rad, FR3.position_max_rad)
    address = [model.joint(name).qposadr[0] for name in FR3.joint_names]
    data.qpos[address] = joints
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    site = model.site("tcp").id
    links = frames(FR3.dh_m, joints)
    tcp = (links[-1] @ [*FR3.tcp_from_flange_m, 1.0])[:3]
    np.testing.assert_allclose(tcp, data.site_xpos[site], atol=1e-5)
    np.testing.assert_allclose(links[-1][:3, :3], data.site_xmat[site].reshape(3, 3), atol=1e-5)
    moved, turned = np.zeros((3, model.nv)), np.zeros((3, model.nv))
    mujoco.mj_jacSite(model, data, moved, turned, site)
    dofs = [model.joint(name).dofadr[0] for name in FR3.joint_names]
    np.testing.assert_allclose(jacobian(links, tcp), np.vstack([moved, turned])[:, dofs], atol=1e-5)
