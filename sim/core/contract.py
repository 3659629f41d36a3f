"""What a policy sees and what it returns, in simulation and on the arm alike.

Legend of shapes: H, W image height and width; D = joints + 1 (the gripper); T steps of a chunk.
Units: joint angles in rad, gripper opening 0 (closed) .. 1 (open), time in s, images uint8 RGB.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from sim.core.errors import UserError

CONTRACT_VERSION = "1"
# (3,) m each: the named object and its target in the world frame, then seen from the tool; nan where it is not known.
GROUNDING_COLUMNS = (
    "grounding.object_pos_w", "grounding.target_pos_w", "grounding.object_pos_t", "grounding.target_pos_t",
)  # fmt: skip
# Cosine and sine of two and of four times the angle by which the named object, as fingers grasp it, and its target are
# turned from the tool about the tool's axis, each the mean over the turns that are alike: the first two are zero where
# quarter turns are alike, all are for what may be turned any way. nan: not known.
TURN_COLUMNS, TURN_NAMES = ("grounding.object_turn_t", "grounding.target_turn_t"), ("cos2", "sin2", "cos4", "sin4")
TRUTH_COLUMNS = (*GROUNDING_COLUMNS, *TURN_COLUMNS)
# What the tool feels, where a robot can tell: the fingers' force on what they hold, N, and the force, N, and torque,
# N·m about the tool point, that the world exerts on gripper and fingers, seen from the tool. nan: not known.
TOUCH_COLUMN = "touch"
TOUCH_NAMES = ("grip_n", "force_x_n", "force_y_n", "force_z_n", "torque_x_nm", "torque_y_nm", "torque_z_nm")
# On an arm, where time goes on meanwhile: what was decided later than this after its look moves nothing.
MAX_DECISION_S = 5.0
# A thing is in the hand when it is so near to the tool point and the gripper opened less than that.
IN_HAND_M, HOLDING_OPENING = 0.03, 0.9


@dataclass(frozen=True)
class Observation:
    """One look at the world.

    images: camera name -> uint8 (H, W, 3). May render on first access: an agent that still has
        actions to play does not pay for images.
    state: float32 (D,) measured joint angles in rad, then the gripper opening 0..1.
    instruction: what the operator asked for.
    stamp_s: when it was taken, on the environment's own clock.
    age_s: how old it was when it was handed out.
    touch: float32 (7,) as `TOUCH_NAMES` has it, of the time of the state; None: this robot does not tell.
    depth: camera name -> uint16 (H, W), mm along the optical axis of what the same pixel of the image shows, 0 where
        nothing was measured. Drawn on first access as images are; empty: no camera measures depth.
    """

    images: Mapping[str, np.ndarray]
    state: np.ndarray
    instruction: str
    stamp_s: float
    age_s: float = 0.0
    touch: np.ndarray | None = None
    depth: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Feedback:
    """What an environment says after one policy period."""

    reward: float  # -1 a step, 0 on success (RECAP's time-to-go reward)
    terminated: bool  # the task is over: success
    truncated: bool  # the time limit, an operator or a fault ended the episode
    success: bool


def check_action(action: np.ndarray, dimension: int) -> np.ndarray:
    """Return the action as float32 (D,), or ValueError when its shape or a value is not usable."""
    action = np.asarray(action, np.float32)
    if action.shape != (dimension,):
        raise ValueError(f"action has shape {action.shape}, expected ({dimension},)")
    if not np.isfinite(action).all():
        raise ValueError(f"action holds a value that is not finite: {action}")
    return action


def check_decision_time(took_s: float) -> None:
    """Raise UserError where a decision came longer than MAX_DECISION_S after its look."""
    if took_s > MAX_DECISION_S:
        raise UserError(
            f"a decision took {took_s:.1f} s, at most {MAX_DECISION_S:g} s: the arm does not move on so old a look; "
            "decide with a smaller policy or on a faster machine (server=)"
        )
