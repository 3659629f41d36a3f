"""`python -m policies.hands_off checkpoint=CKPT [hours=18] [watch=true] [task=pick_place] [out=DIR]`

Plays a policy in one simulated world for hours of robot time without a person: episode after episode, the scene is
brought back by the expert, which puts what the task handles to a drawn free place, and the arm returns to its start
pose; the simulation is not reset between them. Where the motion guard latched or the expert cannot bring the scene
back, a person would have to: that is counted by reason, and the next episode begins in a new scene. Writes
results.json: success, successes in an hour of robot time with everything in between, and how long it went without a
person.
"""

import logging
import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from policies.core.indicator import INDICATORS
from policies.evaluation import self_correction
from policies.evaluation.earlier import check_new
from policies.evaluation.leakage import check_seeds, check_split
from policies.models import checkpoint
from policies.models.watch import load_watch
from policies.runtime.agent import PolicyAgent, load_agent
from policies.runtime.retreat import Retreat
from policies.runtime.self_correction import load_watching_agent
from sim.core.console import event, progress
from sim.core.contract import Feedback, Observation
from sim.core.errors import NOTHING_NEW, UserError, keeps
from sim.core.files import Lock
from sim.core.options import FOLDER, SEED, above, at_least, one_of, option
from sim.core.program import run_program
from sim.core.provenance import provenance
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.episode import results
from sim.episode.loop import run_episode
from sim.expert.put_back import put_back
from sim.guard.clearance import guarded
from sim.tasks.base import TASKS

_log = logging.getLogger(__name__)

PARTS = 6  # of the run, whose success is reported one by one
REST_S = 0.3  # of the arm before the next episode


@dataclass(frozen=True, kw_only=True)
class HandsOffConfig(SimulationConfig):
    """Options of the program."""

    checkpoint: str = option("runs/policy", "the policy")
    hours: float = option(18.0, "of robot time", above(0.0))
    seed: int = option(900_000, "of the world; the next ones where a person has to set up another", SEED)
    out: str | None = option(None, "null: CHECKPOINT/hands_off", FOLDER)
    watch: bool = option(False, "the policy corrects itself by the watch that rl.watch wrote beside it")
    indicator: str = option("positive", "advantage that the policy is conditioned on", one_of(*INDICATORS))
    guidance: float | None = option(None, "RECAP's beta; null: the checkpoint's own", at_least(0.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        if TASKS.get(self.task).target_kind == "drawer":
            raise UserError(f"task={self.task}: the expert cannot close drawers, expected a task without")

    @property
    def directory(self) -> Path:
        """Where results go."""
        return Path(self.out or f"{self.checkpoint}/hands_off")

    @property
    def seeds(self) -> range:
        """Seeds that scenes may be set up by: how many episodes fit into the hours is not known, each takes seconds."""
        return range(self.seed, self.seed + math.ceil(3600 * self.hours))


class SameWorld:
    """A simulated world in which episodes follow one another as it stands. Satisfies `sim.episode.loop.Env`.

    by_hand: why a person has to set up a new scene before the next episode, "" where none has to.
    """

    def __init__(self, env: SimEnv):
        self._env, self.robot = env, env.robot
        self.by_hand = "first"

    def reset(self, seed: int) -> None:
        if not self.by_hand:
            self._env.go_on()
            return
        self._env.reset(seed)
        self.start, self.by_hand = self._env.observe().state, ""

    def observe(self) -> Observation:
        return self._env.observe()

    def apply(self, action: np.ndarray) -> Feedback:
        return self._env.apply(action)

    def ground_truth(self) -> dict[str, np.ndarray]:
        return self._env.ground_truth()

    def metadata(self) -> dict:
        return self._env.metadata()


class HandsOffRun:
    """One robot, one policy, one world at a time."""

    def __init__(self, config: HandsOffConfig):
        load = load_watching_agent if config.watch else load_agent
        self._agent: PolicyAgent = load(
            config.checkpoint, config.indicator, config.guidance, ground_truth=lambda: self._env.ground_truth()
        )
        world = config.world
        if self._agent.cameras:
            height, width = self._agent.image_size
            world = replace(world, render=replace(world.render, height=height, width=width))
        self._env = SimEnv(world)
        self._world, self._guard = SameWorld(self._env), guarded(self._env.robot)

    def episode(self, seed: int) -> dict:
        """Play an episode and bring the scene back; return its row of results.json."""
        result = run_episode(self._world, self._agent, self._guard, seed)
        row = {**results.row(result), **self_correction.row(self._agent)}
        problem = f"guard: {result.guard.latched}" if result.guard.latched else ""
        periods = 0
        if not problem:
            periods, problem = put_back(self._env, self._guard, seed)
        if not problem:
            more, problem = self._return_to_start()
            periods += more
        self._world.by_hand = problem
        return {**row, "back_s": round(periods * self._env.robot.control_period_s, 3), "by_hand": problem}

    def _return_to_start(self) -> tuple[int, str]:
        """Return the periods that took, and what went wrong, "" for nothing."""
        robot, start = self._env.robot, self._world.start
        way = Retreat(
            robot, float(start[-1]), self._guard.sent, self._guard.step_rad, start[: robot.joints].astype(float)
        )
        periods, rests = 0, round(REST_S / robot.control_period_s)
        while rests and not self._guard.report.latched:
            action = self._guard.sent if way.done else way.act()
            self._env.apply(self._guard.check(self._env.observe(), action))
            periods, rests = periods + 1, rests - way.done
        return periods, f"guard: {self._guard.report.latched}" if self._guard.report.latched else ""


def hands_off(config: HandsOffConfig) -> dict:
    """Play for the hours; return the content of results.json. UserError for a scene that training may have shown, or
    where the folder holds results."""
    _, metadata = checkpoint.load_for(config.checkpoint, config.task, config.robot.load())
    watched = load_watch(config.checkpoint).seeds if config.watch else ()
    check_seeds(config.seeds, [*metadata.provenance.get("seeds", []), *watched], free=HandsOffConfig.seed)
    check_split(config.split, metadata.provenance.get("splits", []), config.checkpoint)
    run, episodes, left_s = HandsOffRun(config), list[dict](), 3600 * config.hours
    with Lock(config.directory, "."), progress() as bar:
        check_new(config.directory, "a run")  # by another program that held it until now
        shown = bar.add_task("hours of robot time", total=config.hours)
        try:
            while left_s > 0:
                episodes.append(run.episode(config.seed + len(episodes)))
                left_s -= robot_s(episodes[-1])
                bar.update(shown, completed=config.hours - left_s / 3600)
        finally:  # a run that is interrupted has its results
            if episodes:
                content = {**summary(episodes), **provenance({"config": config}), "episodes": episodes}
                results.write(config.directory, content)
    _log.info(report(content, config.directory), extra=event("hands_off", **in_short(content)))
    return content


def robot_s(episode: dict) -> float:
    """Return how long an episode took, with bringing the scene back."""
    return episode["time_s"] + episode["back_s"]


def summary(episodes: list[dict]) -> dict:
    """Return success, successes in an hour of robot time, what a person would have had to do, and for how long the
    robot went without one."""
    times_s = np.array([robot_s(one) for one in episodes])
    hands = np.array([bool(one["by_hand"]) for one in episodes])
    stretches_s = [part.sum() for part in np.split(times_s, np.flatnonzero(hands) + 1)]
    hours = float(times_s.sum()) / 3600
    parts = np.array_split(np.array([one["success"] for one in episodes], float), PARTS)
    return {
        **results.summary(episodes),
        "hours": hours,
        "successes_an_hour_of_robot_time": sum(one["success"] for one in episodes) / hours,
        "by_hand": dict(Counter(one["by_hand"] for one in episodes if one["by_hand"])),
        "guard_stops": sum(bool(one["guard"]["latched"]) for one in episodes),
        "longest_without_a_person_h": float(max(stretches_s)) / 3600,
        "success_by_part": [float(part.mean()) for part in parts if len(part)],
        **self_correction.summary(episodes),
    }


def in_short(content: dict) -> dict:
    """Return the numbers alone."""
    return {name: value for name, value in content.items() if isinstance(value, int | float)}


def report(content: dict, out: Path) -> str:
    """Return one line for people."""
    reasons = ", ".join(f"{n} x {reason}" for reason, n in content["by_hand"].items()) or "none"
    return (
        f"{content['hours']:.2f} h of robot time, {content['n']} episodes, success {content['success_rate']:.1%} "
        f"({content['ci_low']:.1%} to {content['ci_high']:.1%}), "
        f"{content['successes_an_hour_of_robot_time']:.0f} successes an hour with everything in between; "
        f"a person was needed {sum(content['by_hand'].values())} times ({reasons}), "
        f"the longest stretch without was {content['longest_without_a_person_h']:.2f} h; {out}"
    )


def main(config: HandsOffConfig) -> None:
    """Play, unless the folder holds another run's results."""
    check_new(config.directory, "a run")
    with keeps(lambda: kept(config.directory)):
        hands_off(config)


def kept(folder: Path) -> str:
    """Return what an interrupted run leaves behind."""
    path = folder / results.FILE
    return f"what was played until then is in {path}" if path.is_file() else NOTHING_NEW


if __name__ == "__main__":
    run_program("hands_off", HandsOffConfig, main, __doc__)
