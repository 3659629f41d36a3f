"""Things that hold something: they stand on their foot, and all but the closed ones are open at the top."""

import numpy as np

from sim.scene.meshing import bent_rod, join, lathe
from sim.scene.parts import ACROSS, CHARCOAL, PAPER, STEEL, Part, Shape, ring, seen, solid, touched, upright

WALL = 0.008  # as touched: the pads would be pressed through a wall as thin as the one that is seen


def can() -> Shape:
    radius, half, neck = 0.026, 0.037, 0.0215
    side = lathe([(0, -half + 0.004), (radius, -half + 0.004), (radius, half - 0.006), (0, half - 0.006)])
    top = lathe([(0, half - 0.007), (radius, half - 0.006), (neck + 0.0015, half - 0.001), (neck + 0.0015, half),
                 (neck, half), (neck - 0.001, half - 0.003), (0, half - 0.003)])  # fmt: skip
    tab = Part("box", (0.0065, 0.003, 0.0005), (0.004, 0.0, half - 0.0022), rgb=CHARCOAL)
    foot = lathe([(0, -half), (neck, -half), (radius, -half + 0.004), (0, -half + 0.005)])
    parts = (seen(side), seen(top, STEEL), seen(foot, STEEL), tab, *upright(radius, half))
    return Shape(
        "can", parts, half_height_m=half, radius_m=radius, grasp_height_m=0.008, grasp_width_m=2 * radius,
        mass_kg=(0.05, 0.20), has_top=True, **solid((side, 1.0)),
    )  # fmt: skip


def bottle() -> Shape:
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


def mug() -> Shape:
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


def bowl() -> Shape:
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


def jar() -> Shape:
    radius, half, lid = 0.025, 0.030, 0.0225
    glass = lathe([(0, -half), (radius - 0.003, -half), (radius, -half + 0.003), (radius, half - 0.018),
                   (radius - 0.001, half - 0.014), (lid - 0.002, half - 0.011), (0, half - 0.011)])  # fmt: skip
    top = lathe([(0, half - 0.012), (lid, half - 0.012), (lid, half - 0.001), (lid - 0.001, half), (0, half)])
    return Shape(
        "jar", (seen(glass), seen(top, STEEL), *upright(radius, half)), half_height_m=half, radius_m=radius,
        grasp_height_m=0.0, grasp_width_m=2 * radius, mass_kg=(0.08, 0.20), has_top=True,
        **solid((glass, 1.0), (top, 1.0)),
    )  # fmt: skip


def vase() -> Shape:
    belly, half, foot, neck, wall = 0.0235, 0.040, 0.018, 0.013, 0.002
    outside = [(foot, -half), (foot, -half + 0.002), (0.0222, -0.022), (belly, -0.014), (belly, -0.006),
               (0.0215, 0.004), (neck + 0.002, 0.018), (neck, 0.026), (0.0155, half)]  # fmt: skip
    inside = [(0.0155 - wall, half), (neck - wall, 0.026), (neck - wall, 0.012)]
    skin = lathe([(0, -half), *outside, *inside, (0, 0.012)])
    under = 0.69 * foot
    parts = (
        seen(skin),
        touched("cylinder", (belly, 0.012), (0.0, 0.0, -0.010)),
        touched("box", (under, under, 0.012), (0.0, 0.0, -half + 0.012)),
        touched("cylinder", (0.0155, (half - 0.002) / 2), (0.0, 0.0, (half + 0.002) / 2)),
    )
    return Shape(
        "vase", parts, half_height_m=half, radius_m=belly, grasp_height_m=-0.010, grasp_width_m=2 * belly,
        mass_kg=(0.06, 0.15), has_top=True, **solid((skin, 1.0)),
    )  # fmt: skip


def glass() -> Shape:
    low, high, half, wall = 0.0235, 0.0255, 0.033, 0.002
    skin = lathe([(0, -half), (low - 0.001, -half), (low, -half + 0.001), (high, half - 0.0008), (high - 0.0008, half),
                  (high - wall, half), (low - wall, -half + 0.007), (0, -half + 0.006)])  # fmt: skip
    floor = low * 0.69
    parts = (
        seen(skin),
        *ring((low, -half + 0.0005), (high, half), WALL),
        touched("box", (floor, floor, 0.003), (0.0, 0.0, -half + 0.003)),
    )
    return Shape(
        "glass", parts, half_height_m=half, radius_m=high, grasp_height_m=0.006, grasp_width_m=low + high,
        mass_kg=(0.06, 0.15), has_top=True, **solid((skin, 1.0)),
    )  # fmt: skip


def pot() -> Shape:
    radius, half, wall, reach, high = 0.0270, 0.018, 0.002, 0.0095, 0.007
    inner = radius - wall
    cup = lathe([(0, -half), (radius - 0.003, -half), (radius, -half + 0.003), (radius, half - 0.0008),
                 (radius - 0.0008, half), (inner, half), (inner, -half + 0.004), (0, -half + 0.003)])  # fmt: skip
    bend = np.linspace(-np.pi / 2, np.pi / 2, 7)
    side = [(radius - 0.001 + reach * np.cos(a), 0.007 + high * np.sin(a)) for a in bend]
    ear = bent_rod(side, 0.0025, 6)
    other = bent_rod([(-x, z) for x, z in reversed(side)], 0.0025, 6)
    floor = radius * 0.69
    parts = (
        seen(join([cup, ear, other])),
        *ring((radius, -half + 0.0005), (radius, half), WALL),
        touched("box", (floor, floor, 0.002), (0.0, 0.0, -half + 0.002)),
        *(touched("box", (reach / 2, 0.0025, high), (s * (radius + reach / 2), 0.0, 0.007)) for s in (1, -1)),
    )
    return Shape(
        "pot", parts, half_height_m=half, radius_m=radius + reach + 0.002, grasp_height_m=0.004,
        grasp_width_m=2 * radius, mass_kg=(0.08, 0.20), grasp_yaws_rad=ACROSS, has_top=True, **solid((cup, 1.0)),
    )  # fmt: skip
