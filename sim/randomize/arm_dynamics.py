"""Joint dynamics of an arm in a compiled model, set from randomized terms: for the simulator and for calibration."""

from typing import Protocol

import mujoco
import numpy as np

from sim.robots.robot import Robot


class DynamicsTerms(Protocol):
    """The terms of a `Randomization` that joint dynamics depend on."""

    @property
    def joint_damping(self) -> tuple[float, ...]: ...
    @property
    def joint_armature(self) -> float: ...
    @property
    def joint_friction_nm(self) -> tuple[float, ...]: ...
    @property
    def servo_gain(self) -> float: ...
    @property
    def payload_kg(self) -> float: ...


class ArmDynamics:
    """Remembers a model as it was compiled, and writes into it or into copies of it."""

    def __init__(self, model: mujoco.MjModel, robot: Robot):
        self._dof = np.array([model.joint(name).dofadr[0] for name in robot.joint_names])
        self._actuators = np.array([model.actuator(name).id for name in robot.joint_names])
        self._gripper = model.body("gripper").id
        self._damping = model.dof_damping[self._dof].copy()
        self._armature = model.dof_armature[self._dof].copy()
        self._gain = model.actuator_gainprm[self._actuators].copy()
        self._bias = model.actuator_biasprm[self._actuators].copy()
        self._mass_kg = float(model.body_mass[self._gripper])
        self._inertia = model.body_inertia[self._gripper].copy()

    def apply(self, model: mujoco.MjModel, terms: DynamicsTerms) -> None:
        """Write the terms into a model of the same arm.

        joint_damping (joints,), joint_armature and servo_gain are factors of what was compiled; joint_friction_nm
        (joints,) and payload_kg replace what was there. `mj_setConst` must follow: MuJoCo derives constants of them.
        """
        model.dof_damping[self._dof] = self._damping * np.array(terms.joint_damping)
        model.dof_armature[self._dof] = self._armature * terms.joint_armature
        model.dof_frictionloss[self._dof] = terms.joint_friction_nm
        model.actuator_gainprm[self._actuators] = self._gain * terms.servo_gain
        model.actuator_biasprm[self._actuators] = self._bias * terms.servo_gain
        payload_kg = terms.payload_kg
        model.body_mass[self._gripper] = self._mass_kg + payload_kg
        model.body_inertia[self._gripper] = self._inertia * (1.0 + payload_kg / self._mass_kg)
        # The controller makes up for the weight it is set to, not for this.
        model.body_gravcomp[self._gripper] = self._mass_kg / (self._mass_kg + payload_kg)
