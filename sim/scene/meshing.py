"""Triangle meshes of turned and bent solids, with normals that let few triangles look round, and what they weigh."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SEGMENTS = 18  # of a full turn
SMOOTH_DEG = 50.0  # a sharper corner of a contour stays an edge
DEGENERATE_M2 = 1e-10


@dataclass(frozen=True)
class Mesh:
    """A closed surface. A vertex where two surfaces meet in an edge stands once for each, with each one's normal."""

    vertices: np.ndarray  # (N, 3) m
    normals: np.ndarray  # (N, 3) outward
    faces: np.ndarray  # (F, 3) indices, counter-clockwise seen from outside

    def along_x(self) -> "Mesh":
        """Return the same with its z axis along x (and x along y, y along z)."""
        return Mesh(self.vertices[:, [2, 0, 1]], self.normals[:, [2, 0, 1]], self.faces)

    def moved(self, by: Sequence[float]) -> "Mesh":
        """Return the same, moved by (3,) m."""
        return Mesh(self.vertices + np.asarray(by), self.normals, self.faces)


def join(meshes: Sequence[Mesh]) -> Mesh:
    """Return several meshes as one."""
    first = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.faces + start for mesh, start in zip(meshes, first, strict=True)]),
    )


def lathe(contour: Sequence[tuple[float, float]], segments: int = SEGMENTS, *, faceted: bool = False) -> Mesh:
    """Turn a contour of (radius, z) in m about z: from the axis below, up the outside, back to the axis.

    A hollow thing goes on down its inside. `faceted` leaves the sides flat, as of a hexagonal bar.
    """
    points = np.asarray(contour, float)
    angles = 2 * np.pi * (np.arange(segments + 1) + 0.5) / segments
    # What a facet lets its two ends shine like: both like its middle, or each like the circle there.
    lit = [(angles[:-1] + angles[1:]) / 2] * 2 if faceted else [angles[:-1], angles[1:]]
    strips = []
    for (low, high), (n_low, n_high) in zip(zip(points[:-1], points[1:], strict=True), _normals(points), strict=True):
        corners = [(low, n_low, 0), (low, n_low, 1), (high, n_high, 1), (high, n_high, 0)]
        vertices = [_turned(p, angles[side : segments + side]) for p, _, side in corners]
        normals = [_turned(n, lit[side]) for _, n, side in corners]
        strips.append(_quads(np.stack(vertices, 1), np.stack(normals, 1)))
    return join(strips)


def bent_rod(path: Sequence[tuple[float, float]], radius: float, sides: int = 7) -> Mesh:
    """Return a round rod in m whose axis follows points (x, z), its ends closed by flat caps."""
    points = np.asarray(path, float)
    step = np.gradient(points, axis=0)
    step /= np.linalg.norm(step, axis=1, keepdims=True)
    across = np.column_stack([-step[:, 1], 0 * step[:, 0], step[:, 0]])
    angle = 2 * np.pi * np.arange(sides) / sides
    out = np.cos(angle)[None, :, None] * across[:, None] + np.sin(angle)[None, :, None] * np.array([0.0, -1.0, 0.0])
    centre = np.column_stack([points[:, 0], 0 * points[:, 0], points[:, 1]])
    rings = centre[:, None] + radius * out
    on = np.roll(np.arange(sides), -1)

    def around(values: np.ndarray) -> np.ndarray:
        quads = np.stack([values[:-1], values[:-1][:, on], values[1:][:, on], values[1:]], axis=2)
        return quads.reshape(-1, 4, 3)

    caps = [_fan(rings[0][::-1], -step[0]), _fan(rings[-1], step[-1])]
    return join([_quads(around(rings), around(out)), *caps])


def mass_properties(parts: Sequence[tuple[Mesh, float]]) -> tuple[float, np.ndarray, np.ndarray]:
    """Return mass, centre of mass (3,) and inertia (3, 3) about it of solids with the given densities in kg/m^3.

    Sums of signed tetrahedra from the origin: the integral of x x^T over a tetrahedron (0, a, b, c) of volume v is
    v/20 (a a^T + b b^T + c c^T + s s^T) with s = a + b + c.
    """
    mass, first, second = 0.0, np.zeros(3), np.zeros((3, 3))
    for mesh, density in parts:
        corners = mesh.vertices[mesh.faces]
        weight = density * np.linalg.det(corners) / 6
        total = corners.sum(axis=1)
        mass += weight.sum()
        first += weight @ total / 4
        second += np.einsum("f,fki,fkj->ij", weight / 20, corners, corners)
        second += np.einsum("f,fi,fj->ij", weight / 20, total, total)
    centre = first / mass
    second -= mass * np.outer(centre, centre)
    return float(mass), centre, np.trace(second) * np.eye(3) - second


def _normals(points: np.ndarray) -> np.ndarray:
    """Return (K - 1, 2, 2) normals (radial, z) at both ends of each stretch of a contour, right of its direction.

    The longer neighbour weighs more, so that a flat face stays flat and its fillet carries the bend.
    """
    step = np.diff(points, axis=0)
    length = np.linalg.norm(step, axis=1, keepdims=True)
    flat = np.column_stack([step[:, 1], -step[:, 0]]) / length
    ends = np.stack([flat, flat], axis=1)
    for i in range(len(flat) - 1):
        if flat[i] @ flat[i + 1] > np.cos(np.deg2rad(SMOOTH_DEG)):
            shared = flat[i] * length[i] ** 2 + flat[i + 1] * length[i + 1] ** 2
            ends[i, 1] = ends[i + 1, 0] = shared / np.linalg.norm(shared)
    return ends


def _turned(radial_z: np.ndarray, angles: np.ndarray) -> np.ndarray:
    radial, z = radial_z
    return np.column_stack([radial * np.cos(angles), radial * np.sin(angles), np.full_like(angles, z)])


def _quads(vertices: np.ndarray, normals: np.ndarray) -> Mesh:
    """Return a mesh of (Q, 4, 3) four-cornered faces; those pinched on the axis become triangles."""
    corner = np.arange(4 * len(vertices)).reshape(-1, 4)
    faces = np.concatenate([corner[:, [0, 1, 2]], corner[:, [0, 2, 3]]])
    return _without_degenerate(Mesh(vertices.reshape(-1, 3), normals.reshape(-1, 3), faces))


def _fan(outline: np.ndarray, normal_xz: np.ndarray) -> Mesh:
    n = len(outline)
    faces = np.array([(0, k, k + 1) for k in range(1, n - 1)])
    return Mesh(outline, np.tile([normal_xz[0], 0.0, normal_xz[1]], (n, 1)), faces)


def _without_degenerate(mesh: Mesh) -> Mesh:
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
    kept = mesh.faces[np.linalg.norm(np.cross(b - a, c - a), axis=1) > DEGENERATE_M2]
    used, index = np.unique(kept, return_inverse=True)
    return Mesh(mesh.vertices[used], mesh.normals[used], index.reshape(-1, 3))
