"""How good demonstrations are: which of an expert's ways of falling short an episode shows.

Imitation copies what it is shown, slowness, pauses and clumsy grasps included; RECAP is there to improve on
them. `conf/quality/` holds the mixes. What happens is flagged frame by frame in the dataset.
"""

from dataclasses import dataclass

import numpy as np

from sim.core.errors import UserError

BEAT_S = 0.05  # in which the expert counts time, whatever the control rate
Range = tuple[float, float]
PUSH_LEGS = ("approach", "descend", "carry", "lower")
FUMBLE_M = (0.033, 0.045)  # so far beside, the hand closes on nothing
FLAWS = ("pushed", "missed", "fumbled", "hesitated", "noisy")


@dataclass(frozen=True)
class QualityConfig:
    """Shares are probabilities per episode."""

    speed: Range = (0.5, 0.95)  # of what a policy is allowed
    detour_m: float = 0.0  # how far the way to the object may lead aside
    pushed: float = 0.3  # the arm is pushed off its way; flagged `perturbed`, what follows is a recovery
    missed: float = 0.2  # the arm is pushed down beside the object; flagged `perturbed`
    noisy: float = 0.0  # several small pushes (as in DART); flagged `perturbed`
    fumbled: float = 0.0  # the hand closes beside the object, flagged `fumbling`, and tries again, flagged `retrying`
    hesitated: float = 0.0  # the arm pauses once or more; flagged `hesitating`

    def __post_init__(self) -> None:
        low, high = self.speed if len(self.speed) == 2 else (0.0, 0.0)
        if not 0.05 <= low <= high <= 0.98:
            raise UserError(f"quality.speed={list(self.speed)}: expected [low, high] within 0.05 and 0.98")
        for name in FLAWS:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f"quality.{name}={getattr(self, name)}: expected a probability, 0 to 1")
        if not 0.0 <= self.detour_m <= 0.1:
            raise UserError(f"quality.detour_m={self.detour_m}: expected 0 to 0.1 m")

    def draw(self, rng: np.random.Generator) -> "Imperfections":
        """What is to go wrong in one episode, where the task has a leg for it."""
        shown = {name: bool(rng.random() < getattr(self, name)) for name in FLAWS}
        pauses = int(rng.integers(1, 4)) if shown["hesitated"] else 0
        return Imperfections(
            push=str(rng.choice(PUSH_LEGS)) if shown["pushed"] else "",
            misses=int(shown["missed"]),
            fumbles=int(shown["fumbled"]),
            pause_steps=tuple(sorted(rng.integers(5, 80, pauses).tolist())),
            bump_steps=tuple(sorted(rng.integers(5, 90, 4).tolist())) if shown["noisy"] else (),
        )


CLEAN = QualityConfig(pushed=0.0, missed=0.0)


@dataclass
class Imperfections:
    """What is still to go wrong in an episode; used up as it happens."""

    push: str  # the leg in which the arm is pushed
    misses: int
    fumbles: int
    pause_steps: tuple[int, ...]  # beats from the start
    bump_steps: tuple[int, ...]
