"""Joint dynamics of an arm in a compiled model, set from randomized terms: for the simulator and for calibration."""

from collections.abc import Mapping

import mujoco
import numpy as np

from sim.robots.robot import Robot


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

    def apply(self, model: mujoco.MjModel, values: Mapping) -> None:
        """joint_damping (joints,), joint_armature and servo_gain are factors of what was compiled; joint_friction_nm
        (joints,) and payload_kg replace what was there. `mj_setConst` must follow: MuJoCo derives constants of them.
        """
        model.dof_damping[self._dof] = self._damping * np.array(values["joint_damping"])
        model.dof_armature[self._dof] = self._armature * values["joint_armature"]
        model.dof_frictionloss[self._dof] = values["joint_friction_nm"]
        model.actuator_gainprm[self._actuators] = self._gain * values["servo_gain"]
        model.actuator_biasprm[self._actuators] = self._bias * values["servo_gain"]
        payload_kg = values["payload_kg"]
        model.body_mass[self._gripper] = self._mass_kg + payload_kg
        model.body_inertia[self._gripper] = self._inertia * (1.0 + payload_kg / self._mass_kg)
        # The controller makes up for the weight it was told of, not for this.
        model.body_gravcomp[self._gripper] = self._mass_kg / (self._mass_kg + payload_kg)
