"""What the tool feels, from one state frame: the gripper's current, and a force sensor between flange and gripper."""

import numpy as np

from real.fairino.controller_state import ControllerState


def touch_of(state: ControllerState, gripper_force_n: float) -> np.ndarray | None:
    """Return float32 (7,) as `sim.core.contract.TOUCH_NAMES` has it; None where no force sensor is active.

    gripper_force_n: of a finger at the gripper's highest current, of which the frame has percents. The sensor's data
    are taken as those of the tool's frame, `FT_SetRCS(0)`, about its origin, as forces of the world on the tool.
    """
    if state.wrench is None:
        return None
    return np.array([abs(state.gripper_current) / 100 * gripper_force_n, *state.wrench], np.float32)
