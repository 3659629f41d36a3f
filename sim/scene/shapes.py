"""The graspable things of the table, by name. Distractors have them too.

Sizes are nominal; a slot of the scene has a shape at a scale drawn by the episode (`sim/scene/object_slot.py`).
"""

import numpy as np

from sim.scene.meshing import bent_rod, join, lathe
from sim.scene.parts import Part, Shape, block, ring, seen, solid, touched

STEEL = (0.72, 0.73, 0.75)
PAPER = (0.93, 0.91, 0.85)
CHARCOAL = (0.13, 0.13, 0.14)
PLASTIC_KG_M3, STEEL_KG_M3 = 1000.0, 7800.0
WALL = 0.008  # of a mug or bowl as touched: the pads would be pressed through a wall as thin as the one that is seen
FACES = (0.0, np.pi / 2)
ACROSS = (np.pi / 2,)


def _cube() -> Shape:
    half = 0.020
    box = Part("box", (half, half, half), touched=True)
    return Shape(
        "cube", (box,), half_height_m=half, radius_m=half * 2**0.5, grasp_height_m=0.0, grasp_width_m=2 * half,
        mass_kg=(0.05, 0.15), grasp_yaws_rad=FACES, max_scale=1.5, **block((half, half, half)),
    )  # fmt: skip


def _book() -> Shape:
    half = (0.036, 0.024, 0.012)
    cover, spine = half[2] - 0.0012, half[1] - 0.0012
    parts = (
        Part("box", (half[0], half[1], 0.0012), (0.0, 0.0, cover)),
        Part("box", (half[0], half[1], 0.0012), (0.0, 0.0, -cover)),
        Part("box", (half[0], 0.0012, cover), (0.0, -spine, 0.0)),
        Part("box", (half[0] - 0.002, half[1] - 0.0016, cover), (0.0, 0.0005, 0.0), rgb=PAPER),
        touched("box", half),
    )
    return Shape(
        "book", parts, half_height_m=half[2], radius_m=float(np.hypot(*half[:2])), grasp_height_m=0.002,
        grasp_width_m=2 * half[1], mass_kg=(0.05, 0.15), grasp_yaws_rad=ACROSS, **block(half),
    )  # fmt: skip


def _ball() -> Shape:
    radius = 0.022
    arc = np.linspace(0, np.pi, 11)
    skin = lathe([(radius * np.sin(a), -radius * np.cos(a)) for a in arc])
    parts = (seen(skin), touched("sphere", (radius,)))
    return Shape(
        "ball", parts, half_height_m=radius, radius_m=radius, grasp_height_m=0.0, grasp_width_m=2 * radius,
        mass_kg=(0.03, 0.10), com_m=np.zeros(3), inertia_per_kg=np.full(3, 0.4 * radius**2), roll_friction_m=1e-3,
    )  # fmt: skip


def _upright(radius: float, half: float) -> list[Part]:
    """Return the contacts of a round thing: its side, and a square foot, because a cylinder stands badly on a box."""
    foot = radius * 0.69
    return [touched("cylinder", (radius, half - 0.0005)), touched("box", (foot, foot, half))]


def _cylinder() -> Shape:
    radius, half, round_off = 0.020, 0.025, 0.0015
    skin = lathe([(0, -half), (radius - round_off, -half), (radius, -half + round_off), (radius, half - round_off),
                  (radius - round_off, half), (0, half)])  # fmt: skip
    return Shape(
        "cylinder", (seen(skin), *_upright(radius, half)), half_height_m=half, radius_m=radius, grasp_height_m=0.004,
        grasp_width_m=2 * radius, mass_kg=(0.05, 0.15), has_top=True, **solid((skin, 1.0)),
    )  # fmt: skip


def _can() -> Shape:
    radius, half, neck = 0.026, 0.037, 0.0215
    side = lathe([(0, -half + 0.004), (radius, -half + 0.004), (radius, half - 0.006), (0, half - 0.006)])
    top = lathe([(0, half - 0.007), (radius, half - 0.006), (neck + 0.0015, half - 0.001), (neck + 0.0015, half),
                 (neck, half), (neck - 0.001, half - 0.003), (0, half - 0.003)])  # fmt: skip
    tab = Part("box", (0.0065, 0.003, 0.0005), (0.004, 0.0, half - 0.0022), rgb=CHARCOAL)
    foot = lathe([(0, -half), (neck, -half), (radius, -half + 0.004), (0, -half + 0.005)])
    parts = (seen(side), seen(top, STEEL), seen(foot, STEEL), tab, *_upright(radius, half))
    return Shape(
        "can", parts, half_height_m=half, radius_m=radius, grasp_height_m=0.008, grasp_width_m=2 * radius,
        mass_kg=(0.05, 0.20), has_top=True, **solid((side, 1.0)),
    )  # fmt: skip


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
        seen(glass),
        seen(cap, CHARCOAL),
        seen(label, PAPER),
        touched("cylinder", (radius, body_half - 0.0005), (0.0, 0.0, shoulder - body_half)),
        touched("box", (foot, foot, body_half), (0.0, 0.0, shoulder - body_half)),
        touched("cylinder", (neck + 0.0035, (0.024 - shoulder) / 2), (0.0, 0.0, (0.024 + shoulder) / 2)),
        touched("cylinder", (neck + 0.001, (half - 0.024) / 2), (0.0, 0.0, (half + 0.024) / 2)),
    )
    return Shape(
        "bottle", parts, half_height_m=half, radius_m=radius + 0.0003, grasp_height_m=-0.010, grasp_width_m=2 * radius,
        mass_kg=(0.05, 0.15), has_top=True, **solid((glass, 1.0), (cap, 1.0)),
    )  # fmt: skip


def _mug() -> Shape:
    radius, half, wall = 0.026, 0.029, 0.0025
    inner = radius - wall
    cup = lathe([(0, -half), (radius - 0.002, -half), (radius, -half + 0.002), (radius, half - 0.0008),
                 (radius - 0.0008, half), (inner + 0.0008, half), (inner, half - 0.0008), (inner, -half + 0.006),
                 (inner - 0.003, -half + 0.004), (0, -half + 0.004)])  # fmt: skip
    reach, high = 0.0155, 0.0165
    bend = np.linspace(-np.pi / 2, np.pi / 2, 9)
    handle = bent_rod([(radius - 0.001 + reach * np.cos(a), high * np.sin(a)) for a in bend], 0.0032)
    floor = radius * 0.69
    parts = (
        seen(join([cup, handle])),
        *ring((radius, -half + 0.0005), (radius, half), WALL),
        touched("box", (floor, floor, 0.002), (0.0, 0.0, -half + 0.002)),
        touched("box", (0.003, 0.003, high), (radius + reach - 0.002, 0.0, 0.0)),
        *(touched("box", (reach / 2, 0.003, 0.003), (radius + reach / 2, 0.0, s * (high - 0.002))) for s in (1, -1)),
    )
    return Shape(
        "mug", parts, half_height_m=half, radius_m=radius + reach + 0.003, grasp_height_m=0.006,
        grasp_width_m=2 * radius, mass_kg=(0.08, 0.20), grasp_yaws_rad=ACROSS, has_top=True,
        **solid((cup, 1.0), (handle, 1.0)),
    )  # fmt: skip


def _bowl() -> Shape:
    rim, half, foot, wall = 0.0295, 0.017, 0.014, 0.0025
    outside = [(foot, -half), (foot, -half + 0.002), (0.021, -0.0115), (0.0262, -0.0050), (0.0286, 0.004),
               (rim, half - 0.0008)]  # fmt: skip
    inside = [(rim - wall, half - 0.0008), (0.0286 - wall, 0.004), (0.0232, -0.0042), (0.018, -0.0095),
              (0.010, -0.0122)]  # fmt: skip
    skin = lathe([(0, -half), *outside, (rim - wall / 2, half), *inside, (0, -0.0128)])
    floor = 0.69 * foot
    parts = (
        seen(skin),
        *ring((0.0275, -0.003), (rim, half), WALL),
        touched("box", (0.0155, 0.0155, 0.0065), (0.0, 0.0, -0.0085)),
        touched("box", (floor, floor, 0.0022), (0.0, 0.0, -half + 0.0022)),
    )
    return Shape(
        "bowl", parts, half_height_m=half, radius_m=rim, grasp_height_m=0.008, grasp_width_m=2 * rim,
        mass_kg=(0.05, 0.15), has_top=True, **solid((skin, 1.0)),
    )  # fmt: skip


def _screwdriver() -> Shape:
    """Return a screwdriver. It lies: shaft along +x. Six flats round the handle keep it from rolling."""
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
    return Shape(
        "screwdriver", parts, half_height_m=flat, radius_m=tip + 0.001, grasp_height_m=0.002, grasp_width_m=2 * flat,
        mass_kg=(0.04, 0.10), grasp_yaws_rad=ACROSS, **solid((grip, PLASTIC_KG_M3), (shaft, STEEL_KG_M3)),
    )  # fmt: skip


def _peg() -> Shape:
    """Return a peg: square, slender, upright; grasped high, so that the fingers stay out of what it is put into."""
    half = (0.011, 0.011, 0.035)
    box = Part("box", half, touched=True)
    return Shape("peg", (box,), half[2], half[0] * 2**0.5, 0.012, 2 * half[0], (0.03, 0.10), grasp_yaws_rad=FACES,
                 **block(half))  # fmt: skip


def _pillar() -> Shape:
    """Return a column on a foot. It is touched as an eight-pointed star."""
    radius, half, foot, tread = 0.012, 0.075, 0.022, -0.069
    column = lathe([(0, tread), (radius, tread), (radius, half - 0.002), (radius - 0.002, half), (0, half)])
    base = lathe([(0, -half), (foot - 0.001, -half), (foot, -half + 0.001), (foot, tread - 0.001),
                  (foot - 0.001, tread), (0, tread)])  # fmt: skip
    side, thick = 0.8 * foot, (tread + half) / 2
    flat, eighths = 0.78 * radius, ((1.0, 0.0, 0.0, 0.0), (np.cos(np.pi / 8), 0.0, 0.0, np.sin(np.pi / 8)))
    parts = (
        seen(join([column, base])),
        *(touched("box", (flat, flat, half - thick), (0.0, 0.0, thick), quat) for quat in eighths),
        touched("box", (side, side, thick), (0.0, 0.0, thick - half)),
    )
    return Shape("pillar", parts, half, foot, 0.045, 2 * radius, (0.08, 0.20), **solid((column, 1.0), (base, 1.0)))


SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        _cube(),
        _cylinder(),
        _can(),
        _bottle(),
        _mug(),
        _bowl(),
        _screwdriver(),
        _book(),
        _ball(),
        _peg(),
        _pillar(),
    )
}
