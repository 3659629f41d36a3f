"""`python -m sim.guard_benchmark [chunks=1000000] [scenes=2000] [seed=0] [workers=2]`

What the motion guard lets through. Arbitrary chunks: the largest share of each limit that left the guard
(20 Hz) and the servo layer behind it (125 Hz). Motions in clutter: in how many of those that would have
ended in a collision, stopping distance included, the guard prevented it, and how often it intervened without need.
"""

import functools
import logging
import math
from dataclasses import dataclass

import numpy as np

from sim.core.console import track
from sim.core.options import SEED, at_least, option
from sim.episode.results import wilson
from sim.guard.clearance import MARGIN_M
from sim.guard_benchmark.fuzz import Tally, play
from sim.guard_benchmark.scenes import Outcome, draw, judge
from sim.parallel.workers import WorkerConfig, map_seeds
from sim.robots.robot import RobotConfig

_log = logging.getLogger(__name__)

PIECE = 1000  # chunks, a piece of work
SERVO_EVERY = 20  # episodes
LONGEST_CHUNK = 8


@dataclass(frozen=True, kw_only=True)
class GuardBenchmarkConfig(WorkerConfig):
    """Options of the program."""

    chunks: int = option(1_000_000, "arbitrary ones for the guard, a twentieth for the servo layer too", at_least(1))
    scenes: int = option(2000, "motions among obstacles", at_least(1))
    seed: int = option(0, "of everything drawn", SEED)


def fuzz(seed: int, piece: int) -> Tally:
    """Play at least PIECE arbitrary chunks."""
    rng, tally, episode = np.random.default_rng([seed, piece]), Tally(), 0
    while tally.chunks < PIECE:
        tally.add(play(RobotConfig().load(), rng, through_servo=episode % SERVO_EVERY == 0))
        episode += 1
    return tally


def judge_scene(seed: int, number: int) -> Outcome:
    """Judge one motion in clutter; the guard knows 0 to LONGEST_CHUNK targets ahead."""
    rng = np.random.default_rng([seed, number])
    robot = RobotConfig().load()
    scene, truth = draw(robot, rng)
    return judge(robot, scene, truth, int(rng.integers(LONGEST_CHUNK + 1)))


def fuzz_all(config: GuardBenchmarkConfig) -> Tally:
    total, pieces = Tally(), math.ceil(config.chunks / PIECE)
    make = functools.partial(functools.partial, fuzz, config.seed)
    for tally in track(map_seeds(make, range(pieces), config), "arbitrary chunks", pieces):
        total.add(tally)
    return total


def judge_all(config: GuardBenchmarkConfig) -> list[Outcome]:
    make = functools.partial(functools.partial, judge_scene, config.seed)
    return list(track(map_seeds(make, range(config.scenes), config), "motions in clutter", config.scenes))


def tally_lines(tally: Tally) -> list[str]:
    """Return what left guard and servo."""
    shares = {"guard, 20 Hz": tally.guard, "servo, 125 Hz": tally.servo}
    return [
        f"{tally.chunks} arbitrary chunks, {tally.actions} actions, {tally.ticks} servo ticks behind them: "
        f"{tally.beyond} values beyond a limit",
        *(f"  {where}: " + ", ".join(f"{n} {s:.6f}" for n, s in of.items()) for where, of in shares.items()),
        "  the guard intervened: " + ", ".join(f"{reason} {n}" for reason, n in tally.counts.most_common()),
    ]


def outcome_lines(outcomes: list[Outcome]) -> list[str]:
    """Return recall and false alarms, each with its 95 % Wilson interval."""
    colliding = [o for o in outcomes if o.would_collide]
    free = [o for o in outcomes if not o.would_collide]
    roomy = [o for o in free if o.unguarded_m >= MARGIN_M]
    return [
        f"{len(outcomes)} motions in clutter",
        "  collisions prevented: " + _share([o.guarded_m >= 0 for o in colliding]),
        "  collisions in which the guard intervened: " + _share([o.intervened for o in colliding]),
        "  false alarms, nothing would have been touched: " + _share([o.intervened for o in free]),
        f"  false alarms, all would have kept {MARGIN_M * 1e3:.0f} mm: " + _share([o.intervened for o in roomy]),
    ]


def _share(flags: list[bool]) -> str:
    if not flags:
        return "none"
    low, high = wilson(sum(flags), len(flags))
    return f"{sum(flags)} of {len(flags)}, {sum(flags) / len(flags):.2%} (95 % interval {low:.2%} to {high:.2%})"


def main(config: GuardBenchmarkConfig) -> None:
    _log.info("\n".join(outcome_lines(judge_all(config))))
    _log.info("\n".join(tally_lines(fuzz_all(config))))
