"""Who lays out the task and says how it ended: the emulator's own port, or a person beside the arm.

Kept apart from the driver: nothing here exists on a real controller.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from real.core.json_lines import LineClient


@dataclass(frozen=True)
class Task:
    """What stands on the bench. A success counts when it has held for `settled_periods`."""

    instruction: str
    time_limit_s: float
    settled_periods: int = 1


@dataclass(frozen=True)
class Outcome:
    """How the episode stands now."""

    success: bool


class Bench(Protocol):
    """sets_start_pose: laying out also puts the arm at its start pose; otherwise the robot goes home."""

    sets_start_pose: bool

    def prepare(self, seed: int) -> Task: ...
    def outcome(self) -> Outcome: ...
    def ground_truth(self) -> dict[str, np.ndarray]: ...
    def metadata(self) -> dict: ...
    def close(self) -> None: ...


class EmulatedBench:
    """The bench of `real.emulator.emulator`: laid out by seed, judged by the simulator's own predicate."""

    sets_start_pose = True

    def __init__(self, address: tuple[str, int], deadline_s: float = 5.0):
        self._client = LineClient("the emulator's bench", address, deadline_s)

    def prepare(self, seed: int) -> Task:
        answer, _ = self._client.ask({"do": "reset", "seed": int(seed)})
        return Task(answer["instruction"], answer["time_limit_s"], answer["settled_periods"])

    def outcome(self) -> Outcome:
        return Outcome(self._client.ask({"do": "success"})[0]["success"])

    def ground_truth(self) -> dict[str, np.ndarray]:
        """Privileged truth, as the simulator's `Simulation.ground_truth`."""
        answer, _ = self._client.ask({"do": "ground_truth"})
        return {name: np.array(value, np.float32) for name, value in answer.items() if name != "bytes"}

    def metadata(self) -> dict:
        """Every drawn value, named as the simulator's environment names them."""
        record = self._client.ask({"do": "episode_record"})[0]
        return {f"draw/{name}": value for name, value in record.items()}

    def cause(self, accident: str, amount: float | None = None, for_s: float | None = None) -> None:
        """Inject a fault (fault_injection.py): how much of it, and for how long where it lasts; "end" ends all."""
        self._client.ask({"do": "inject", "what": accident, "amount": amount, "for_s": for_s})

    def ask(self, what: str) -> dict:
        """The emulator's own records: "monitor" (what was commanded) or "fault_counts" (what was injected)."""
        return self._client.ask({"do": what})[0]

    def close(self) -> None:
        self._client.close()


@dataclass
class OperatorBench:
    """A person lays out the task, and judges by key (`sim.teleop.intervention.AttendedEnv`)."""

    instruction: str
    time_limit_s: float
    ask: Callable[[str], None]  # says so and returns when the person has confirmed

    sets_start_pose = False

    def prepare(self, seed: int) -> Task:
        self.ask(f"Lay out for: {self.instruction!r}. Hands clear, button in reach? Enter.")
        return Task(self.instruction, self.time_limit_s)

    def outcome(self) -> Outcome:
        """Nothing here can see."""
        return Outcome(success=False)

    def ground_truth(self) -> dict[str, np.ndarray]:
        return {}  # nobody measures where things stand

    def metadata(self) -> dict:
        return {}

    def close(self) -> None:
        """The person stays."""
