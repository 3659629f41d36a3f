"""`python -m policies.evaluate checkpoint=CKPT [task=pick_place] [episodes=300] [seed=900000] [out=DIR]`

Plays a policy in simulation on fixed seeds and writes results.json (success rate with its Wilson
interval, throughput, the drawn values under which it fails most, every episode's seed, outcome and
drawn values) and a few films.
"""

import functools
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from policies.evaluation.leakage import check_seeds, check_split
from policies.evaluation.slices import slices
from policies.models import checkpoint
from policies.runtime.agent import load_agent
from sim.core.console import event, track
from sim.core.errors import UserError
from sim.core.options import one_of, option
from sim.core.program import run_program
from sim.core.provenance import provenance
from sim.core.tracker import KINDS, NoTracker, Tracker, open_tracker
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.envs.video import PRETTY, VideoRecorder
from sim.episode import results
from sim.episode.loop import EpisodeResult, run_episode
from sim.guard.clearance import guarded
from sim.parallel.workers import WorkerConfig, map_seeds
from sim.randomize.episode_params import EpisodeParams
from sim.randomize.ranges import RandomizeConfig
from sim.randomize.splits import SplitConfig
from sim.robots.robot import RobotConfig
from sim.scene.build import RenderConfig

_log = logging.getLogger(__name__)

WORST = 5  # slices to name


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Options of the program."""

    checkpoint: str = "runs/policy"
    task: str = "pick_place"
    episodes: int = 300
    seed: int = 900000
    out: str | None = None  # null: <checkpoint>/eval
    workers: int = 2
    videos: int = 3
    indicator: str = "positive"
    guidance: float | None = None
    lead_s: float = 0.0
    randomize: RandomizeConfig = field(default_factory=RandomizeConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    render: RenderConfig = field(default_factory=RenderConfig)  # its size is the policy's
    robot: RobotConfig = field(default_factory=RobotConfig)
    executor: str = "local"
    ray_address: str | None = None
    tracker: str = option("none", "where losses, rates and videos go besides `out`", one_of(*KINDS))

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise UserError(f"episodes={self.episodes}, expected at least 1")

    @property
    def directory(self) -> Path:
        return Path(self.out or f"{self.checkpoint}/eval")


class PolicyWorker:
    """Plays one seed with a checkpoint; films the first few."""

    def __init__(self, config: EvaluateConfig):
        self._config = config
        self._agent = load_agent(
            config.checkpoint, config.indicator, config.guidance, config.lead_s, lambda: self._env.ground_truth()
        )
        render = config.render
        if self._agent.policy.needs.images:
            height, width = self._agent.image_size
            render = replace(render, height=height, width=width)
        self._env = SimEnv(SimulationConfig(config.task, config.randomize, render, config.split, config.robot))
        self._guard = guarded(self._env.robot)

    def __call__(self, seed: int) -> tuple[EpisodeResult, list[float], EpisodeParams]:
        self._agent.decision_s = []
        filmed = seed < self._config.seed + self._config.videos
        film = (
            VideoRecorder(self._env.world, replace(PRETTY, renderer=self._config.render.renderer)) if filmed else None
        )
        result = run_episode(self._env, self._agent, self._guard, seed, film)
        if film:
            outcome = "success" if result.success else "failure"
            film.save(self._config.directory / f"episode-{seed}-{outcome}.mp4")
            film.close()
        return result, self._agent.decision_s, self._env.world.params


def evaluate(config: EvaluateConfig, tracker: Tracker | None = None) -> dict:
    """Play all episodes; returns what results.json holds."""
    policy, about = checkpoint.load(config.checkpoint)  # a wrong one is an error here, not in a worker
    SimulationConfig(config.task)
    robot = config.robot.load()
    robot.check_same(policy.spec.robot, policy.spec.control_hz, config.checkpoint)
    seeds = range(config.seed, config.seed + config.episodes)
    check_seeds(seeds, about.provenance.get("seeds", []), free=EvaluateConfig.seed)
    check_split(config.split, about.provenance.get("splits", []), config.checkpoint)
    workers = WorkerConfig(config.workers, config.executor, config.ray_address)
    played = map_seeds(functools.partial(PolicyWorker, config), seeds, workers)
    episodes, drawn, decisions = [], [], []
    for result, decision_s, params in track(played, "evaluating", total=len(seeds)):
        episodes.append({**results.row(result), "draws": params.to_record()})
        drawn.append(params)
        decisions += decision_s
    worst = slices(drawn, [one["success"] for one in episodes], robot)[:WORST]
    content = {
        **results.summary(episodes),
        "decision_ms_median": round(float(np.median(decisions)) * 1e3, 2),
        **provenance({"config": config}),
        "worst_slices": [str(one) for one in worst],
        "episodes": episodes,
    }
    results.write(config.directory, content)
    summary = {name: float(value) for name, value in content.items() if isinstance(value, int | float)}
    _log.info(report(content, config.directory), extra=event("evaluated", **summary))
    _track(tracker or NoTracker(), summary, config.directory)
    if worst:
        _log.info("\n  ".join(["worst slices:", *map(str, worst)]))
    return content


def _track(tracker: Tracker, summary: dict[str, float], out: Path) -> None:
    tracker.log(0, summary)
    for path in sorted(out.glob("episode-*.mp4")):
        tracker.video(path.stem, path)


def report(content: dict, out: Path) -> str:
    """What a person wants to know, in one line."""
    return (
        f"success {content['success_rate']:.1%} of {content['n']} "
        f"(95 % interval {content['ci_low']:.1%} to {content['ci_high']:.1%}), "
        f"{content['throughput_per_hour']:.0f} successes an hour "
        f"({content['throughput_ci_low']:.0f} to {content['throughput_ci_high']:.0f}), "
        f"decision {content['decision_ms_median']:.1f} ms; {out}"
    )


def main(config: EvaluateConfig) -> None:
    """Evaluate, tracked."""
    with open_tracker(config.tracker, config.directory, config) as tracker:
        evaluate(config, tracker)


if __name__ == "__main__":
    run_program("evaluate", EvaluateConfig, main, __doc__)
