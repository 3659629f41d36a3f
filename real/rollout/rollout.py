"""`python -m real.rollout [robot=emulator|fr3] [checkpoint=DIR] [episodes=N] [out=DIR] [mode=dry|confirm|auto]`

Drive the robot with a policy through the motion guard; record every episode in the simulator's dataset
schema, whatever ended it. Without a robot an emulator is started and driven;
without a checkpoint the newest one under runs/ is used.

mode: dry checks and moves nothing (the default on hardware), confirm asks before every episode, auto
continues by itself (the default on the emulator). In a terminal the operator's keys work: t intervene,
h back to the policy, y success, n failure, x stop. device=gamepad|spacemouse|drag intervenes by other means than
keys. A page on this machine shows the camera images.

inference_delay_s=0.1 decides in a thread while the chunk before is played; look_hz=2.5 looks in a thread, and decides
every execute= steps on the newest look and the present state; execute=4 ensemble=0.01 averages the chunks that reach a
step; graph=FILE plays the checkpoint as `policies.export` wrote it, in half of torch's time; server=ws://HOST:PORT
plays what `policies.serve` on another machine decides, or any server of openpi's protocol (server_keys=).
planner=grammar tells the policy an instruction of several steps one step at a time; one that is not done in time ends
the episode.
"""

import contextlib
import functools
import json
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from policies.core.indicator import INDICATORS
from policies.core.planner import NoPlanner, PlannerConfig
from policies.remote.keys import ServerKeys
from policies.runtime.chunk_agent import Timing
from policies.runtime.who_decides import acting_weights, check_who_decides
from real.core.checks import log_checks, refuse_unfit
from real.core.faults import with_notes
from real.core.priority import raise_priority
from real.core.shutdown import ShutdownRequest
from real.parity.preflight import camera_order, depth_check, parity_checks, robot_checks, task_check, touch_check
from real.rollout import outcomes
from real.rollout.timing import log_timing, timing_of
from real.workcell.connect import RobotConnection, emulator_of_our_own, mode_option, open_robot
from real.workcell.env import RobotEnv
from real.workcell.episode_runner import ConfirmBeforeEpisode, EpisodeRunner
from real.workcell.recording import robot_features
from sim.core.console import event
from sim.core.errors import UserError, keeps
from sim.core.options import CHECKPOINT, DATASET_FOLDER, PORT, SEED, Options, above, at_least, block, one_of, option
from sim.core.provenance import provenance
from sim.dataset.reader import DatasetWriter, kept_episodes
from sim.episode.loop import Agent
from sim.teleop.keyboard import HELP
from sim.teleop.operator import DEVICES, Operator, open_operator
from sim.teleop.page import LivePage

if TYPE_CHECKING:
    from policies.runtime.agent import PolicyAgent

RUNS = Path("runs")
DRAG = "drag"  # guiding the arm by hand
ACTING = (  # options that a run keeps to
    "indicator", "guidance", "lead_s", "inference_delay_s", "execute", "ensemble", "look_hz", "watch", "graph",
)  # fmt: skip

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RolloutConfig(Options):
    """Options of the program."""

    robot: RobotConnection = block(emulator_of_our_own, "the arm and its bench")
    checkpoint: str | None = option(None, "the policy; null: the newest one under runs/")
    episodes: int = option(10, "that the dataset is to hold", at_least(1))
    seed: int = option(800_000, "of the first episode; the next ones follow", SEED)
    out: str | None = option(None, "the dataset's directory; null: runs/rollout/TIME", DATASET_FOLDER)
    mode: str | None = mode_option("ask before every episode", "go on by itself")
    indicator: str = option("positive", "the advantage that the policy acts with", one_of(*INDICATORS))
    guidance: float | None = option(None, "RECAP's beta; null: the checkpoint's own", at_least(0.0))
    lead_s: float = option(0.0, "delay of commands beyond what the policy was trained with", at_least(0.0))
    device: str = option(
        "keyboard", "to intervene with, beside the keys; drag: by guiding the arm", one_of(*DEVICES, DRAG)
    )
    page_port: int = option(0, "of the live view on 127.0.0.1", PORT)
    watch: bool = option(False, "the policy corrects itself by the watch that rl.watch wrote beside it")
    inference_delay_s: float = option(
        0.0, "decide in a thread, for so long at most; 0: while the arm waits", at_least(0.0)
    )
    execute: int | None = option(None, "steps played before the next decision; null: the policy's own", at_least(1))
    ensemble: float | None = option(
        None, "decay of ACT's temporal ensembling; null: the policy's own, -1: none", at_least(-1.0)
    )
    look_hz: float | None = option(
        None, "looks a second in a thread, beside decisions on the newest; null: one for each decision", above(0.0)
    )
    graph: str | None = option(None, "file of policies.export that decides, of the same checkpoint")
    planner: PlannerConfig = block(NoPlanner, "what takes an instruction of several steps apart")
    server: str | None = option(None, "ws://HOST:PORT that decides, instead of a checkpoint")
    server_keys: ServerKeys = block(ServerKeys, "under which keys another's server takes an observation")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.robot.is_hardware and not self.robot.instruction:
            raise UserError(
                "robot.instruction is missing: what is the arm to do? e.g. 'put the red cube on the blue plate'"
            )
        if self.robot.instruction and not self.robot.is_hardware:
            raise UserError(
                f"robot.instruction={self.robot.instruction!r}: the emulator's bench draws the task and says it; "
                "leave it out, or drive an arm (robot=fr3)"
            )
        check_who_decides(self)
        if self.server and self.checkpoint:
            raise UserError(f"server={self.server} and checkpoint={self.checkpoint}: expected one of the two")

    @property
    def chosen_mode(self) -> str:
        """The mode, or the robot's default where it is null."""
        return self.mode or self.robot.default_mode

    @property
    def timing(self) -> Timing:
        """When chunks are decided and how much of each is played."""
        in_thread = self.inference_delay_s > 0 or self.look_hz is not None
        beside = {"in_thread": in_thread, "ensemble": self.ensemble, "look_hz": self.look_hz}
        return Timing(self.execute, self.lead_s, self.inference_delay_s, **beside)


class ImageAgent(Agent, Protocol):
    """An agent with the size of its images, (height, width), and the task it was trained on, "" if unknown."""

    image_size: tuple[int, int]
    task: str


def rollout(
    config: RolloutConfig,
    load_agent: Callable[[str], ImageAgent],
    operator: Operator | None = None,
    shutdown: ShutdownRequest | None = None,
) -> dict:
    """Run the whole program; returns the content of results.json, nothing after a dry run.

    operator: the person at the keys; None where no motion needs a person.
    """
    shutdown, mode = shutdown or ShutdownRequest(), config.chosen_mode
    if operator is None and mode != "dry" and (mode == "confirm" or config.robot.is_hardware):
        raise UserError("nobody is at the keyboard: mode=confirm, and motion on hardware, need a terminal (ssh -t)")
    policy = config.server or str(Path(config.checkpoint) if config.checkpoint else newest_checkpoint(RUNS))
    agent = load_agent(policy)
    out = Path(config.out or RUNS / "rollout" / datetime.now(UTC).strftime("%Y%m%d-%H%M%S"))
    metadata = {"checkpoint": policy, "robot": config.robot.kind, "seed": config.seed}
    acting = {name: getattr(config, name) for name in ACTING}
    acting["planner"] = config.planner.name
    acting["instruction"] = config.robot.instruction
    outcomes.check_same_run(out, {**metadata, **acting})
    depth = bool(getattr(agent, "depth_cameras", ()))
    with open_robot(config.robot, agent.image_size, no_question, task=agent.task, depth=depth) as env:
        checks = [*robot_checks(env), *parity_checks(env, agent.image_size), *task_check(env, agent.task)]
        checks += touch_check(env, needed=getattr(agent, "needs_touch", False)) + depth_check(env, needed=depth)
        checks += camera_order(env) if config.robot.is_hardware else []
        log_checks(checks)
        if mode == "dry":
            _log.info("dry run: nothing was moved; mode=confirm or mode=auto moves the arm")
            return {}
        refuse_unfit(checks)
        known = {**metadata, **acting_weights(policy, agent), "acting": acting, "task": agent.task}
        about = provenance({"config": config, **known})
        schema = robot_features(env.robot, agent.image_size, depth=depth)
        with (
            keeps(lambda: kept_episodes(out)),
            DatasetWriter(out, schema, env.robot.control_hz, env.robot.name, about) as writer,
            LivePage(config.page_port) as page,
        ):
            runner = EpisodeRunner(env, agent, page, shutdown, config.robot.speed_percent)
            if operator is not None:
                attend(runner, operator, config)
            _log.info("live view: %s", page.url, extra=event("live_view", url=page.url))
            try:
                run_episodes(env, config, writer, runner)
            finally:
                content = outcomes.write(out, {**metadata, **acting}, timing_of(agent))
                _log.info("%s", _summary(content, env, out), extra=event("rollout", out=str(out), **_rates(content)))
                log_timing(content if config.timing.in_thread or config.server else {})  # else it is the arm's waiting
    return content


def attend(runner: EpisodeRunner, operator: Operator, config: RolloutConfig) -> None:
    """Let the operator judge and intervene, and confirm before motion where the mode requires it."""
    runner.attend(operator, by_hand=config.device == DRAG)
    _log.info("%s", HELP)
    confirms = config.chosen_mode == "confirm"
    if confirms or config.robot.is_hardware:
        runner.confirm = ConfirmBeforeEpisode(operator, config.robot.instruction, confirms=confirms)


def run_episodes(env: RobotEnv, config: RolloutConfig, writer: DatasetWriter, runner: EpisodeRunner) -> None:
    """Run one episode per seed that is not recorded yet, each committed before the next begins.

    A fault truncates its episode, which is kept, and is raised afterwards. After a latched guard a person
    has to confirm before hardware moves again: UserError when nobody is there any more.
    """
    latched = ""
    if writer.num_episodes >= config.episodes:
        _log.warning(
            "%s holds %d episodes of this run already, episodes=%d: nothing is played; give more, or another out=DIR",
            writer.root, writer.num_episodes, config.episodes,
        )  # fmt: skip
    for seed in range(config.seed + writer.num_episodes, config.seed + config.episodes):
        result = runner.run(seed, writer, latched)
        how = (
            "success"
            if result.success
            else result.guard.latched or (with_notes(env.fault) if env.fault else result.stopped or "not done")
        )
        _log.info(
            "seed %d: %s after %.1f s", seed, how, result.time_s,
            extra=event("episode", seed=seed, success=result.success, ended=how, time_s=result.time_s),
        )  # fmt: skip
        if env.fault is not None:
            raise env.fault
        latched = result.guard.latched if config.robot.is_hardware else ""


def no_question(text: str) -> None:
    """Ask nothing: the bench needs no confirmation, the runner has asked, and handles signals while it waits."""


def _rates(content: dict) -> dict:
    return {name: content[name] for name in ("n", "success_rate", "ci_low", "ci_high", "cut_off") if name in content}


def _summary(content: dict, env: RobotEnv, out: Path) -> str:
    cut_off = f"not counted, as a fault or a stop ended them: {content['cut_off']}; " if content["cut_off"] else ""
    if not content["n"]:
        return f"no episode was completed; {cut_off}{out}"
    stream = env.stream
    return (
        f"success {content['success_rate']:.0%} of {content['n']} "
        f"(95 % interval {content['ci_low']:.0%} to {content['ci_high']:.0%}); {cut_off}"
        f"{stream.sent} ServoJ calls, {stream.rate.overruns} deadlines missed, "
        f"slowest call {stream.slowest_call_s * 1e3:.1f} ms; recorded in {out}"
    )


def newest_checkpoint(runs: Path) -> Path:
    """Return the directory of the newest policy under `runs`. UserError when there is none."""
    config_file, weights_file = CHECKPOINT
    weights = sorted(runs.glob(f"**/{weights_file}"), key=lambda path: path.stat().st_mtime)
    weights = [path for path in weights if _is_policy(path.with_name(config_file))]  # other networks have no "policy"
    if not weights:
        raise UserError(f"no checkpoint under {runs}/; train one (python -m policies.train) or give checkpoint=DIR")
    _log.info("no checkpoint given: using the newest, %s", weights[-1].parent)
    return weights[-1].parent


def _is_policy(config: Path) -> bool:
    try:
        return "policy" in json.loads(config.read_text())
    except (OSError, ValueError):
        return False


def main(config: RolloutConfig) -> None:
    raise_priority()
    shutdown = ShutdownRequest()
    shutdown.install()
    load = _connect if config.server else _load
    with contextlib.ExitStack() as opened:
        operator = None
        # A named device needs its person; the keys work wherever there is a terminal.
        if sys.stdin.isatty() or config.device != "keyboard":
            operator = opened.enter_context(open_operator(config.device))
            operator.on_stop = lambda: shutdown.request("the operator's stop key")
        rollout(config, functools.partial(load, config), operator=operator, shutdown=shutdown)


def _load(config: RolloutConfig, checkpoint: str) -> ImageAgent:
    """Return the agent of a checkpoint."""
    if config.graph:  # importing torch takes seconds; wrong options are reported before
        from policies.export.graph_decider import load_graph_agent

        load = functools.partial(load_graph_agent, graph=Path(config.graph))
    elif config.watch:
        from policies.runtime.self_correction import load_watching_agent as load
    else:
        from policies.runtime.agent import load_agent as load

    agent = load(Path(checkpoint), config.indicator, config.guidance, config.timing)
    config.robot.load().check_same(agent.spec.robot, agent.spec.control_hz, checkpoint)
    return _planned(config, agent)


def _planned(config: RolloutConfig, agent: "PolicyAgent") -> ImageAgent:
    """Return the agent, told one step at a time where there is a planner. UserError for an instruction that it, or the
    planner, does not understand."""
    instruction = config.robot.instruction
    if config.planner.name == NoPlanner.name:
        if instruction:
            agent.processor.check_instruction(instruction)
        return agent
    from policies.runtime.planned_agent import plan_with

    planned = plan_with(config.planner, agent)
    if instruction:
        planned.check(instruction)
    return planned


def _connect(config: RolloutConfig, url: str) -> ImageAgent:
    """Return an agent that a server decides for."""
    from policies.remote.remote_agent import connect_agent  # needs the extra `serve`

    return connect_agent(url, config.robot.load(), config.server_keys, config.timing)
