"""MuJoCo's tree of boxes in which it looks for what a body touches, laid anew after geoms moved or were switched.

The compiler lays the boxes once, in the frame of the body's inertia; where centre of mass, size or place of a geom
change afterwards, contacts would be missed.
"""

import mujoco
import numpy as np


class Bounds:
    """The tree of one body when only `geoms` of it touch anything."""

    def __init__(self, model: mujoco.MjModel, body: int, geoms: np.ndarray):
        first, count = int(model.body_bvhadr[body]), int(model.body_bvhnum[body])
        leaf_geom, children = model.bvh_nodeid[first : first + count], model.bvh_child[first : first + count]
        worn = np.isin(leaf_geom, geoms)
        for node in reversed(range(count)):  # children come after their parents
            worn[node] |= leaf_geom[node] < 0 and worn[children[node]].any()
        leaf = leaf_geom >= 0
        self._body, self._nodes = body, slice(first, first + count)
        self._branches = first + np.flatnonzero(worn & ~leaf)
        self._leaves = first + np.flatnonzero(worn & leaf)
        self._geoms = leaf_geom[worn & leaf]
        self._turns = np.abs([_rotation(model.geom_quat[geom]) for geom in self._geoms])

    def fit(self, model: mujoco.MjModel) -> None:
        """Lay a box about each geom as it is now, one box about all in the branches above, and none about the rest."""
        centre = model.geom_pos[self._geoms] - model.body_ipos[self._body]
        half = np.einsum("gij,gj->gi", self._turns, model.geom_aabb[self._geoms, 3:])
        low, high = (centre - half).min(axis=0), (centre + half).max(axis=0)
        model.bvh_aabb[self._nodes] = 0.0
        model.bvh_aabb[self._branches] = np.concatenate([(low + high) / 2, (high - low) / 2])
        model.bvh_aabb[self._leaves] = np.hstack([centre, half])


def _rotation(quat: np.ndarray) -> np.ndarray:
    flat = np.empty(9)
    mujoco.mju_quat2Mat(flat, quat)
    return flat.reshape(3, 3)
