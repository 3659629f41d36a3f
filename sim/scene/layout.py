"""Where things stand at the start of an episode and what is asked for; putting them there."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import mujoco
import numpy as np

from sim.core import records
from sim.scene.build import Scene
from sim.scene.fixtures import PARKED_M
from sim.scene.parts import turned

Point = tuple[float, float]
Circle = tuple[float, float, float]  # x, y, radius


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where things begin and what is asked for. Index 0 of objects and of targets is what is named.

    Positions in m and yaws in rad in the world frame, on the table. A task that draws more has a subclass with those
    fields: they are recorded like these.
    """

    instruction: str
    wording: int  # which of the task's sentences, then of its grammar's
    object_shapes: tuple[str, ...] = ()
    object_colours: tuple[str, ...] = ()
    object_xy_m: tuple[Point, ...] = ()
    object_yaw_rad: tuple[float, ...] = ()
    target_colours: tuple[str, ...] = ()
    target_xy_m: tuple[Point, ...] = ()
    target_yaw_rad: tuple[float, ...] | None = None  # None: as their bodies were made
    keep_out_m: tuple[Circle, ...] | None = None  # where no distractor may stand, beside the task's things
    subtasks: tuple[str, ...] | None = field(default=None, metadata={"separator": ";"})  # instructions of a long task
    distractor_shapes: tuple[str, ...] = ()
    distractor_colours: tuple[str, ...] = ()
    distractor_xy_m: tuple[Point, ...] = ()
    distractor_yaw_rad: tuple[float, ...] = ()
    # Where the tool begins, in place of what randomization draws; recorded with what is drawn, counted from home.
    tool_start_w: tuple[float, float, float] | None = field(default=None, compare=False)
    tool_start_yaw_rad: float | None = field(default=None, compare=False)

    def to_record(self) -> dict[str, Any]:
        """Return the flat record, with how many objects, targets and distractors there are."""
        counts = {"objects": len(self.object_shapes), "targets": len(self.target_colours)}
        counts = {name: number for name, number in counts.items() if number}
        return {**counts, "distractors": len(self.distractor_shapes), **records.to_record(self)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Return the layout of a recorded episode."""
        return records.from_record(cls, record)


def as_points(xy: np.ndarray | Iterable) -> tuple[Point, ...]:
    """Return positions (n, 2) as plain numbers."""
    return tuple((float(x), float(y)) for x, y in xy)


def apply_layout(scene: Scene, data: mujoco.MjData, layout: Layout) -> None:
    """Put objects, distractors and targets where the layout has them; park those it does not use."""
    for i in range(len(scene.objects)):
        put_object(scene, data, i, PARKED_M + [0.1 * i, 0, 0])
    _put_objects(scene, data, 0, layout.object_xy_m, layout.object_yaw_rad)
    first = len(scene.objects) - scene.inventory.distractors
    _put_objects(scene, data, first, layout.distractor_xy_m, layout.distractor_yaw_rad)
    yaws = layout.target_yaw_rad or (0.0,) * len(layout.target_xy_m)
    for i, body in enumerate(scene.targets):
        used = i < len(layout.target_xy_m)
        scene.model.body_pos[body] = (*layout.target_xy_m[i], 0.0) if used else PARKED_M + [0.2 * i, 0.3, 0]
        scene.model.body_quat[body] = turned(yaws[i] if used else 0.0)


def _put_objects(
    scene: Scene, data: mujoco.MjData, first: int, xy_m: Sequence[Point], yaw_rad: Sequence[float]
) -> None:
    """Put objects `first`.. on the table, in the shapes that they have."""
    for i, (xy, yaw) in enumerate(zip(xy_m, yaw_rad, strict=True), first):
        put_object(scene, data, i, [*xy, scene.slots[i].half_height_m], yaw)


def put_object(
    scene: Scene, data: mujoco.MjData, i: int, pos_w: Sequence[float] | np.ndarray, yaw_rad: float = 0.0
) -> None:
    """Put object `i` upright with its middle at `pos_w` (3,) m."""
    first = scene.object_qpos[i]
    data.qpos[first : first + 7] = [*pos_w, *turned(yaw_rad)]
