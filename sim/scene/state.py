"""One moment of an episode, as the simulator knows it: what tasks judge and planners plan from."""

from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np

from sim.core.contract import HOLDING_OPENING, IN_HAND_M
from sim.scene.build import Scene
from sim.scene.layout import Layout

UPRIGHT = 0.98  # cosine of the lean


@dataclass
class SceneState:
    """The scene, its physics and the episode's layout. Positions are in the world frame, m.

    memory: what the task remembers of the episode so far (`Task.remember`).
    """

    scene: Scene
    data: mujoco.MjData
    layout: Layout
    memory: Any = None

    @property
    def tool_pos_w(self) -> np.ndarray:
        """Return the tool point (3,)."""
        return self.data.site_xpos[self.scene.tcp_site].copy()

    @property
    def opening(self) -> float:
        """Return how far the gripper is open, 0 to 1."""
        left, right = self.data.qpos[self.scene.finger_qpos].tolist()
        return min(max(0.5 * (left + right) / self.scene.finger_travel_m, 0.0), 1.0)

    def object_pos_w(self, i: int) -> np.ndarray:
        """Return the centre (3,) of object `i`."""
        return self.data.xpos[self.scene.objects[i]].copy()

    def object_rotation_w(self, i: int) -> np.ndarray:
        """Return the axes (3, 3) of object `i`, as columns."""
        return self.data.xmat[self.scene.objects[i]].reshape(3, 3)

    def object_yaw_rad(self, i: int) -> float:
        """Return how object `i` is turned, by the side that lies flattest: a cube may have tumbled."""
        rotation = self.object_rotation_w(i)
        x, y, _ = rotation[:, 0] if abs(rotation[2, 0]) < 0.5 else rotation[:, 1]
        return float(np.arctan2(y, x))

    def object_at(self, point_w: np.ndarray) -> int | None:
        """Return the object whose centre is at this point, None where none is."""
        near = np.isclose(self.data.xpos[self.scene.objects], point_w, atol=1e-3).all(axis=1)
        return int(near.argmax()) if near.any() else None

    def is_upright(self, i: int) -> bool:
        """Return whether object `i` stands on its foot; one without a top, as a cube or a book, always does."""
        return not self.scene.slots[i].has_top or bool(self.object_rotation_w(i)[2, 2] >= UPRIGHT)

    def target_pos_w(self, i: int) -> np.ndarray:
        """Return the origin (3,) of target `i`, on the table."""
        return self.data.xpos[self.scene.targets[i]].copy()

    def half_height_m(self, i: int) -> float:
        """Return the height of object `i`'s centre above what it stands on."""
        return self.scene.slots[i].half_height_m

    def speed_m_s(self, i: int) -> float:
        """Return how fast object `i` moves."""
        first = self.scene.object_dof[i]
        return float(np.linalg.norm(self.data.qvel[first : first + 3]))

    def is_held(self, i: int) -> bool:
        """Return whether a pad of the gripper touches object `i`."""
        pairs = self.data.contact.geom[: self.data.ncon]
        touched = np.isin(pairs, self.scene.object_geoms[i]).any(axis=1)
        return bool(np.isin(pairs[touched], self.scene.pads).any())

    def is_in_hand(self, i: int) -> bool:
        """Return whether the fingers are closed around object `i`: by its place alone, as an onlooker sees it."""
        away_m = float(np.linalg.norm(self.object_pos_w(i) - self.tool_pos_w))
        return self.opening < HOLDING_OPENING and away_m < IN_HAND_M

    def touched_bodies(self) -> np.ndarray:
        """Return the things, as the bodies that stand in the world, that any part of the arm or gripper touches."""
        model, pairs = self.scene.model, self.data.contact.geom[: self.data.ncon]
        roots = model.body_rootid[model.geom_bodyid[pairs]]
        partners = roots[(roots == self.scene.base).any(axis=1)]
        return np.unique(partners[partners != self.scene.base])

    def is_touched_by_arm(self, body: int) -> bool:
        """Return whether any part of the arm or gripper touches a body."""
        bodies = self.scene.model.geom_bodyid[self.data.contact.geom[: self.data.ncon]]
        partners = bodies[(bodies == body).any(axis=1)]
        return bool((self.scene.model.body_rootid[partners] == self.scene.base).any())
