"""Writes the visual meshes in meshes/: turned and extruded shapes with vertex normals, one mesh for a body.

A drawn shape costs more than its triangles, so the parts of a body are one mesh, and each face takes its
colour from one texel of a palette. Normals let few triangles look round. The contours are our own; they
respect the published outer dimensions. Run: python make_meshes.py. Units: m.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import imageio.v3 as imageio
import numpy as np

ARM = {"housing": (0.898, 0.918, 0.929), "seam": (0.20, 0.21, 0.23), "metal": (0.66, 0.68, 0.70)}
HAND = {
    "anodised": (0.13, 0.135, 0.145), "fingertip": (0.62, 0.64, 0.66), "rubber": (0.07, 0.07, 0.075),
    "camera": (0.55, 0.57, 0.60), "lens": (0.03, 0.03, 0.05),
}  # fmt: skip
FOLDER = Path(__file__).parent / "meshes"
SEGMENTS = 20
SMOOTH_DEG = 50.0  # a sharper corner of a contour stays an edge
X, Y, Z = np.eye(3)


@dataclass(frozen=True)
class Mesh:
    palette: dict  # rgb by the name of the colour
    colour: str = ""  # of the faces that are added
    vertices: list = field(default_factory=list)
    normals: list = field(default_factory=list)
    faces: list = field(default_factory=list)  # triples of indices into both lists
    colours: list = field(default_factory=list)  # of each face

    def painted(self, colour: str) -> "Mesh":
        """The same mesh; what is added through this one has that colour."""
        return replace(self, colour=colour)

    def face(self, *corners: int) -> None:
        self.faces.append(corners)
        self.colours.append(list(self.palette).index(self.colour))

    def strip(self, low: tuple, high: tuple) -> None:
        """Triangles between two closed rings; each ring is (points, normals), both (N, 3)."""
        n, base = len(low[0]), len(self.vertices)
        for points, normals in (low, high):
            self.vertices.extend(points)
            self.normals.extend(normals)
        for i in range(n):
            j = (i + 1) % n
            a, b, c, d = base + i, base + j, base + n + j, base + n + i
            for tri in ((a, b, c), (a, c, d)):
                p = [self.vertices[k] for k in tri]
                if np.linalg.norm(np.cross(p[1] - p[0], p[2] - p[0])) > 1e-10:
                    self.face(*tri)

    def write(self, name: str) -> int:
        lines = ["# Written by make_meshes.py"]
        vertices = _unique(self.vertices, 6)
        normals = _unique(self.normals, 3)
        lines += ["v " + " ".join(f"{x:.6g}" for x in row) for row in vertices[0]]
        lines += ["vn " + " ".join(f"{x:.3g}" for x in row) for row in normals[0]]
        lines += [f"vt {(i + 0.5) / len(self.palette):.4g} 0.5" for i in range(len(self.palette))]
        lines += [
            "f " + " ".join(f"{vertices[1][k] + 1}/{colour + 1}/{normals[1][k] + 1}" for k in f)
            for f, colour in zip(self.faces, self.colours, strict=True)
        ]
        (FOLDER / f"{name}.obj").write_text("\n".join(lines) + "\n")
        return len(self.faces)


def _unique(rows: list, digits: int) -> tuple:
    values, index = np.unique(np.round(rows, digits) + 0.0, axis=0, return_inverse=True)
    return values, index.ravel()


def _frame(axis: np.ndarray) -> tuple:
    helper = Y if abs(axis @ X) > 0.9 else X
    u = np.cross(helper, axis)
    u /= np.linalg.norm(u)
    return u, np.cross(axis, u)


def _segment_normals(contour: np.ndarray) -> list:
    """Normals (s, r) at both ends of each segment of a contour of (s, r) points. The longer neighbour weighs
    more, so a flat face stays flat and its fillet carries the bend."""
    step = np.diff(contour, axis=0)
    length = np.linalg.norm(step, axis=1, keepdims=True)
    flat = np.column_stack([-step[:, 1], step[:, 0]]) / length
    ends = [[n, n] for n in flat]
    for i in range(len(flat) - 1):
        if flat[i] @ flat[i + 1] > np.cos(np.deg2rad(SMOOTH_DEG)):
            n = flat[i] * length[i] ** 2 + flat[i + 1] * length[i + 1] ** 2
            ends[i][1] = ends[i + 1][0] = n / np.linalg.norm(n)
    return ends


def turn(mesh: Mesh, origin, axis, contour, segments: int = SEGMENTS) -> None:
    """A contour of (distance along the axis, radius) turned about the axis; outside is left of its direction."""
    u, v = _frame(axis)
    angle = 2 * np.pi * np.arange(segments) / segments
    radial = np.cos(angle)[:, None] * u + np.sin(angle)[:, None] * v
    contour = np.asarray(contour, float)
    for i, (first, last) in enumerate(_segment_normals(contour)):
        rings = []
        for (s, r), (ns, nr) in ((contour[i], first), (contour[i + 1], last)):
            rings.append((np.asarray(origin) + s * axis + r * radial, ns * axis + nr * radial))
        mesh.strip(*rings)


def extrude(mesh: Mesh, centre, half: tuple, corner: float, contour, axis=Z, corner_steps: int = 2) -> None:
    """A rounded rectangle carried along the axis. `contour`: (distance, inset) points, the inset shrinks the outline.
    `half` are the half sizes along the two remaining axes in the order x, y, z; both ends are closed flat."""
    first, second = [a for a in (X, Y, Z) if abs(a @ axis) < 0.5]
    if np.cross(first, second) @ axis < 0:
        first, second, half = second, first, half[::-1]
    turn_by = np.linspace(0, np.pi / 2, corner_steps + 1)
    angle = np.concatenate([turn_by + k * np.pi / 2 for k in range(4)])
    direction = np.column_stack([np.cos(angle), np.sin(angle)])
    quadrant = np.repeat([[1, 1], [-1, 1], [-1, -1], [1, -1]], corner_steps + 1, axis=0)
    core = quadrant * (np.asarray(half) - corner)
    radial = direction[:, :1] * first + direction[:, 1:] * second

    def ring(s: float, inset: float) -> np.ndarray:
        flat = core + direction * (corner - inset)
        return np.asarray(centre) + s * axis + flat[:, :1] * first + flat[:, 1:] * second

    contour = np.asarray(contour, float)
    for i, (start, end) in enumerate(_segment_normals(contour * [1, -1])):
        rings = []
        for (s, inset), (ns, nr) in ((contour[i], start), (contour[i + 1], end)):
            rings.append((ring(s, inset), ns * axis + nr * radial))
        mesh.strip(*rings)
    for (s, inset), sign in ((contour[0], -1), (contour[-1], 1)):
        outline = ring(s, inset)[:: int(sign)]
        base = len(mesh.vertices)
        mesh.vertices.extend(outline)
        mesh.normals.extend([sign * axis] * len(outline))
        for k in range(1, len(outline) - 1):
            mesh.face(base, base + k, base + k + 1)


def box(mesh: Mesh, centre, half: tuple) -> None:
    """A box of half sizes along x, y, z with sharp edges."""
    centre = np.asarray(centre, float)
    for axis in (X, Y, Z):
        first, second = [a for a in (X, Y, Z) if abs(a @ axis) < 0.5]
        if np.cross(first, second) @ axis < 0:
            first, second = second, first
        u, v = first * (first @ half), second * (second @ half)
        for sign in (-1, 1):
            base = len(mesh.vertices)
            middle = centre + sign * axis * (axis @ half)
            mesh.vertices.extend([middle - u - v, middle + sign * (u - v), middle + u + v, middle - sign * (u - v)])
            mesh.normals.extend([sign * axis] * 4)
            mesh.face(base, base + 1, base + 2)
            mesh.face(base, base + 2, base + 3)


def fillet(s: float, r: float, radius: float) -> list:
    """Contour points round the outer edge of a cap at (s, r), from the side to the face."""
    angle = np.deg2rad([0, 45, 90])
    return [(s - radius + radius * np.sin(a), r - radius + radius * np.cos(a)) for a in angle]


def housing(mesh: Mesh, origin, axis, start: float, end: float, r: float, lid: float = 0.013) -> None:
    """A joint housing with a lid on its far end; a dark seam lies between them."""
    light, dark = mesh.painted("housing"), mesh.painted("seam")
    seam = end - lid
    turn(light, origin, axis, [(start, r), (seam - 0.0008, r)])
    turn(dark, origin, axis, [(seam - 0.0016, r - 0.0007), (seam + 0.0016, r - 0.0007)])
    turn(light, origin, axis, [(seam + 0.0008, r), *fillet(end, r, 0.006), (end, 0.0)])


def seam(mesh: Mesh, origin, axis, s: float, r: float, width: float = 0.0024) -> None:
    """The dark gap where a link turns against its parent."""
    turn(mesh.painted("seam"), origin, axis, [(s - width / 2, r), (s + width / 2, r)])


def tube(mesh: Mesh, origin, axis, length: float, sockets: tuple, r: float, reach: tuple) -> None:
    """A tube between two joint housings, held by a socket at each end."""
    light, dark = mesh.painted("housing"), mesh.painted("seam")
    start, end = reach
    far = length - end
    turn(light, origin, axis, [(0.02, sockets[0]), (start - 0.002, sockets[0]), (start, sockets[0] - 0.002)])
    turn(dark, origin, axis, [(start, sockets[0] - 0.002), (start + 0.0024, r)])
    turn(light, origin, axis, [(start, r), (far, r)])
    turn(dark, origin, axis, [(far - 0.0024, r), (far, sockets[1] - 0.002)])
    turn(light, origin, axis, [(far, sockets[1] - 0.002), (far + 0.002, sockets[1]), (length - 0.02, sockets[1])])


def arm() -> dict[str, Mesh]:
    links = ("base", "shoulder", "upperarm", "forearm", "wrist1", "wrist2", "wrist3")
    m = {link: Mesh(ARM, "housing") for link in links}
    o = np.zeros(3)

    turn(m["base"], o, Z, [
        (0, 0.064), (0.0165, 0.064), (0.0185, 0.062), (0.0185, 0.059), (0.037, 0.059), (0.042, 0.053),
        (0.0768, 0.053), (0.0798, 0.050), (0.0798, 0.044),
    ])  # fmt: skip
    seam(m["base"], o, Z, 0.0810, 0.0446, 0.0030)
    box(m["base"].painted("seam"), (0.0555, 0, 0.0265), (0.006, 0.016, 0.0085))  # cable connector

    height = np.array([0, 0, 0.140])
    housing(m["shoulder"], o, Z, 0.0822, 0.194, 0.045)
    turn(m["shoulder"], height, -Y, [(0, 0.045), (0.0494, 0.045)])
    seam(m["shoulder"], height, -Y, 0.0504, 0.0443)

    elbow = np.array([-0.280, 0, 0])
    for joint in (o, elbow):
        housing(m["upperarm"], joint, Z, 0.0512, 0.170, 0.045)
    tube(m["upperarm"], np.array([0, 0, 0.114]), -X, 0.280, (0.0425, 0.0425), 0.0365, (0.066, 0.066))

    dome = [(-0.041 * np.cos(a), 0.0448 * np.sin(a)) for a in np.deg2rad([0, 22, 45, 68, 90])]
    turn(m["forearm"], o, Z, [*dome, (0.0494, 0.045)])
    seam(m["forearm"], o, Z, 0.0504, 0.0443)
    wrist = np.array([-0.240, 0, 0])
    housing(m["forearm"], wrist, -Z, -0.0530, 0.0495, 0.040)
    seam(m["forearm"], wrist, Z, 0.0542, 0.0393)
    tube(m["forearm"], o, -X, 0.240, (0.0395, 0.0375), 0.0325, (0.060, 0.056))

    centre = np.array([0, 0, 0.102])
    for link, side in (("wrist1", Y), ("wrist2", -Y)):
        housing(m[link], centre, side, -0.0530, 0.048, 0.040)
        seam(m[link], centre, -side, 0.0542, 0.0393)
        turn(m[link], o, Z, [(0.0554, 0.040), (0.102, 0.040)])

    turn(m["wrist3"], o, Z, [(0.0554, 0.040), *fillet(0.0935, 0.040, 0.005), (0.0935, 0.031)])
    flange, dark = m["wrist3"].painted("metal"), m["wrist3"].painted("seam")
    turn(flange, o, Z, [(0.0935, 0.0315), (0.0994, 0.0315), (0.100, 0.0309), (0.100, 0.0)])
    turn(dark, o, Z, [(0.1001, 0.01575), (0.1001, 0)])  # the bore
    box(dark, (-0.0405, 0, 0.074), (0.004, 0.009, 0.008))  # tool connector
    return m


def gripper() -> dict[str, Mesh]:
    m = {name: Mesh(HAND, "anodised") for name in ("gripper", "finger", "camera")}
    o = np.zeros(3)
    adapter = m["gripper"].painted("fingertip")
    turn(adapter, o, Z, [(0.0, 0.0375), (0.011, 0.0375), (0.012, 0.0365), (0.012, 0.02)])
    # Motor section, narrower, then the body with the jaw guide.
    extrude(m["gripper"], o, (0.024, 0.045), 0.010, [(0.012, 0), (0.040, 0)])
    extrude(m["gripper"], o, (0.027, 0.066), 0.007, [(0.038, 0.0025), (0.041, 0), (0.085, 0), (0.088, 0.0025)])
    box(m["gripper"].painted("rubber"), (0, 0, 0.0885), (0.009, 0.060, 0.0015))  # guide
    box(m["gripper"], (0.036, 0, 0.062), (0.011, 0.014, 0.006))  # camera bracket

    # The left finger; the right one is the same mesh turned by half a turn about z.
    finger = m["finger"].painted("fingertip")
    extrude(finger, (0, 0.014, 0), (0.015, 0.014), 0.003, [(0.0882, 0), (0.104, 0)], corner_steps=1)
    extrude(finger, (0, 0.0075, 0), (0.0105, 0.0045), 0.0025, [(0.104, 0), (0.167, 0), (0.170, 0.002)])
    rib = [(0.104, 0), (0.120, 0), (0.132, 0.0019)]
    extrude(finger, (0, 0.0115, 0), (0.004, 0.0075), 0.002, rib, corner_steps=1)
    box(finger.painted("rubber"), (0, 0.0015, 0.1535), (0.011, 0.0015, 0.0155))  # where the pad is that touches

    # Camera frame: z looks along the view, the lens ends at z = 0.
    shell, lens = m["camera"].painted("camera"), m["camera"].painted("lens")
    extrude(shell, o, (0.013, 0.022), 0.005, [(-0.025, 0.0015), (-0.0235, 0), (-0.0045, 0), (-0.003, 0.0015)])
    turn(lens, o, Z, [(-0.003, 0.0085), (-0.001, 0.0085), (-0.001, 0.0065), (-0.002, 0.0)], 12)
    return m


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    total = 0
    for name, mesh in {**arm(), **gripper()}.items():
        count = mesh.write(name)
        total += count * (2 if name == "finger" else 1)
        print(f"{name:16} {count:5}")
    print(f"{'total':16} {total:5} triangles")
    for name, palette in (("arm", ARM), ("hand", HAND)):
        imageio.imwrite(FOLDER / f"{name}.png", np.round(255 * np.array([list(palette.values())])).astype(np.uint8))
