"""Where an arm may be on its bench: a box for the tool, the table's height, boxes to keep out of.

All in the base frame of the arm (origin under the arm on the table, z up, the bench over -x), m.
"""

from dataclasses import dataclass, field

from sim.core.errors import UserError

Point = tuple[float, float, float]


@dataclass(frozen=True)
class KeepOut:
    """A box that no part of the arm may come near: centre, half lengths, turned by `yaw_deg` about z."""

    center_m: Point
    half_m: Point
    yaw_deg: float = 0.0

    def __post_init__(self) -> None:
        _check_points(center_m=self.center_m, half_m=self.half_m)
        if min(self.half_m) <= 0:
            raise UserError(f"half_m={self.half_m}: expected three half lengths above 0, in m")


@dataclass(frozen=True)
class Workspace:
    """Limits of the tool point (site `tcp`), and what stands around the arm. `table_z_m` None: no table."""

    tool_min_m: Point = (-0.80, -0.60, -0.01)
    tool_max_m: Point = (0.30, 0.60, 0.85)
    table_z_m: float | None = 0.0
    obstacles: tuple[KeepOut, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        _check_points(tool_min_m=self.tool_min_m, tool_max_m=self.tool_max_m)
        if any(low >= high for low, high in zip(self.tool_min_m, self.tool_max_m, strict=True)):
            raise UserError(f"tool_min_m={self.tool_min_m} is not below tool_max_m={self.tool_max_m}")


def _check_points(**points: Point) -> None:
    for name, point in points.items():
        if len(point) != 3:
            raise UserError(f"{name}={point}: expected three numbers x, y, z in m")
