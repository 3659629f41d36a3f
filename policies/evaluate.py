"""`python -m policies.evaluate checkpoint=CKPT [task=pick_place|all] [episodes=300] [seed=900000] [out=DIR]`

Plays a policy in simulation on fixed seeds and writes results.json (success rate with its Wilson
interval, throughput, how often a wrong thing was touched first, the slices of the drawn values in which
it fails most, every episode's seed, outcome and drawn values) and a few videos.
`execute=` looks again after so many steps, `inference_delay_s=` plays a chunk as late as that, `ensemble=` averages
the chunks that reach a step (ACT). `look_hz=` looks at a rate of its own: chunks are decided on the newest look, known
`look_delay_s=` late, and the present state. `server=ws://HOST:PORT` plays what `policies.serve`, or any server of
openpi's protocol, decides; `server_keys=` says under which keys another's takes an observation. `graph=FILE` plays what
`policies.export` made of the checkpoint. A policy that needs its goal's picture is shown how the expert's episode ends.
`planner=grammar` tells the policy an instruction of several steps one step at a time, see `policies/planner`;
`task=place_in_turn` has two, and results.json the success of each.
`task=all` plays every task that the policy was trained on, each in a folder of its own under `out`.
"""

import functools
import itertools
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from policies.core.indicator import INDICATORS
from policies.core.planner import NoPlanner, PlannerConfig
from policies.evaluation import first_touch, motion, self_correction, steps_done
from policies.evaluation.earlier import VIDEOS, check_new, finished, kept
from policies.evaluation.expert_goal import ExpertGoal
from policies.evaluation.leakage import check_seeds, check_split
from policies.evaluation.report_line import by_task, report
from policies.evaluation.slices import slices
from policies.evaluation.subject import Subject, of_checkpoint, of_server
from policies.models.watch import load_watch
from policies.remote.keys import ServerKeys
from policies.runtime.agent import PolicyAgent, load_agent
from policies.runtime.chunk_agent import ChunkAgent, Timing
from policies.runtime.latency import latency
from policies.runtime.planned_agent import PlannedAgent, plan_with
from policies.runtime.self_correction import load_watching_agent
from policies.runtime.who_decides import check_who_decides
from sim.core.console import event, track
from sim.core.console import table as as_table
from sim.core.errors import UserError, keeps
from sim.core.files import Lock
from sim.core.options import RESULTS_FOLDER, SEED, Registered, above, at_least, block, one_of, option
from sim.core.program import run_program
from sim.core.provenance import provenance
from sim.core.tracker import KINDS, NoTracker, Prefixed, Tracker, open_tracker
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.envs.video import PRETTY, VideoRecorder
from sim.episode import results
from sim.episode.loop import EpisodeResult, RecorderGroup, run_episode
from sim.guard.clearance import guarded
from sim.parallel.worker_config import WorkerConfig
from sim.parallel.workers import map_seeds
from sim.randomize.episode_params import EpisodeParams
from sim.tasks.base import TASKS

_log = logging.getLogger(__name__)

ALL = "all"
WORST = 5  # slices to name
SERVED = "runs/served"  # results of a server, where no `out` is given


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(SimulationConfig, WorkerConfig):
    """Options of the program. The images' size is the policy's."""

    task: str = option("pick_place", "what the robot does; all: each that it was trained on", Registered(TASKS, (ALL,)))
    checkpoint: str = option("runs/policy", "the policy")
    episodes: int = option(300, "to play", at_least(1))
    seed: int = option(900_000, "of the first episode", SEED)
    draw: int = option(0, "which playing of a seed: another one is of the same scene, with other noise", at_least(0))
    out: str | None = option(None, "null: CHECKPOINT/eval", RESULTS_FOLDER)
    videos: int = option(3, "episodes to record, the first ones", at_least(0))
    indicator: str = option("positive", "advantage that the policy is conditioned on", one_of(*INDICATORS))
    guidance: float | None = option(None, "RECAP's beta; null: the checkpoint's own", at_least(0.0))
    lead_s: float = option(0.0, "delay of commands beyond what the policy was trained with", at_least(0.0))
    execute: int | None = option(None, "steps played before looking again; null: the policy's own", at_least(1))
    inference_delay_s: float = option(0.0, "from a look until its chunk is played, simulated", at_least(0.0))
    ensemble: float | None = option(
        None, "decay of ACT's temporal ensembling, which looks at every step unless execute is given; null: the "
        "policy's own, -1: none", at_least(-1.0)
    )  # fmt: skip
    look_hz: float | None = option(None, "looks a second, beside decisions; null: one for each", above(0.0))
    look_delay_s: float = option(0.0, "from such a look until it is decided on, simulated", at_least(0.0))
    watch: bool = option(False, "the policy corrects itself by the watch that rl.watch wrote beside it")
    graph: str | None = option(None, "file of policies.export that decides, of the same checkpoint")
    planner: PlannerConfig = block(NoPlanner, "what takes an instruction of several steps apart")
    server: str | None = option(None, "ws://HOST:PORT that decides, instead of a checkpoint")
    server_keys: ServerKeys = block(ServerKeys, "under which keys another's server takes an observation")
    tracker: str = option("none", "where success and videos go besides `out`", one_of(*KINDS))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_who_decides(self)
        if self.server and self.draw:
            raise UserError(
                f"server={self.server} and draw={self.draw}, expected a checkpoint: a server draws for itself"
            )

    @property
    def directory(self) -> Path:
        """Where results go."""
        return Path(self.out or (SERVED if self.server else f"{self.checkpoint}/eval"))

    @property
    def timing(self) -> Timing:
        """When chunks are decided and how much of each is played."""
        beside = {"ensemble": self.ensemble, "look_hz": self.look_hz, "look_delay_s": self.look_delay_s}
        return Timing(self.execute, self.lead_s, self.inference_delay_s, **beside)

    def subject(self) -> Subject:
        """Return the policy that is played. UserError when it is unusable, or made for another robot."""
        if self.server:
            return of_server(self.server, self.robot.load(), self.server_keys, self.timing)
        return of_checkpoint(self.checkpoint, self.robot.load(), self.timing)


class Played(NamedTuple):
    """One episode."""

    result: EpisodeResult
    decision_s: list[float]
    params: EpisodeParams
    noted: dict  # of it in results.json
    server_s: list[float] = []  # how much of its decisions a server computed


class PolicyWorker:
    """Plays one seed with a checkpoint and records the first few as videos."""

    def __init__(self, config: EvaluateConfig):
        self._config = config
        self._chunks = self._open_agent()
        if isinstance(self._chunks, PolicyAgent):
            self._chunks.draw = config.draw
        self._agent = plan_with(config.planner, self._chunks, self._truth)
        world = config.world
        if self._chunks.cameras:
            height, width = self._chunks.image_size
            world = replace(world, render=replace(world.render, height=height, width=width))
        self._env, self._goal = SimEnv(world), ExpertGoal(world)
        self._guard = guarded(self._env.robot)

    def _open_agent(self) -> ChunkAgent:
        config = self._config
        if config.server:
            from policies.remote.remote_agent import connect_agent  # needs the extra `serve`

            return connect_agent(config.server, config.robot.load(), config.server_keys, config.timing)
        if config.graph:
            from policies.export.graph_decider import load_graph_agent  # the exporter is needed here alone

            return load_graph_agent(
                config.checkpoint, config.indicator, config.guidance, config.timing, graph=Path(config.graph)
            )
        policy = (config.checkpoint, config.indicator, config.guidance, config.timing)
        if config.watch:
            return load_watching_agent(*policy, self._truth)
        return load_agent(*policy, self._truth, lambda seed: self._goal(seed))

    def _truth(self) -> dict[str, np.ndarray]:
        """Return the simulator's points of the step that the policy is told."""
        return self._env.ground_truth(self._agent.told if isinstance(self._agent, PlannedAgent) else "")

    def __call__(self, seed: int) -> Played:
        self._chunks.decision_s, self._chunks.server_s = [], []
        video = self._video() if seed < self._config.seed + self._config.videos else None
        touch, moved = first_touch.FirstTouch(self._env.world), motion.Motion(self._env.world)
        steps = steps_done.StepsDone(self._env.world)
        recorder = RecorderGroup(*filter(None, (video, touch, moved, steps)))
        result = run_episode(self._env, self._agent, self._guard, seed, recorder)
        if video:
            video.save(self._config.directory / results.video_name(seed, success=result.success))
            video.close()
        seen = {name: found for name in ("within_m", "subtasks") if (found := getattr(self._agent, name))}
        noted = {**touch.row(), **moved.row(), **steps.row(self._agent), **seen, **self_correction.row(self._chunks)}
        return Played(result, self._chunks.decision_s, self._env.world.params, noted, self._chunks.server_s)

    def _video(self) -> VideoRecorder:
        style, agent = replace(PRETTY, renderer=self._config.render.renderer), self._agent
        return VideoRecorder(
            self._env.world, style, lambda: agent.estimates, lambda: agent.subtasks[-1] if agent.subtasks else ""
        )


def evaluate(config: EvaluateConfig, tracker: Tracker | None = None) -> dict:
    """Play all episodes; return the content of results.json. UserError where the folder holds one."""
    subject = config.subject()  # a wrong one is an error here, not in a worker
    for task in needed(config.task, subject.metadata.tasks):
        subject.metadata.check_task(task, subject.name)
    seeds = range(config.seed, config.seed + config.episodes)
    watched = load_watch(config.checkpoint).seeds if config.watch else ()
    check_seeds(seeds, [*subject.metadata.provenance.get("seeds", []), *watched], free=EvaluateConfig.seed)
    check_split(config.split, subject.metadata.provenance.get("splits", []), subject.name)
    played = map_seeds(functools.partial(PolicyWorker, config), seeds, config)
    episodes, drawn, decisions, server_s = [], [], [], []
    with Lock(config.directory, "."):
        check_new(config.directory)  # by another program that held it until now
        for video in config.directory.glob(VIDEOS):  # of an evaluation that was interrupted: it is played anew
            video.unlink()
        for one in track(played, "evaluating", total=len(seeds)):
            episodes.append({**results.row(one.result), **one.noted, "draws": one.params.to_record()})
            drawn.append(one.params)
            decisions += one.decision_s
            server_s += one.server_s
        worst = slices(
            drawn, [one["success"] for one in episodes], config.robot.load(), [sureness(one) for one in episodes]
        )[:WORST]
        content = {
            **results.summary(episodes),
            **first_touch.summary(episodes),
            **motion.summary(episodes),
            **self_correction.summary(episodes),
            **steps_done.summary(episodes),
            "execute": config.timing.steps(subject.chunks.execute),
            "ensemble": config.timing.decay(subject.chunks.ensemble),
            "inference_delay_s": config.inference_delay_s,
            "decision_ms_median": round(float(np.median(decisions)) * 1e3, 2),
            "latency": latency(decisions, server_s),
            **provenance({"config": config, **subject.weights}),
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


def needed(task: str, trained: tuple[str, ...]) -> tuple[str, ...]:
    """Return the tasks that a policy must have been trained on: `task`, or those that its steps are of."""
    return (task,) if task in trained else TASKS.get(task).steps_of or (task,)


def evaluate_every_task(config: EvaluateConfig, tracker: Tracker | None = None) -> dict:
    """Play every task of the policy; return the content of the total results.json, and print a table.

    What an interrupted run finished is taken. UserError when the checkpoint does not say which those are, or a folder
    holds another evaluation.
    """
    subject = config.subject()
    if not subject.metadata.tasks:
        raise UserError(f"task=all: {subject.name} does not say what it was trained on; name one task")
    runs = {task: replace(config, task=task, out=str(config.directory / task)) for task in subject.metadata.tasks}
    before = {task: finished(one.directory, one, subject.weights) for task, one in runs.items()}
    found = {task: before[task] or evaluate(one, Prefixed(tracker or NoTracker(), task)) for task, one in runs.items()}
    content = total(found, config)
    results.write(config.directory, content)
    _log.info("success by task", extra=as_table("tasks", by_task(found, content), tasks=content["tasks"]))
    return content


def total(found: dict[str, dict], config: EvaluateConfig) -> dict:
    """Return what is written of several tasks, from the content of results.json of each."""
    episodes = list(itertools.chain.from_iterable(one["episodes"] for one in found.values()))
    rates = [one["success_rate"] for one in found.values()]
    names = ("success_rate", "ci_low", "ci_high", "n", "mean_time_s", "throughput_per_hour", "wrong_first_rate")
    return {
        **results.summary(episodes),
        **first_touch.summary(episodes),
        "mean_success_rate": float(np.mean(rates)),
        "worst_success_rate": min(rates),
        **provenance({"config": config}),
        "tasks": {task: {name: one[name] for name in names} for task, one in found.items()},
    }


def sureness(episode: dict) -> dict[str, float]:
    """Return how sure the policy was of where things are at its first look, as axes of slices."""
    return {f"within_m {name}": looks[0] for name, looks in episode.get("within_m", {}).items()}


def _track(tracker: Tracker, summary: dict[str, float], out: Path) -> None:
    tracker.log(0, summary)
    for path in sorted(out.glob(VIDEOS)):
        tracker.video(path.stem, path)


def main(config: EvaluateConfig) -> None:
    """Evaluate, tracked. UserError when the folder holds another evaluation."""
    check_new(config.directory)
    with keeps(lambda: kept(config.directory)), open_tracker(config.tracker, config.directory, config) as tracker:
        (evaluate_every_task if config.task == ALL else evaluate)(config, tracker)


if __name__ == "__main__":
    run_program("evaluate", EvaluateConfig, main, __doc__)
