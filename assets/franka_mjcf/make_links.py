"""Writes the arm's visual meshes in meshes/: smooth shapes with vertex normals, one mesh for a body.

The housings are bent tubes that flow into one another. Each is a signed distance field, blended out of a few
rounded solids, and its surface is taken by surface nets, drawn onto the field by Newton's method; the field's
gradient is the normal, so that few triangles look round. Dark gaps and lids are turned, as those of the FAIRINO's.
The contours are our own; axes and lengths are Franka's. Run: python make_links.py. Units: m.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as imageio
import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "fr3_mjcf"))
import make_meshes as solids  # noqa: E402 - found through the line above
from make_meshes import Mesh, X, Y, Z, box, extrude, fillet, turn  # noqa: E402

solids.FOLDER = HERE / "meshes"
PALETTE = {
    "housing": (0.930, 0.936, 0.940), "lid": (0.800, 0.812, 0.822), "seam": (0.145, 0.150, 0.160),
    "metal": (0.640, 0.655, 0.670), "stand": (0.300, 0.312, 0.325),
}  # fmt: skip
CELL_M = 0.015  # of the surface nets
SIDES = 24  # of what is turned
ORIGIN = np.zeros(3)
R = 0.056  # of joints 1 to 4, m
GAP_M = 0.0015  # a link keeps so far from its neighbour's half of a joint
Field = Callable[[np.ndarray], np.ndarray]  # (n, 3) points -> (n,) signed distances, negative inside


# ---- fields ---------------------------------------------------------------------------------------


def barrel(start, end, r: float, edge: float = 0.010) -> Field:
    """A cylinder from `start` to `end`, its edges rounded."""
    start, end = np.array(start, float), np.array(end, float)
    length = np.linalg.norm(end - start)
    axis, middle = (end - start) / length, (start + end) / 2

    def field(p: np.ndarray) -> np.ndarray:
        along = (p - middle) @ axis
        out = np.linalg.norm(p - middle - along[:, None] * axis, axis=1)
        q = np.column_stack([out - r + edge, np.abs(along) - length / 2 + edge])
        return np.minimum(q.max(1), 0) + np.linalg.norm(np.maximum(q, 0), axis=1) - edge

    return field


def cone(start, end, r_start: float, r_end: float) -> Field:
    """A rod with round ends, its radius going from one to the other."""
    start, end = np.array(start, float), np.array(end, float)
    step = end - start

    def field(p: np.ndarray) -> np.ndarray:
        share = np.clip((p - start) @ step / (step @ step), 0, 1)
        return np.linalg.norm(p - start - share[:, None] * step, axis=1) - (r_start + share * (r_end - r_start))

    return field


def brick(centre, half, edge: float) -> Field:
    """A box with rounded edges."""

    def field(p: np.ndarray) -> np.ndarray:
        q = np.abs(p - np.array(centre)) - np.array(half) + edge
        return np.minimum(q.max(1), 0) + np.linalg.norm(np.maximum(q, 0), axis=1) - edge

    return field


def blend(*fields: Field, over: float = 0.045) -> Field:
    """Their union, hollows filled over about that length."""

    def field(p: np.ndarray) -> np.ndarray:
        near = fields[0](p)
        for other in fields[1:]:
            d = other(p)
            mix = np.maximum(over - np.abs(near - d), 0) / over
            near = np.minimum(near, d) - mix * mix * over / 4
        return near

    return field


def without(field: Field, cut: Field, over: float = 0.010) -> Field:
    """What is left of the first when the second is cut away, the edges of the cut rounded over about that length."""
    rest = blend(lambda p: -field(p), cut, over=over)
    return lambda p: -rest(p)


# ---- surface --------------------------------------------------------------------------------------


def shell(mesh: Mesh, field: Field, low, high, cell: float = CELL_M) -> None:
    """Add the surface of a field within a box, by surface nets."""
    axes = [np.arange(a, b + cell, cell) for a, b in zip(low, high, strict=True)]
    shape = tuple(len(a) for a in axes)
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    value = field(grid).reshape(shape)
    inside = value < 0
    cells = tuple(n - 1 for n in shape)
    corners = np.array(np.meshgrid(*[[0, 1]] * 3, indexing="ij")).reshape(3, -1).T
    count = sum(inside[tuple(slice(c, c + n) for c, n in zip(k, cells, strict=True))].astype(int) for k in corners)
    mixed = (count > 0) & (count < 8)
    number = np.full(cells, -1)
    number[mixed] = np.arange(mixed.sum())
    points = _onto(field, np.array(low) + (np.argwhere(mixed) + 0.5) * cell, cell)
    normals = _gradient(field, points)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    base = len(mesh.vertices)
    mesh.vertices.extend(points)
    mesh.normals.extend(normals)
    for quad in (quad for axis in range(3) for quad in _quads(inside, number, axis)):
        p = points[quad]
        a, b = (0, 2) if np.linalg.norm(p[0] - p[2]) <= np.linalg.norm(p[1] - p[3]) else (1, 3)  # the shorter diagonal
        for corner in ([a, a + 1, b], [b, (b + 1) % 4, a]):
            one, two, three = points[quad[corner]]
            if np.linalg.norm(np.cross(two - one, three - one)) > 1e-9:
                mesh.face(*(base + quad[corner]).tolist())


def _quads(inside: np.ndarray, number: np.ndarray, axis: int):
    """(4,) cells round each grid edge along `axis` that the surface crosses, counter-clockwise from outside."""
    u, v = (axis + 1) % 3, (axis + 2) % 3
    first = np.take(inside, range(inside.shape[axis] - 1), axis)
    second = np.take(inside, range(1, inside.shape[axis]), axis)
    for at in np.argwhere(first != second):
        if not (0 < at[u] < inside.shape[u] - 1 and 0 < at[v] < inside.shape[v] - 1):
            continue
        ring = []
        for du, dv in ((-1, -1), (0, -1), (0, 0), (-1, 0)):
            cell = at.copy()
            cell[u] += du
            cell[v] += dv
            ring.append(number[tuple(cell)])
        yield np.array(ring if first[tuple(at)] else ring[::-1])


def _gradient(field: Field, points: np.ndarray, h: float = 2e-4) -> np.ndarray:
    return np.column_stack([(field(points + h * a) - field(points - h * a)) / (2 * h) for a in (X, Y, Z)])


def _onto(field: Field, points: np.ndarray, cell: float) -> np.ndarray:
    """Points moved onto the surface, none farther than a cell."""
    begun = points.copy()
    for _ in range(12):
        slope = _gradient(field, points)
        step = field(points)[:, None] * slope / np.maximum((slope**2).sum(1, keepdims=True), 0.2)
        points = np.clip(points - step, begun - 0.75 * cell, begun + 0.75 * cell)
    return points


# ---- the arm: frames are those of Craig's table -------------------------------------------------------


def lid(mesh: Mesh, origin, axis, s: float, r: float) -> None:
    """The cap on the far end of a joint, behind a dark gap; it hides the end of the net."""
    turn(mesh.painted("seam"), origin, axis, [(s - 0.0180, r + 0.0012), (s - 0.0158, r + 0.0012)], SIDES)
    face = s + 0.0030
    side = [(s - 0.0158, r + 0.0016), *fillet(face, r + 0.0016, 0.009), (face, r - 0.014)]
    turn(mesh.painted("housing"), origin, axis, side, SIDES)
    turn(
        mesh.painted("lid"), origin, axis, [(face, r - 0.014), (face - 0.0008, r - 0.015), (face - 0.0008, 0.0)], SIDES
    )


def ring(mesh: Mesh, origin, axis, s: float, r: float) -> None:
    """The dark gap where a link turns against its neighbour."""
    turn(mesh.painted("seam"), origin, axis, [(s - 0.0026, r), (s + 0.0026, r)], SIDES)


def collar(mesh: Mesh, origin, axis, s: float, r: float) -> None:
    """The turned end of a tube of radius `r`; it hides the end of the net."""
    turn(mesh.painted("housing"), origin, axis, [
        (s - 0.0170, r - 0.001), (s - 0.0165, r + 0.0008), (s - 0.0012, r + 0.0008), (s, r - 0.0004), (s, r - 0.006),
    ], SIDES)  # fmt: skip


def links() -> dict[str, Mesh]:
    """The meshes by body."""
    m = {name: Mesh(PALETTE, "housing") for name in ("stand", *(f"link{i}" for i in range(8)))}
    _stand(m["stand"].painted("stand"))
    _foot(m["link0"])
    for name, along, side, bottom in (("link1", -Z, -Y, 0.1905), ("link2", -Y, Z, 0.1240)):
        _shoulder(m[name], along, side, bottom)
    ring(m["link2"], ORIGIN, -Y, 0.1258, 0.0545)
    ring(m["link1"], ORIGIN, Y, 0.0, 0.0530)
    _upper_arm(m["link3"])
    _elbow(m["link4"])
    _forearm(m["link5"])
    _wrist(m["link6"])
    _flange(m["link7"])
    return m


def _stand(mesh: Mesh) -> None:
    """A plate at the table's back edge on a column of its own, in the frame of link0."""
    extrude(mesh, (-0.085, 0, 0), (0.110, 0.125), 0.012, [(-0.020, 0), (-0.0005, 0)])
    extrude(mesh, (-0.085, 0, 0), (0.055, 0.055), 0.012, [(-0.74, 0), (-0.02, 0)])


def _foot(mesh: Mesh) -> None:
    body = blend(
        brick((-0.032, 0, 0.016), (0.103, 0.092, 0.030), 0.026),
        brick((-0.085, 0, 0.045), (0.047, 0.055, 0.045), 0.030),
        barrel(ORIGIN, 0.1385 * Z, 0.058, 0.006),
        over=0.050,
    )
    body = without(body, brick((0, 0, -0.05), (1, 1, 0.05), 0.0), 0.004)
    shell(mesh, body, (-0.16, -0.11, -0.02), (0.11, 0.11, 0.16))
    collar(mesh, ORIGIN, Z, 0.1385, 0.058)
    ring(mesh, ORIGIN, Z, 0.1405, 0.0545)
    box(mesh.painted("seam"), (-0.1325, 0, 0.045), (0.003, 0.026, 0.016))  # connectors


def _shoulder(mesh: Mesh, along: np.ndarray, side: np.ndarray, bottom: float) -> None:
    """A tube about one axis bent into one half of the joint about the next."""
    body = blend(barrel(0.040 * along, bottom * along, R), barrel(0.0010 * side, 0.066 * side, R))
    body = without(body, barrel(-GAP_M * side, -0.2 * side, R + 0.003, 0.001))
    shell(mesh, body, (-0.09, -0.22, -0.22), (0.09, 0.1, 0.1))
    lid(mesh, ORIGIN, side, 0.066, R)
    collar(mesh, ORIGIN, along, bottom, R)


def _upper_arm(mesh: Mesh) -> None:
    joint = 0.0825 * X
    body = blend(
        barrel(-0.1885 * Z, -0.085 * Z, R),
        cone((0.010, 0, -0.075), (0.070, -0.022, -0.012), 0.050, 0.032),
        barrel(joint - 0.001 * Y, joint - 0.060 * Y, 0.052),
        over=0.050,
    )
    body = without(body, barrel(joint + GAP_M * Y, joint + 0.2 * Y, 0.055, 0.001))
    shell(mesh, body, (-0.09, -0.1, -0.22), (0.18, 0.1, 0.1))
    lid(mesh, joint, -Y, 0.060, 0.052)
    collar(mesh, ORIGIN, -Z, 0.1885, R)
    ring(mesh, joint, Y, 0.0, 0.0490)


def _elbow(mesh: Mesh) -> None:
    back = -0.0825 * X
    body = blend(
        barrel(-0.001 * Z, -0.060 * Z, 0.052),
        cone((-0.012, 0.012, -0.022), (-0.072, 0.072, 0), 0.032, 0.050),
        barrel(back + 0.070 * Y, back + 0.1240 * Y, R - 0.001),
        over=0.050,
    )
    body = without(body, barrel(GAP_M * Z, 0.2 * Z, 0.055, 0.001))
    shell(mesh, body, (-0.18, -0.09, -0.1), (0.09, 0.16, 0.1))
    lid(mesh, ORIGIN, -Z, 0.060, 0.052)
    collar(mesh, back, Y, 0.1240, R - 0.001)
    ring(mesh, back, Y, 0.1258, 0.0535)


def _forearm(mesh: Mesh) -> None:
    body = blend(
        barrel(-0.2565 * Z, -0.200 * Z, R - 0.001),
        cone((0, 0.004, -0.200), (0, 0.056, -0.075), 0.050, 0.033),
        cone((0, 0.056, -0.075), (0, 0.074, -0.020), 0.033, 0.030),
        barrel(0.0525 * Y, 0.100 * Y, 0.046),
        over=0.035,
    )
    body = without(body, barrel(0.0510 * Y, -0.2 * Y, 0.056, 0.001))
    shell(mesh, body, (-0.09, -0.09, -0.29), (0.09, 0.13, 0.08))
    lid(mesh, ORIGIN, Y, 0.100, 0.046)
    collar(mesh, ORIGIN, -Z, 0.2565, R - 0.001)
    ring(mesh, ORIGIN, Y, 0.0510, 0.0440)


def _wrist(mesh: Mesh) -> None:
    hand = 0.088 * X
    body = blend(barrel(-0.0495 * Z, 0.050 * Z, 0.049), barrel(hand + 0.052 * Y, hand - 0.0510 * Y, 0.045))
    shell(mesh, body, (-0.07, -0.09, -0.08), (0.16, 0.09, 0.08))
    lid(mesh, ORIGIN, Z, 0.050, 0.049)
    lid(mesh, hand, Y, 0.052, 0.045)
    collar(mesh, hand, -Y, 0.0510, 0.045)
    ring(mesh, hand, -Y, 0.0528, 0.0435)


def _flange(mesh: Mesh) -> None:
    side = [(0.0546, 0.0445), (0.085, 0.0445), (0.0905, 0.0425), (0.093, 0.0375), (0.093, 0.031)]
    turn(mesh, ORIGIN, Z, side, SIDES)
    extrude(mesh, (0.040, 0, 0), (0.016, 0.020), 0.008, [(0.0600, 0.003), (0.063, 0), (0.082, 0), (0.085, 0.003)])
    turn(mesh.painted("metal"), ORIGIN, Z, [(0.093, 0.0315), (0.1064, 0.0315), (0.107, 0.0309), (0.107, 0.0)], SIDES)
    turn(mesh.painted("seam"), ORIGIN, Z, [(0.1071, 0.01575), (0.1071, 0)])  # the bore


if __name__ == "__main__":
    solids.FOLDER.mkdir(exist_ok=True)
    total = 0
    for link, mesh in links().items():
        total += (count := mesh.write(link))
        print(f"{link:8} {count:5}")
    print(f"{'total':8} {total:5} triangles")
    imageio.imwrite(solids.FOLDER / "arm.png", np.round(255 * np.array([list(PALETTE.values())])).astype(np.uint8))
