"""How good demonstrations are: the ways in which an expert falls short, and how often.

Imitation copies what it is shown, slowness, pauses and failed grasps included; RECAP is there to improve on them.
`conf/quality/` holds the mixes. What happens is flagged frame by frame in the dataset.
"""

from dataclasses import dataclass

import numpy as np

from sim.core.options import PROBABILITY, Options, between, option, span

TICK_S = 0.05  # in which the expert counts time, whatever the control rate
Range = tuple[float, float]
PERTURBED_WAYPOINTS = ("approach", "descend", "carry", "lower")
FAILED_GRASP_M = (0.033, 0.045)  # so far beside the object, the gripper closes on nothing
KINDS = ("perturbation", "near_miss", "failed_grasp", "hesitation", "noise")


@dataclass(frozen=True)
class QualityConfig(Options):
    """Of each kind of imperfection, the probability that an episode shows it."""

    speed: Range = option((0.5, 0.95), "of what a policy is allowed", span(0.05, 0.98))
    detour_m: float = option(0.0, "how far the way to the object may lead aside", between(0.0, 0.1))
    perturbation_prob: float = option(
        0.3, "the arm is driven off its way, flagged `perturbed`, and recovers", PROBABILITY
    )
    near_miss_prob: float = option(
        0.2, "the arm is driven down beside the object, flagged `perturbed`, and recovers", PROBABILITY
    )
    noise_prob: float = option(0.0, "several small perturbations (as in DART), flagged `perturbed`", PROBABILITY)
    failed_grasp_prob: float = option(
        0.0, "a grasp beside the object, flagged `failed_grasp`; the next one `retrying`", PROBABILITY
    )
    hesitation_prob: float = option(0.0, "the arm pauses once or more, flagged `hesitating`", PROBABILITY)

    def probability(self, kind: str) -> float:
        """Return the probability of one of KINDS."""
        return getattr(self, f"{kind}_prob")

    def draw(self, rng: np.random.Generator) -> "Imperfections":
        """Draw what is to go wrong in one episode, where the task has a waypoint for it."""
        shown = {kind: bool(rng.random() < self.probability(kind)) for kind in KINDS}
        pauses = int(rng.integers(1, 4)) if shown["hesitation"] else 0
        return Imperfections(
            perturbed_waypoint=str(rng.choice(PERTURBED_WAYPOINTS)) if shown["perturbation"] else "",
            near_misses=int(shown["near_miss"]),
            failed_grasps=int(shown["failed_grasp"]),
            pause_ticks=tuple(sorted(rng.integers(5, 80, pauses).tolist())),
            noise_ticks=tuple(sorted(rng.integers(5, 90, 4).tolist())) if shown["noise"] else (),
        )


CLEAN = QualityConfig(perturbation_prob=0.0, near_miss_prob=0.0)


@dataclass
class Imperfections:
    """What is still to go wrong in an episode; used up as it happens."""

    perturbed_waypoint: str  # on the way to it the arm is driven aside
    near_misses: int
    failed_grasps: int
    pause_ticks: tuple[int, ...]  # from the start
    noise_ticks: tuple[int, ...]
