"""The arm alone, without contacts and bench: the model that the dynamics are fitted with."""

import copy
from types import SimpleNamespace
from typing import cast

import mujoco

from sim.randomize.arm_dynamics import ArmDynamics, DynamicsTerms
from sim.robots.robot import Robot
from sim.scene.build import PHYSICS_DT_S


class BareArm:
    """The arm with a rigid open gripper: no contacts, one degree of freedom per joint, the simulator's options."""

    def __init__(self, robot: Robot):
        spec = mujoco.MjSpec.from_file(str(robot.mjcf))
        whole = spec.compile()
        spec.option.timestep = PHYSICS_DT_S
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        arm = set(robot.joint_names)
        for kind in (spec.keys, spec.equalities, spec.tendons, spec.geoms, spec.meshes, spec.excludes):
            for part in list(kind):
                spec.delete(part)
        for part in [*spec.actuators, *spec.joints]:
            if part.name not in arm:
                spec.delete(part)
        for joint in robot.joint_names:
            spec.add_sensor(
                name=joint, type=mujoco.mjtSensor.mjSENS_JOINTPOS, objtype=mujoco.mjtObj.mjOBJ_JOINT, objname=joint
            )
        self.spec = spec
        self._model = spec.compile()
        # MuJoCo derives velocity gains from inertia (dampratio), to which sliding fingers contribute differently than
        # rigid ones: 1e-3 of J2's gain, which is 4 % of its damping.
        for joint in robot.joint_names:
            self._model.actuator(joint).biasprm = whole.actuator(joint).biasprm
        self._dynamics = ArmDynamics(self._model, robot)
        self._scratch = mujoco.MjData(self._model)

    def model_with(self, values: dict) -> mujoco.MjModel:
        """Return a copy of the model with the given dynamics."""
        model = copy.copy(self._model)
        self._dynamics.apply(model, cast(DynamicsTerms, SimpleNamespace(**values)))
        mujoco.mj_setConst(model, self._scratch)
        return model
