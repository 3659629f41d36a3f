"""The graspable things of the table: what is seen of each, what is touched, how to grasp it and how it weighs.

Body frame: the origin in the middle of the thing, z up as it stands. Sizes are nominal; a slot of the scene wears a
shape at a scale drawn by the episode (`sim/wardrobe.py`). All dimensions in m.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import mujoco
import numpy as np

from sim.meshing import Mesh, bent_rod, join, lathe, mass_properties

STEEL = (0.72, 0.73, 0.75)
PAPER = (0.93, 0.91, 0.85)
CHARCOAL = (0.13, 0.13, 0.14)
PLASTIC_KG_M3, STEEL_KG_M3 = 1000.0, 7800.0
MAX_SCALE = 1.1
SEEN_GROUP, TOUCHED_GROUP = 2, 3
TYPES = {
    "box": mujoco.mjtGeom.mjGEOM_BOX,
    "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER,
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    "mesh": mujoco.mjtGeom.mjGEOM_MESH,
}


@dataclass(frozen=True)
class Part:
    """One geom of a shape, in the body frame."""

    kind: str  # of TYPES
    size: tuple[float, ...] = ()  # half sizes, or radius and half height
    pos: tuple[float, float, float] = (0.0, 0.0, 0.0)
    quat: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    mesh: Mesh | None = None
    rgb: tuple[float, float, float] | None = None  # its own colour; None: the colour that the episode draws
    seen: bool = True
    touched: bool = False


@dataclass(frozen=True)
class Shape:
    """One kind of thing at its nominal size. Lengths grow with the scale, the inertia per mass with its square."""

    name: str
    parts: tuple[Part, ...]
    half_height_m: float  # of the origin above the table when it stands
    radius_m: float  # of the upright cylinder about the origin that holds all of it
    grasp_height_m: float  # of the tool point above the origin in a grasp from above
    grasp_width_m: float  # between the pads then
    mass_kg: tuple[float, float]  # usual range
    com_m: np.ndarray  # (3,) centre of mass
    inertia_per_kg: np.ndarray  # (3,) m^2, about the centre of mass along the body's axes
    grasp_yaws_rad: tuple[float, ...] = ()  # directions in which the fingers may open, seen from the body; (): any
    max_scale: float = MAX_SCALE
    roll_friction_m: float = 1e-4

    @property
    def symmetric(self) -> bool:
        """It looks the same from every side and is grasped at any yaw."""
        return not self.grasp_yaws_rad

    def geom_names(self, prefix: str) -> list[str]:
        """Names of its geoms on a body, in the order of `parts`."""
        return [f"{prefix}_{self.name}_{k}" for k in range(len(self.parts))]

    def add(self, spec: mujoco.MjSpec, body: mujoco.MjsBody, prefix: str) -> None:
        """Put its geoms, massless, on `body` at `max_scale`: the broad phase keeps the bounds it was compiled with."""
        for name, part in zip(self.geom_names(prefix), self.parts, strict=True):
            self._add_part(spec, body, name, part)

    def _add_part(self, spec: mujoco.MjSpec, body: mujoco.MjsBody, name: str, part: Part) -> None:
        looks = {"rgba": [*(part.rgb or (0.8, 0.1, 0.1)), 1.0], "group": SEEN_GROUP if part.seen else TOUCHED_GROUP}
        touch = {"contype": int(part.touched), "conaffinity": int(part.touched)}
        if part.touched:
            touch |= {"friction": [1.0, 0.01, self.roll_friction_m], "solref": [0.01, 1]}
            touch["condim"] = 6 if part.kind == "sphere" else 4  # six: a ball on a table comes to rest
        if part.mesh is not None:
            _add_mesh(spec, name, part.mesh, self.max_scale)
            looks["meshname"] = name
        body.add_geom(
            name=name, type=TYPES[part.kind], mass=0.0, size=[*np.multiply(part.size, self.max_scale), 0, 0, 0][:3],
            pos=np.multiply(part.pos, self.max_scale), quat=part.quat, **looks, **touch,
        )  # fmt: skip


def _add_mesh(spec: mujoco.MjSpec, name: str, mesh: Mesh, scale: float) -> None:
    spec.add_mesh(
        name=name, uservert=(scale * mesh.vertices).ravel(), usernormal=mesh.normals.ravel(),
        userface=mesh.faces.ravel(), userfacenormal=mesh.faces.ravel(), inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
    )  # fmt: skip


# ---- building blocks -----------------------------------------------------------------------------


def _seen(mesh: Mesh, rgb: tuple[float, float, float] | None = None) -> Part:
    return Part("mesh", mesh=mesh, rgb=rgb)


def _touched(kind: str, size: tuple[float, ...], z: float = 0.0, **where) -> Part:
    return Part(kind, size, **({"pos": (0.0, 0.0, z)} | where), seen=False, touched=True)


def _ring(bottom: tuple[float, float], top: tuple[float, float], thickness: float, count: int = 8) -> list[Part]:
    """A round wall as boxes. Its outside passes through (radius, z) `bottom` and `top`, halfway between the flats'
    middles and their edges."""
    (r0, z0), (r1, z1) = bottom, top
    lean = np.arctan2(r1 - r0, z1 - z0)
    flat = 2 / (1 + 1 / np.cos(np.pi / count))  # from the mean radius to the flats'
    middle = np.array([(r0 + r1) / 2 * flat, (z0 + z1) / 2]) - thickness / 2 * np.array([np.cos(lean), -np.sin(lean)])
    size = (thickness / 2, max(r0, r1) * flat * np.tan(np.pi / count), np.hypot(r1 - r0, z1 - z0) / 2)
    ring = []
    for yaw in 2 * np.pi * np.arange(count) / count:
        about_z, about_y = (np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)), (np.cos(lean / 2), 0.0, np.sin(lean / 2), 0.0)
        quat = np.empty(4)
        mujoco.mju_mulQuat(quat, np.array(about_z), np.array(about_y))
        pos = (middle[0] * np.cos(yaw), middle[0] * np.sin(yaw), middle[1])
        ring.append(_touched("box", size, pos=pos, quat=tuple(quat)))
    return ring


def _solid(*meshes: tuple[Mesh, float]) -> dict[str, np.ndarray]:
    """Centre of mass and inertia per mass of solids; products of inertia are left out."""
    mass, centre, inertia = mass_properties(meshes)
    return {"com_m": centre, "inertia_per_kg": np.diag(inertia) / mass}


def _block(half: tuple[float, float, float]) -> dict[str, np.ndarray]:
    squares = np.square(half)
    return {"com_m": np.zeros(3), "inertia_per_kg": (squares.sum() - squares) / 3}


FACES = (0.0, np.pi / 2)
ACROSS = (np.pi / 2,)


def _cube() -> Shape:
    half = 0.020
    box = Part("box", (half, half, half), touched=True)
    return Shape("cube", (box,), half, half * 2**0.5, 0.0, 2 * half, (0.05, 0.15), grasp_yaws_rad=FACES, max_scale=1.5,
                 **_block((half, half, half)))  # fmt: skip


def _book() -> Shape:
    half = (0.036, 0.024, 0.012)
    cover, spine = half[2] - 0.0012, half[1] - 0.0012
    parts = (
        Part("box", (half[0], half[1], 0.0012), (0.0, 0.0, cover)),
        Part("box", (half[0], half[1], 0.0012), (0.0, 0.0, -cover)),
        Part("box", (half[0], 0.0012, cover), (0.0, -spine, 0.0)),
        Part("box", (half[0] - 0.002, half[1] - 0.0016, cover), (0.0, 0.0005, 0.0), rgb=PAPER),
        _touched("box", half),
    )
    return Shape("book", parts, half[2], float(np.hypot(*half[:2])), 0.002, 2 * half[1], (0.05, 0.15),
                 grasp_yaws_rad=ACROSS, **_block(half))  # fmt: skip


def _ball() -> Shape:
    radius = 0.022
    arc = np.linspace(0, np.pi, 11)
    skin = lathe([(radius * np.sin(a), -radius * np.cos(a)) for a in arc])
    parts = (_seen(skin), _touched("sphere", (radius,)))
    return Shape("ball", parts, radius, radius, 0.0, 2 * radius, (0.03, 0.10), com_m=np.zeros(3),
                 inertia_per_kg=np.full(3, 0.4 * radius**2), roll_friction_m=1e-3)  # fmt: skip


def _upright(radius: float, half: float) -> list[Part]:
    """What is touched of a round thing: its side, and a square foot, because a cylinder stands badly on a box."""
    foot = radius * 0.69
    return [_touched("cylinder", (radius, half - 0.0005)), _touched("box", (foot, foot, half))]


def _cylinder() -> Shape:
    radius, half, round_off = 0.020, 0.025, 0.0015
    skin = lathe([(0, -half), (radius - round_off, -half), (radius, -half + round_off), (radius, half - round_off),
                  (radius - round_off, half), (0, half)])  # fmt: skip
    return Shape("cylinder", (_seen(skin), *_upright(radius, half)), half, radius, 0.004, 2 * radius, (0.05, 0.15),
                 **_solid((skin, 1.0)))  # fmt: skip


def _can() -> Shape:
    radius, half, neck = 0.026, 0.037, 0.0215
    side = lathe([(0, -half + 0.004), (radius, -half + 0.004), (radius, half - 0.006), (0, half - 0.006)])
    top = lathe([(0, half - 0.007), (radius, half - 0.006), (neck + 0.0015, half - 0.001), (neck + 0.0015, half),
                 (neck, half), (neck - 0.001, half - 0.003), (0, half - 0.003)])  # fmt: skip
    tab = Part("box", (0.0065, 0.003, 0.0005), (0.004, 0.0, half - 0.0022), rgb=CHARCOAL)
    foot = lathe([(0, -half), (neck, -half), (radius, -half + 0.004), (0, -half + 0.005)])
    parts = (_seen(side), _seen(top, STEEL), _seen(foot, STEEL), tab, *_upright(radius, half))
    return Shape("can", parts, half, radius, 0.008, 2 * radius, (0.05, 0.20), **_solid((side, 1.0)))


def _bottle() -> Shape:
    radius, half, neck, shoulder = 0.020, 0.045, 0.0085, 0.008
    glass = lathe([(0, -half), (radius - 0.002, -half), (radius, -half + 0.002), (radius, shoulder - 0.004),
                   (radius - 0.0015, shoulder + 0.002), (radius - 0.006, shoulder + 0.008), (neck + 0.002, 0.021),
                   (neck, 0.025), (neck, 0.034), (0, 0.034)])  # fmt: skip
    cap = lathe([(0, 0.033), (neck + 0.002, 0.033), (neck + 0.002, half - 0.001), (neck + 0.001, half), (0, half)], 12,
                faceted=True)  # fmt: skip
    label = lathe([(0, -0.028), (radius + 0.0003, -0.028), (radius + 0.0003, -0.006), (0, -0.006)])
    body_half, foot = (shoulder + half) / 2, 0.69 * radius
    parts = (
        _seen(glass),
        _seen(cap, CHARCOAL),
        _seen(label, PAPER),
        _touched("cylinder", (radius, body_half - 0.0005), shoulder - body_half),
        _touched("box", (foot, foot, body_half), shoulder - body_half),
        _touched("cylinder", (neck + 0.0035, (0.024 - shoulder) / 2), (0.024 + shoulder) / 2),
        _touched("cylinder", (neck + 0.001, (half - 0.024) / 2), (half + 0.024) / 2),
    )
    return Shape("bottle", parts, half, radius, -0.010, 2 * radius, (0.05, 0.15), **_solid((glass, 1.0), (cap, 1.0)))


def _mug() -> Shape:
    radius, half, wall = 0.026, 0.029, 0.0025
    cup = lathe([(0, -half), (radius - 0.002, -half), (radius, -half + 0.002), (radius, half - 0.0008),
                 (radius - 0.0008, half), (radius - wall + 0.0008, half), (radius - wall, half - 0.0008),
                 (radius - wall, -half + 0.006), (radius - wall - 0.003, -half + 0.004), (0, -half + 0.004)])  # fmt: skip
    reach, high = 0.0155, 0.0165
    bend = np.linspace(-np.pi / 2, np.pi / 2, 9)
    handle = bent_rod([(radius - 0.001 + reach * np.cos(a), high * np.sin(a)) for a in bend], 0.0032)
    floor = radius * 0.69
    parts = (
        _seen(join([cup, handle])),
        *_ring((radius, -half + 0.0005), (radius, half), 0.0035),
        _touched("box", (floor, floor, 0.002), -half + 0.002),
        _touched("box", (0.003, 0.003, high), pos=(radius + reach - 0.002, 0.0, 0.0)),
        *(_touched("box", (reach / 2, 0.003, 0.003), pos=(radius + reach / 2, 0.0, s * (high - 0.002))) for s in (1, -1)),
    )
    return Shape("mug", parts, half, radius + reach + 0.003, 0.006, 2 * radius, (0.08, 0.20), grasp_yaws_rad=ACROSS,
                 **_solid((cup, 1.0), (handle, 1.0)))  # fmt: skip


def _bowl() -> Shape:
    rim, half, foot, wall = 0.0295, 0.017, 0.014, 0.0025
    outside = [(foot, -half), (foot, -half + 0.002), (0.021, -0.0115), (0.0262, -0.0050), (0.0286, 0.004),
               (rim, half - 0.0008)]  # fmt: skip
    inside = [(rim - wall, half - 0.0008), (0.0286 - wall, 0.004), (0.0232, -0.0042), (0.018, -0.0095), (0.010, -0.0122)]
    skin = lathe([(0, -half), *outside, (rim - wall / 2, half), *inside, (0, -0.0128)])
    floor = 0.69 * foot
    parts = (
        _seen(skin),
        *_ring((0.0275, -0.003), (rim, half), 0.0035),
        *_ring((foot + 0.001, -half + 0.002), (0.0280, -0.003), 0.003),
        _touched("box", (floor, floor, 0.0022), -half + 0.0022),
    )
    return Shape("bowl", parts, half, rim, 0.008, 2 * rim, (0.05, 0.15), **_solid((skin, 1.0)))


def _screwdriver() -> Shape:
    """It lies: shaft along +x. Six flats round the handle keep it from rolling."""
    flat, start, end, tip = 0.0115, -0.054, 0.014, 0.054
    edge = flat / np.cos(np.pi / 6)
    grip = lathe([(0, start), (0.7 * edge, start), (edge, start + 0.006), (edge, end - 0.016), (0.62 * edge, end - 0.010),
                  (0.62 * edge, end - 0.006), (0.85 * edge, end - 0.002), (0.85 * edge, end), (0, end)], 6,
                 faceted=True).along_x()  # fmt: skip
    shaft = lathe([(0, end - 0.001), (0.0032, end - 0.001), (0.0032, tip - 0.008), (0.0008, tip), (0, tip)], 10).along_x()
    middle, length = (start + end) / 2, (end - start) / 2
    parts = (
        _seen(grip),
        _seen(shaft, STEEL),
        Part("box", (0.0015, 0.0042, 0.0008), (tip - 0.0015, 0.0, 0.0), rgb=STEEL),
        _touched("box", (length, flat, flat), pos=(middle, 0.0, 0.0)),
        _touched("box", ((tip - end) / 2, 0.0028, 0.0028), pos=((tip + end) / 2, 0.0, 0.0)),
    )
    return Shape("screwdriver", parts, flat, tip, 0.002, 2 * flat, (0.04, 0.10), grasp_yaws_rad=ACROSS,
                 **_solid((grip, PLASTIC_KG_M3), (shaft, STEEL_KG_M3)))  # fmt: skip


SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (_cube(), _cylinder(), _can(), _bottle(), _mug(), _bowl(), _screwdriver(), _book(), _ball())
}
