"""Pools of episodes whose outcomes are known."""

from pathlib import Path

import pytest
from outcome_examples import write_dataset

from rl.data.pool import Pool, open_pool


@pytest.fixture(scope="session")
def roots(tmp_path_factory) -> dict[str, Path]:
    """Demonstrations, rollouts and interventions; 32 episodes."""
    folder = tmp_path_factory.mktemp("data")
    demos = [(i, 40 + 2 * i, True, None) for i in range(12)]
    rollouts = [(500 + i, 50 + i if i % 3 else 100, bool(i % 3), None) for i in range(15)]
    interventions = [(500 + 3 * i, 90, True, 60) for i in range(5)]
    return {
        "demos": write_dataset(folder / "demos", demos, "expert"),
        "rollouts": write_dataset(folder / "rollouts", rollouts, "policy"),
        "interventions": write_dataset(folder / "interventions", interventions, "intervention"),
    }


@pytest.fixture(scope="session")
def pool(roots) -> Pool:
    return open_pool(list(roots.values()))
