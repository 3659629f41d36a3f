"""Where a policy fails: success sliced by every drawn value, worst first.

Numbers are cut into thirds of the episodes, names and counts are taken as they are. Slices are
ranked by the upper end of their interval: what is at the top is bad beyond chance, not small.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sim.episode.results import wilson
from sim.randomize.episode_params import EpisodeParams
from sim.robots.robot import Robot
from sim.scene.fixtures import LIGHTS

PARTS = 3
FEWEST = 10  # episodes; a smaller slice says nothing
OF_EACH = (  # object or target; the named one's alone counts
    "object_scale", "object_mass_kg", "object_inertia", "object_friction", "object_patterns", "object_yaw_rad",
    "target_yaw_rad", "drawer_open_m", "drawer_friction_n", "drawer_damping_n_s_m",
)  # fmt: skip
XYZ, RED_GREEN_BLUE = ("x", "y", "z"), ("red", "green", "blue")
PARTS_OF = {  # what the values of a list belong to; those of others are counted from 0
    "object_xy_m": XYZ[:2], "target_xy_m": XYZ[:2],  # two each; the named one's alone count
    "light_xy_m": XYZ[:2], "base_pos_m": XYZ[:2], "start_xyz_m": XYZ, "front_pos_m": XYZ, "front_lookat_m": XYZ,
    "wrist_pos_m": XYZ, "wrist_tilt_rad": XYZ,
    "light_tint": RED_GREEN_BLUE, "table_rgb": RED_GREEN_BLUE, "backdrop_rgb": RED_GREEN_BLUE,
    "fill_xy_m": [f"{light} {axis}" for light in LIGHTS[1:] for axis in "xy"],
}  # fmt: skip
OF_THE_NAMED = {"object_colours": "object_colour", "object_shapes": "object_shape", "target_colours": "target_colour"}
UNINTERESTING = ("noise_seed",)


@dataclass(frozen=True)
class Slice:
    """The episodes with one value of an axis, or one range of it."""

    axis: str
    value: str
    n: int
    successes: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the success rate."""
        return wilson(self.successes, self.n)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.axis} {self.value}: {self.successes / self.n:.0%} of {self.n} ({low:.0%} to {high:.0%})"


def parts_of(robot: Robot) -> dict[str, Sequence[str]]:
    """What the values of a list belong to, by the name of the list; those of others are counted from 0."""
    cameras, joints = robot.camera_names, robot.joint_names
    return {
        **PARTS_OF,
        "white_balance": [f"{camera} {colour}" for camera in cameras for colour in ("red", "blue")],
        **dict.fromkeys(("exposure", "gamma", "image_noise", "motion_blur_px", "jpeg_quality"), cameras),
        "camera_skew_s": cameras,
        **dict.fromkeys(("joint_damping", "joint_friction_nm", "encoder_bias_rad"), joints),
    }


def axes(params: EpisodeParams, robot: Robot) -> dict[str, float | str]:
    """Return an episode's drawn values as axes: one number or name each."""
    known = parts_of(robot)
    named = {axis: getattr(params.layout, name)[:1] for name, axis in OF_THE_NAMED.items()}
    found: dict[str, float | str] = {axis: names[0] for axis, names in named.items() if names}
    for name, value in params.to_record().items():
        if isinstance(value, int | float) and name not in UNINTERESTING:
            found[name] = value
        elif isinstance(value, list) and name in OF_EACH:
            found |= {name: value[0]} if value else {}  # a task may have no objects
        elif isinstance(value, list):
            parts = known.get(name, [str(i) for i in range(len(value))])
            found |= {f"{name} {part}": number for part, number in zip(parts, value, strict=False)}
    return found


def slices(
    episodes: Iterable[EpisodeParams], success: Sequence[bool], robot: Robot, noted: Sequence[Mapping] = ()
) -> list[Slice]:
    """Return all slices of these episodes, worst first. noted: more axes of each, which were not drawn."""
    rows = [axes(params, robot) for params in episodes]
    rows = [{**row, **more} for row, more in zip(rows, noted, strict=True)] if noted else rows
    names = sorted(set.intersection(*(set(row) for row in rows))) if rows else []
    won = np.array(success, bool)
    found = [one for name in names for one in _cut(name, [row[name] for row in rows], won) if one.n >= FEWEST]
    return sorted(found, key=lambda one: (one.interval[1], one.axis, one.value))


def _cut(axis: str, values: list, won: np.ndarray) -> list[Slice]:
    distinct = sorted(set(values))
    if len(distinct) < 2:
        return []
    if isinstance(distinct[0], str | int):
        groups = {str(value): np.array([one == value for one in values]) for value in distinct}
    else:
        numbers = np.array(values)
        edges = np.quantile(numbers, np.linspace(0, 1, PARTS + 1))
        part = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, PARTS - 1)
        groups = {f"{edges[i]:.3g} to {edges[i + 1]:.3g}": part == i for i in range(PARTS)}
    return [Slice(axis, value, int(inside.sum()), int(won[inside].sum())) for value, inside in groups.items()]
