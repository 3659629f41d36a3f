"""Tools: they lie, their length along +x, and are grasped in the middle, across. Flats keep them from rolling.

Of most only a part has the episode's colour: what a word and a colour name is the whole thing, its point the middle.
"""

import numpy as np

from sim.scene.meshing import Mesh, lathe
from sim.scene.parts import ACROSS, CHARCOAL, PAPER, STEEL, Part, Shape, seen, solid, touched

PLASTIC_KG_M3, WOOD_KG_M3, STEEL_KG_M3 = 1000.0, 700.0, 7800.0


def hexagonal(flat: float, start: float, end: float, bevel: float = 0.002) -> Mesh:
    """Return a bar along x from `start` to `end` with six sides, each `flat` from the axis."""
    edge = flat / np.cos(np.pi / 6)
    contour = [(0, start), (edge - bevel, start), (edge, start + bevel), (edge, end - bevel), (edge - bevel, end),
               (0, end)]  # fmt: skip
    return lathe(contour, 6, faceted=True).along_x()


def _tool(
    name: str, parts: tuple[Part, ...], flat: float, reach: float, mass_kg: tuple[float, float],
    *solids: tuple[Mesh, float],
) -> Shape:  # fmt: skip
    """Return a tool whose flats are `flat` from its axis. reach: of the farthest point from the middle."""
    return Shape(
        name, parts, half_height_m=flat, radius_m=reach, grasp_height_m=0.002, grasp_width_m=2 * flat,
        mass_kg=mass_kg, grasp_yaws_rad=ACROSS, **solid(*solids),
    )  # fmt: skip


def screwdriver() -> Shape:
    flat, start, end, tip = 0.0115, -0.054, 0.014, 0.054
    edge = flat / np.cos(np.pi / 6)
    waist, collar = 0.62 * edge, 0.85 * edge
    grip = lathe([(0, start), (0.7 * edge, start), (edge, start + 0.006), (edge, end - 0.016), (waist, end - 0.010),
                  (waist, end - 0.006), (collar, end - 0.002), (collar, end), (0, end)], 6, faceted=True)  # fmt: skip
    grip = grip.along_x()
    rod = [(0, end - 0.001), (0.0032, end - 0.001), (0.0032, tip - 0.008), (0.0008, tip), (0, tip)]
    shaft = lathe(rod, 10).along_x()
    middle, length = (start + end) / 2, (end - start) / 2
    parts = (
        seen(grip),
        seen(shaft, STEEL),
        Part("box", (0.0015, 0.0042, 0.0008), (tip - 0.0015, 0.0, 0.0), rgb=STEEL),
        touched("box", (length, flat, flat), (middle, 0.0, 0.0)),
        touched("box", ((tip - end) / 2, 0.0028, 0.0028), ((tip + end) / 2, 0.0, 0.0)),
    )
    return _tool("screwdriver", parts, flat, tip + 0.001, (0.04, 0.10), (grip, PLASTIC_KG_M3), (shaft, STEEL_KG_M3))


def hammer() -> Shape:
    flat, tip, head = 0.0105, 0.0465, 0.021
    handle = hexagonal(flat, -tip, tip - flat)
    across = lathe([(0, -head), (flat - 0.001, -head), (flat, -head + 0.001), (flat, head - 0.001),
                    (flat - 0.001, head), (0, head)], 14).along_x().along_x().moved((tip - flat, 0.0, 0.0))  # fmt: skip
    parts = (
        seen(handle),
        seen(across, CHARCOAL),
        touched("box", (tip - flat / 2, flat, flat), (-flat / 2, 0.0, 0.0)),
        touched("box", (flat * 0.9, head, flat), (tip - flat, 0.0, 0.0)),
    )
    reach = float(np.hypot(tip, head)) + 0.001
    return _tool("hammer", parts, flat, reach, (0.04, 0.10), (handle, WOOD_KG_M3), (across, PLASTIC_KG_M3))


def brush() -> Shape:
    flat, tip, end = 0.0105, 0.052, 0.012
    handle, band = hexagonal(flat, -tip, end), hexagonal(flat, end - 0.001, end + 0.010, 0.0005)
    hair = ((tip - end - 0.009) / 2, 0.0115, 0.0075)
    parts = (
        seen(handle),
        seen(band, STEEL),
        Part("box", hair, (tip - hair[0], 0.0, 0.0), rgb=PAPER),
        touched("box", ((tip + end + 0.010) / 2, flat, flat), ((end + 0.010 - tip) / 2, 0.0, 0.0)),
        touched("box", hair, (tip - hair[0], 0.0, 0.0)),
    )
    return _tool("brush", parts, flat, tip + 0.002, (0.03, 0.08), (handle, WOOD_KG_M3), (band, PLASTIC_KG_M3))


def marker() -> Shape:
    flat, tip, cap = 0.0105, 0.050, 0.018
    body, end = hexagonal(flat, -tip, cap), hexagonal(flat, cap, tip, 0.003)
    parts = (seen(body), seen(end, CHARCOAL), touched("box", (tip, flat, flat)))
    return _tool("marker", parts, flat, tip + 0.002, (0.03, 0.08), (body, 1.0), (end, 1.0))


def torch() -> Shape:
    flat, tip, neck = 0.0115, 0.047, 0.016
    body, head = hexagonal(flat, -tip, neck), hexagonal(flat, neck, tip - 0.002, 0.0005)
    lens = hexagonal(flat - 0.002, tip - 0.003, tip, 0.0005)
    parts = (seen(body, CHARCOAL), seen(head), seen(lens, STEEL), touched("box", (tip, flat, flat)))
    return _tool("torch", parts, flat, tip + 0.002, (0.05, 0.12), (body, 1.0), (head, 1.0))


def spoon() -> Shape:
    flat, tip, wide, thick = 0.0105, 0.052, 0.017, 0.0095
    handle = hexagonal(flat, -tip, tip - 2 * wide + 0.004)
    arc = np.linspace(0, np.pi, 9)
    scoop = lathe([(wide * np.sin(a), -thick * np.cos(a)) for a in arc], 14).moved((tip - wide, 0.0, 0.0))
    parts = (
        seen(handle),
        seen(scoop),
        touched("box", (tip - wide + 0.002, flat, flat), (0.002 - wide, 0.0, 0.0)),
        touched("box", (0.8 * wide, 0.8 * wide, thick), (tip - wide, 0.0, 0.0)),
    )
    return _tool("spoon", parts, flat, tip + 0.002, (0.03, 0.08), (handle, WOOD_KG_M3), (scoop, WOOD_KG_M3))
