"""What a thing of the table is made of: parts that are seen, parts that are touched, how it weighs, how it is grasped.

Body frame: the origin in the middle of the thing, z up as it stands. All dimensions in m.
"""

from dataclasses import dataclass
from typing import TypedDict

import mujoco
import numpy as np

from sim.scene.meshing import Mesh, mass_properties

MAX_SCALE = 1.1
Vector = tuple[float, float, float]
Quat = tuple[float, float, float, float]
SEEN_GROUP, TOUCHED_GROUP = 2, 3
STEEL = (0.72, 0.73, 0.75)
PAPER = (0.93, 0.91, 0.85)
CHARCOAL = (0.13, 0.13, 0.14)
ACROSS = (np.pi / 2,)  # of a grasp
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
    pos: Vector = (0.0, 0.0, 0.0)
    quat: Quat = (1.0, 0.0, 0.0, 0.0)
    mesh: Mesh | None = None
    rgb: Vector | None = None  # its own colour; None: the colour that the episode draws
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
    has_top: bool = False  # it stands as it should on its foot alone: neither on its side nor upside down

    @property
    def symmetric(self) -> bool:
        """Return whether it looks the same from every side and is grasped at any yaw."""
        return not self.grasp_yaws_rad

    @property
    def turns_alike(self) -> int:
        """In how many ways it may be turned for the same grasp: 2 or 4; 0: in any."""
        return 2 * len(self.grasp_yaws_rad)

    def geom_names(self, prefix: str) -> list[str]:
        """Return the names of its geoms on a body, in the order of `parts`."""
        return [f"{prefix}_{self.name}_{k}" for k in range(len(self.parts))]

    def add(self, spec: mujoco.MjSpec, body: mujoco.MjsBody, prefix: str) -> None:
        """Put its geoms, massless, on `body` at `max_scale`."""
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
    faces = mesh.faces.ravel()
    spec.add_mesh(
        name=name, uservert=(scale * mesh.vertices).ravel(), usernormal=mesh.normals.ravel(), userface=faces,
        userfacenormal=faces, inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
    )  # fmt: skip


class Inertial(TypedDict):
    """How a shape resists: centre of mass and moments per mass, as `Shape` holds them."""

    com_m: np.ndarray
    inertia_per_kg: np.ndarray


def seen(mesh: Mesh, rgb: Vector | None = None) -> Part:
    """Return a mesh that is only drawn, in its own colour or the episode's."""
    return Part("mesh", mesh=mesh, rgb=rgb)


def touched(
    kind: str, size: tuple[float, ...], pos: Vector = (0.0, 0.0, 0.0), quat: Quat = (1.0, 0.0, 0.0, 0.0)
) -> Part:
    """Return a primitive that only takes part in contacts."""
    return Part(kind, size, pos, quat, seen=False, touched=True)


def ring(bottom: tuple[float, float], top: tuple[float, float], thickness: float, count: int = 8) -> list[Part]:
    """Return a round wall for contacts, of boxes. It passes through (radius, z) `bottom` and `top`: halfway between the
    middles of the flats and the edges where they meet."""
    (r0, z0), (r1, z1) = bottom, top
    lean = np.arctan2(r1 - r0, z1 - z0)
    flat = 2 / (1 + 1 / np.cos(np.pi / count))  # from the mean radius to the flats'
    middle = np.array([(r0 + r1) / 2 * flat, (z0 + z1) / 2]) - thickness / 2 * np.array([np.cos(lean), -np.sin(lean)])
    size = (thickness / 2, max(r0, r1) * flat * np.tan(np.pi / count), np.hypot(r1 - r0, z1 - z0) / 2)
    boxes = []
    for yaw in 2 * np.pi * np.arange(count) / count:
        pos = (middle[0] * np.cos(yaw), middle[0] * np.sin(yaw), middle[1])
        boxes.append(touched("box", size, pos, turned(yaw, lean)))
    return boxes


def upright(radius: float, half: float) -> list[Part]:
    """Return the contacts of a round thing: its side, and a square foot, because a cylinder stands badly on a box."""
    foot = radius * 0.69
    return [touched("cylinder", (radius, half - 0.0005)), touched("box", (foot, foot, half))]


def turned(yaw_rad: float, lean_rad: float = 0.0) -> Quat:
    """Return the quaternion (w x y z) of a lean about y, then a turn about z."""
    z, y = (np.cos(yaw_rad / 2), np.sin(yaw_rad / 2)), (np.cos(lean_rad / 2), np.sin(lean_rad / 2))
    return z[0] * y[0], -z[1] * y[1], z[0] * y[1], z[1] * y[0]


def solid(*meshes: tuple[Mesh, float]) -> Inertial:
    """Return the inertia of solids with their densities in kg/m^3; products of inertia are left out."""
    mass, centre, inertia = mass_properties(meshes)
    return {"com_m": centre, "inertia_per_kg": np.diag(inertia) / mass}


def block(half: Vector) -> Inertial:
    """Return the inertia of a box with the half sizes `half`, evenly filled."""
    squares = np.square(half)
    return {"com_m": np.zeros(3), "inertia_per_kg": (squares.sum() - squares) / 3}
