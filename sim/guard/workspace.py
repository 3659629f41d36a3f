"""Where an arm may be on its bench: a box for the tool, the table's height, boxes to keep out of.

All in the base frame of the arm (origin under the arm on the table, z up, the bench over -x), m.
"""

from dataclasses import dataclass

from sim.core.errors import UserError
from sim.core.options import Options, above, between, option, required, shown

Point = tuple[float, float, float]


class Coordinates:
    """A check of a point, or of half lengths."""

    expected = "x, y, z in m"

    def __call__(self, name: str, value: Point) -> None:
        if len(value) != 3:
            raise UserError(f"{name}={shown(value)}, expected {self.expected}")


POINT = Coordinates()


@dataclass(frozen=True)
class KeepOut(Options):
    """A box that no part of the arm may come near: centre, half lengths, turned by `yaw_deg` about z."""

    center_m: Point = required("of the box", POINT)
    half_m: Point = required("half lengths", above(0.0), POINT)
    yaw_deg: float = option(0.0, "about z", between(-360, 360))


@dataclass(frozen=True)
class Workspace(Options):
    """Limits of the tool point (site `tcp`), and what stands around the arm. `table_z_m` None: no table."""

    tool_min_m: Point = option((-0.80, -0.60, -0.01), "lowest corner of where the tool may be", POINT)
    tool_max_m: Point = option((0.30, 0.60, 0.85), "highest corner of where the tool may be", POINT)
    table_z_m: float | None = option(0.0, "height of the table; null: no table", between(-1.0, 1.0))
    obstacles: tuple[KeepOut, ...] = option((), "boxes that no part of the arm may come near")

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(low >= high for low, high in zip(self.tool_min_m, self.tool_max_m, strict=True)):
            raise UserError(f"tool_min_m={shown(self.tool_min_m)}, expected below tool_max_m={shown(self.tool_max_m)}")
