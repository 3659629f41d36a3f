"""Which sub-task each recorded frame was about, by the simulator's ground truth.

Shapes: T frames of an episode.
"""

import numpy as np

from policies.core.subtasks import UNKNOWN, subtask_number
from policies.processing.steps import frame_sentences
from sim.core.contract import HOLDING_OPENING
from sim.dataset.reader import Dataset

OBJECT = "grounding.object_pos_t"
BESIDE_M, ALONG_M = 0.025, 0.05  # from the tool point, across the gripper's approach and along it


def frame_subtasks(dataset: Dataset, episode: int) -> np.ndarray:
    """Return numbers (T,) in `policies.core.subtasks.SUBTASKS`; UNKNOWN where it is not known where the thing is."""
    columns = dataset.columns(episode, [OBJECT, "observation.state"])
    seen_t, opening = columns[OBJECT], columns["observation.state"][:, -1]
    held = (
        (opening < HOLDING_OPENING)
        & (np.linalg.norm(seen_t[:, :2], axis=1) < BESIDE_M)
        & (np.abs(seen_t[:, 2]) < ALONG_M)
    )
    told = frame_sentences(dataset, episode, by_step=True)
    numbers = np.array([subtask_number(one, held=bool(now)) for one, now in zip(told, held, strict=True)])
    return np.where(np.isfinite(seen_t).all(1), numbers, UNKNOWN)
