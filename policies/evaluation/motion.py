"""How an episode moved, beside whether it succeeded: placement error, jerk, and on which side a pillar was passed.

Shapes: n periods of an episode, J joints.
"""

from collections.abc import Sequence

import numpy as np

from sim.core.contract import GROUNDING_COLUMNS
from sim.envs.simulation import Simulation
from sim.episode.loop import Step

OBJECT, TARGET = GROUNDING_COLUMNS[:2]  # in the world
LEFT, RIGHT = "left", "right"  # as the operator sees it, who stands behind the arm: left is -y
ASIDE_M = 0.05  # from the object, seen across the way to the target: nearer is no way around it


class Motion:
    """Takes the steps of an episode; satisfies `sim.episode.loop.Recorder`."""

    def __init__(self, world: Simulation):
        self._world = world
        self._joints_rad: list[np.ndarray] = []
        self._tool_xy_m: list[np.ndarray] = []

    def add(self, step: Step) -> None:
        self._joints_rad.append(step.executed[: self._world.robot.joints])
        self._tool_xy_m.append(self._world.scene_state.tool_pos_w[:2])
        self._object_xy_m, self._target_xy_m = step.ground_truth[OBJECT][:2], step.ground_truth[TARGET][:2]

    def row(self) -> dict:
        """Return what results.json holds of it in an episode.

        `placement_error_mm`: None where the task does not bring the object to the target; `way`: None where there is
        none to choose.
        """
        task = self._world.task
        obstacle = task.max_objects > 0 and not task.handled_objects  # the object is none to handle, but to pass
        path = np.array(self._tool_xy_m)
        apart_m = float(np.linalg.norm(self._object_xy_m - self._target_xy_m))
        return {
            "placement_error_mm": round(1e3 * apart_m, 2) if task.brings_object else None,
            "jerk_rad_s3": round(rms_jerk(np.array(self._joints_rad), self._world.robot.control_period_s), 2),
            "way": way(path, self._object_xy_m, self._target_xy_m) if obstacle else None,
        }


def rms_jerk(joints_rad: np.ndarray, period_s: float) -> float:
    """Return the root mean square, rad/s^3, of the third differences of joint targets (n, J)."""
    jerk = np.diff(joints_rad, n=3, axis=0) / period_s**3
    return float(np.sqrt(np.square(jerk).mean())) if len(jerk) else 0.0


def way(tool_xy_m: np.ndarray, object_xy_m: np.ndarray, target_xy_m: np.ndarray) -> str | None:
    """Return on which side the tool's path (n, 2) passed an object on its way to a target; None: on neither."""
    passed = np.flatnonzero(tool_xy_m[:, 0] < object_xy_m[0])
    if target_xy_m[0] >= object_xy_m[0] or not len(passed):
        return None
    aside_m = tool_xy_m[passed[0], 1] - object_xy_m[1]
    return None if abs(aside_m) < ASIDE_M else LEFT if aside_m < 0 else RIGHT


def summary(episodes: Sequence[dict]) -> dict:
    """Return medians over episodes, of the placement error over those that succeeded: None where none did, or where the
    task places nothing."""
    errors_mm = [one["placement_error_mm"] for one in episodes if one["success"]]
    placed = [one for one in errors_mm if one is not None]
    return {
        "placement_error_mm_median": float(np.median(placed)) if placed else None,
        "jerk_rad_s3_median": float(np.median([one["jerk_rad_s3"] for one in episodes])),
    }
