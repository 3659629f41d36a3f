"""The graspable things of the table, by name. Distractors have them too.

Here are the plain ones; tools and vessels have a file each. Sizes are nominal; a slot of the scene has a shape at a
scale drawn by the episode (`sim/scene/object_slot.py`).
"""

import numpy as np

from sim.scene import tools, vessels
from sim.scene.meshing import join, lathe
from sim.scene.parts import ACROSS, CHARCOAL, PAPER, Part, Shape, block, seen, solid, touched, upright

FACES = (0.0, np.pi / 2)


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


def _cylinder() -> Shape:
    radius, half, round_off = 0.020, 0.025, 0.0015
    skin = lathe([(0, -half), (radius - round_off, -half), (radius, -half + round_off), (radius, half - round_off),
                  (radius - round_off, half), (0, half)])  # fmt: skip
    return Shape(
        "cylinder", (seen(skin), *upright(radius, half)), half_height_m=half, radius_m=radius, grasp_height_m=0.004,
        grasp_width_m=2 * radius, mass_kg=(0.05, 0.15), has_top=True, **solid((skin, 1.0)),
    )  # fmt: skip


def _sponge() -> Shape:
    half, pad = (0.034, 0.022, 0.014), 0.004
    parts = (
        Part("box", (half[0], half[1], half[2] - pad), (0.0, 0.0, -pad)),
        Part("box", (half[0], half[1], pad), (0.0, 0.0, half[2] - pad), rgb=CHARCOAL),
        touched("box", half),
    )
    return Shape(
        "sponge", parts, half_height_m=half[2], radius_m=float(np.hypot(*half[:2])), grasp_height_m=0.002,
        grasp_width_m=2 * half[1], mass_kg=(0.03, 0.08), grasp_yaws_rad=ACROSS, **block(half),
    )  # fmt: skip


def _brick() -> Shape:
    """Return a toy brick with two rows of studs."""
    half, stud = (0.032, 0.016, 0.0125), 0.00125
    studs = [(x, y, half[2] - stud) for x in (-0.024, -0.008, 0.008, 0.024) for y in (-0.008, 0.008)]
    parts = (
        Part("box", (half[0], half[1], half[2] - stud), (0.0, 0.0, -stud)),
        *(Part("cylinder", (0.005, stud), at) for at in studs),
        touched("box", half),
    )
    return Shape(
        "brick", parts, half_height_m=half[2], radius_m=float(np.hypot(*half[:2])), grasp_height_m=0.002,
        grasp_width_m=2 * half[1], mass_kg=(0.04, 0.12), grasp_yaws_rad=ACROSS, **block(half),
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
        _cube(), _cylinder(), vessels.can(), vessels.bottle(), vessels.mug(), vessels.bowl(), tools.screwdriver(),
        _book(), _ball(), _peg(), _pillar(), vessels.jar(), vessels.vase(), vessels.glass(), vessels.pot(),
        tools.hammer(), tools.brush(), tools.marker(), tools.torch(), tools.spoon(), _sponge(), _brick(),
    )
}  # fmt: skip
