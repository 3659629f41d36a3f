"""What algorithms share that play episodes while they learn: where they play, and the record of what it led to.

Files of round k, in OUT/round_k:
    online.json     every update: episodes played so far, and how those of the update ended
"""

import json
from collections.abc import Sequence
from pathlib import Path

from policies.core.interface import Policy
from sim.core.errors import UserError
from sim.core.files import write_atomic
from sim.core.structured import typed
from sim.dataset.reader import Dataset
from sim.envs.simulation import SimulationConfig
from sim.episode.results import summary

FILE = "online.json"


def check_newest_chunk_alone(policy: Policy) -> None:
    """UserError for a policy that averages its chunks: what is played is then none that it decided."""
    if policy.config.ensemble is not None:
        raise UserError(
            f"policy.ensemble={policy.config.ensemble:g}: the algorithm learns from chunks as they were decided, which "
            "averaged ones are not; expected a policy of policy.ensemble=null"
        )


def world_of(rollouts: Sequence[Path]) -> SimulationConfig:
    """Return the world that a round's rollouts were played in. UserError where that was no simulation."""
    for root in rollouts:
        if world := simulated_world(root):
            return world
    raise UserError(
        f"rollouts={rollouts[0]}: played on no simulator, expected simulated ones: the algorithm plays on while "
        "it learns; another algorithm learns from what is recorded"
    )


def simulated_world(root: Path) -> SimulationConfig | None:
    """Return the world that a dataset's episodes were played in; None where that was no simulation."""
    world = Dataset(root).provenance.get("world", {})
    return typed(SimulationConfig, world, "world.") if "randomize" in world else None


class OnlineLog:
    """How the episodes of every update ended; written as it grows."""

    def __init__(self, folder: Path):
        self._path = folder / FILE
        self.rows: list[dict] = []

    def add(self, episodes: list[dict], besides: int = 0, **more: float) -> None:
        """Add an update. episodes: rows as `sim.episode.results` has them; besides: how many more were played, which
        did not end as the policy would have; more: what else is to be kept of it.
        """
        played = self.rows[-1]["episodes"] if self.rows else 0
        brief = summary(episodes)
        kept = {name: brief[name] for name in ("success_rate", "throughput_per_hour", "mean_time_s")}
        self.rows.append({"episodes": played + len(episodes) + besides, **kept, **more})
        write_atomic(self._path, json.dumps(self.rows, indent=1).encode())


def read_log(folder: Path) -> list[dict]:
    """Return the rows of an algorithm that played, none of one that did not."""
    path = folder / FILE
    return json.loads(path.read_text()) if path.is_file() else []
