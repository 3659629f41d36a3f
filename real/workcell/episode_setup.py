"""Sets up the task and judges its outcome: through the emulator's bench port, or by a person beside the arm.

Separate from the driver: nothing here exists on a real controller.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from real.core.json_lines import JsonLineClient


@dataclass(frozen=True)
class EpisodeSetup:
    """The task on the bench. A success counts when it has held for `settle_s`."""

    instruction: str
    time_limit_s: float
    settle_s: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """The state of the episode."""

    success: bool


class Bench(Protocol):
    """task: the name of what is laid out, "" where no program knows it.

    sets_start_pose: setting up also places the arm at its start pose; otherwise the robot homes."""

    sets_start_pose: bool

    def task(self) -> str: ...
    def prepare(self, seed: int) -> EpisodeSetup: ...
    def outcome(self) -> Outcome: ...
    def ground_truth(self) -> dict[str, np.ndarray]: ...
    def metadata(self) -> dict: ...
    def close(self) -> None: ...


class EmulatedBench:
    """The bench of `real.emulator`: set up by seed, judged by the simulator's success predicate."""

    sets_start_pose = True

    def __init__(self, address: tuple[str, int], deadline_s: float = 5.0):
        self._client = JsonLineClient("the emulator's bench", address, deadline_s)

    def task(self) -> str:
        """Return the name of the task that is laid out, as `task=` has it."""
        return self._client.request({"do": "task"})[0]["task"]

    def prepare(self, seed: int) -> EpisodeSetup:
        answer, _ = self._client.request({"do": "reset", "seed": int(seed)})
        return EpisodeSetup(answer["instruction"], answer["time_limit_s"], answer["settle_s"])

    def outcome(self) -> Outcome:
        return Outcome(self._client.request({"do": "success"})[0]["success"])

    def ground_truth(self) -> dict[str, np.ndarray]:
        """Return privileged truth, as the simulator's `Simulation.ground_truth`."""
        answer, _ = self._client.request({"do": "ground_truth"})
        return {name: np.array(value, np.float32) for name, value in answer.items() if name != "bytes"}

    def metadata(self) -> dict:
        """Return every drawn value, named as the simulator's environment names them."""
        record = self._client.request({"do": "episode_record"})[0]
        return {f"draw/{name}": value for name, value in record.items()}

    def inject(self, fault: str, amount: float | None = None, for_s: float | None = None) -> None:
        """Inject a fault (fault_injection.py): how much of it, and for how long where it lasts; "end" ends all."""
        self._client.request({"do": "inject", "what": fault, "amount": amount, "for_s": for_s})

    def request(self, what: str) -> dict:
        """Return the emulator's own records: "monitor" (what was commanded) or "fault_counts" (what was injected)."""
        return self._client.request({"do": what})[0]

    def close(self) -> None:
        self._client.close()


@dataclass
class OperatorBench:
    """A person sets up the task, and judges by key (`sim.teleop.intervention.AttendedEnv`)."""

    instruction: str
    time_limit_s: float
    confirm: Callable[[str], None]  # shows the text and returns once the person has confirmed

    sets_start_pose = False

    def task(self) -> str:
        """Return nothing: the instruction is a person's own words."""
        return ""

    def prepare(self, seed: int) -> EpisodeSetup:
        self.confirm(f"Set up for: {self.instruction!r}. Hands clear, button in reach? Enter.")
        return EpisodeSetup(self.instruction, self.time_limit_s)

    def outcome(self) -> Outcome:
        """Return no success: only the person can see it."""
        return Outcome(success=False)

    def ground_truth(self) -> dict[str, np.ndarray]:
        return {}  # nobody measures where things stand

    def metadata(self) -> dict:
        return {}

    def close(self) -> None:
        """Do nothing: there is nothing to close."""
