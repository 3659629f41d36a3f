"""MuJoCo's tree of boxes in which it looks for what a body touches, laid anew over the geoms that are switched on.

The compiler lays the tree once, over all geoms, in the frame of the body's inertia. Where centre of mass, size or
place of a geom change afterwards, contacts would be missed; and geoms that are switched off would still be visited.
"""

import mujoco
import numpy as np


class Bounds:
    """The tree of one body when only `geoms` of it touch anything."""

    def __init__(self, model: mujoco.MjModel, body: int, geoms: np.ndarray):
        """`geoms` were able to touch when the model was compiled, so that its tree has room for them."""
        self._body, self._geoms = body, geoms
        self._turns = np.abs([_rotation(model.geom_quat[geom]) for geom in geoms])
        self._children, self._holds = _tree(len(geoms))
        leaf = self._holds.sum(axis=1) == 1
        self._geom_of_node = np.where(leaf, geoms[self._holds.argmax(axis=1)], -1)
        first = int(model.body_bvhadr[body])
        self._nodes = slice(first, first + len(leaf))
        assert len(leaf) <= model.body_bvhnum[body]

    def fit(self, model: mujoco.MjModel) -> None:
        """Fit the boxes to the geoms where they are now."""
        centre = model.geom_pos[self._geoms] - model.body_ipos[self._body]
        half = np.einsum("gij,gj->gi", self._turns, model.geom_aabb[self._geoms, 3:])
        held = self._holds[:, :, None]
        low = np.where(held, centre - half, np.inf).min(axis=1)
        high = np.where(held, centre + half, -np.inf).max(axis=1)
        model.bvh_aabb[self._nodes] = np.hstack([(low + high) / 2, (high - low) / 2])
        model.bvh_child[self._nodes] = self._children
        model.bvh_nodeid[self._nodes] = self._geom_of_node


def _tree(leaves: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the children (nodes, 2), -1 of a leaf, and which leaves each node holds (nodes, leaves); the root first.

    Each branch halves its leaves, neighbours in a list of parts mostly being neighbours in space.
    """
    children, held = [(-1, -1)], [range(leaves)]
    node = 0
    while node < len(held):
        span = held[node]
        if len(span) > 1:
            middle = (span.start + span.stop) // 2
            children[node] = (len(held), len(held) + 1)
            held += [range(span.start, middle), range(middle, span.stop)]
            children += [(-1, -1), (-1, -1)]
        node += 1
    return np.array(children), np.array([[leaf in span for leaf in range(leaves)] for span in held])


def _rotation(quat: np.ndarray) -> np.ndarray:
    flat = np.empty(9)
    mujoco.mju_quat2Mat(flat, quat)
    return flat.reshape(3, 3)
