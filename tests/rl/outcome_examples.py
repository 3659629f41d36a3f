"""Small datasets without pictures, whose episodes' outcomes are given."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from fr3 import FR3

from sim.dataset.reader import Column, DatasetWriter, Episode, Features

FEATURES = Features((), (0, 0), {"observation.state": Column("float32", (7,)), "intervention": Column("bool")})
LIMIT = {"pick_place": 100}


def write_dataset(
    root: Path,
    episodes: Sequence[tuple],
    source: str | None = "policy",
    task: str = "pick_place",
    robot: str = FR3.name,
    behaviour: str = "",
    fault: str = "",
) -> Path:
    """episodes: (seed, length, success, first frame of an intervention or None). behaviour: a checkpoint. fault: of the
    robot, which ended each."""
    made_by = {"world": {"task": task}, **({"behaviour": {"checkpoint": behaviour}} if behaviour else {})}
    with DatasetWriter(root, FEATURES, FR3.control_hz, robot, made_by) as writer:
        for seed, length, success, begin in episodes:
            intervention = np.zeros(length, bool) if begin is None else np.arange(length) >= begin
            state = np.random.default_rng(seed).normal(size=(length, 7)).astype(np.float32)
            columns = {"observation.state": state, "intervention": intervention}
            metadata = {"seed": seed, "success": success, "source": source, **({"robot/fault": fault} if fault else {})}
            writer.commit(Episode(columns, "put it there", {}, metadata))
    return root
