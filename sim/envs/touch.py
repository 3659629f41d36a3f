"""What the tool feels: the gripper's force, and the force and torque that the world exerts on gripper and fingers.

Simulated is what a FAIRINO arm's state frame holds. `gripper_current` is a percentage of the highest current, in whole
numbers; it gives the force of a finger, in whole percent of the robot's `gripper_force_n`, which is a squeeze once the
fingers no longer move. `ft_sensor_data` is the reading of a force sensor between flange and gripper, with the tool's
weight taken off, in the tool's frame (`FT_SetRCS(0)`). Such a sensor weighs the gripper's own acceleration too, up to
1 N at the speeds of a policy; here that is a part of the noise. An arm without such a sensor tells no touch.
"""

import mujoco
import numpy as np

from sim.core.contract import TOUCH_NAMES
from sim.scene.build import Scene

CURRENT_NOISE = 0.01  # standard deviation, of the highest current
NOISE = np.repeat([0.3, 0.01], 3)  # standard deviation of a reading: N, then N·m
OFFSET = np.repeat([0.5, 0.02], 3)  # standard deviation of the zero point, which drifts from episode to episode


class TouchSensor:
    """Reads a scene's physics as a gripper and a force sensor would."""

    def __init__(self, scene: Scene):
        model = scene.model
        self._scene = scene
        self._bodies = [b for b in range(model.nbody) if scene.gripper in (b, model.body_parentid[b])]
        self._root = model.body_rootid[scene.gripper]
        self._highest = float(model.actuator_forcerange[scene.gripper_actuator, 1])  # as the gripper is, not as drawn

    def begin(self, seed: int) -> None:
        """Begin an episode: draw its zero point, and its noise from then on."""
        self._rng = np.random.default_rng([seed, 3])
        self._offset = self._rng.normal(0.0, OFFSET)

    def read(self, data: mujoco.MjData) -> np.ndarray:
        """Return float32 (7,), of the last physics step, as `TOUCH_NAMES` has it."""
        noise = self._rng.standard_normal(len(TOUCH_NAMES))
        share = abs(data.actuator_force[self._scene.gripper_actuator]) / self._highest + CURRENT_NOISE * noise[0]
        reading = np.empty(len(TOUCH_NAMES), np.float32)
        reading[0] = min(max(round(100 * share), 0), 100) / 100 * self._scene.robot.gripper_force_n
        reading[1:] = self.wrench(data) + self._offset + NOISE * noise[1:]
        return reading

    def wrench(self, data: mujoco.MjData) -> np.ndarray:
        """Return (6,) the true force, N, and torque about the tool point, N·m, seen from the tool."""
        scene = self._scene
        mujoco.mj_rnePostConstraint(scene.model, data)
        spatial = data.cfrc_ext[self._bodies].sum(0)  # torque about the centre of mass of the whole arm, then force
        lever, turning = data.subtree_com[self._root] - data.site_xpos[scene.tcp_site], np.empty(3)
        mujoco.mju_cross(turning, lever, spatial[3:])
        from_tool = data.site_xmat[scene.tcp_site].reshape(3, 3)
        return np.stack([spatial[3:], spatial[:3] + turning]).dot(from_tool).ravel()
