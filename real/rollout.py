"""`python -m real.rollout [robot=emulator|fr3] [checkpoint=DIR] [episodes=N] [out=DIR] [seed=N] [mode=dry|auto]`

A policy drives the robot through the motion guard; every episode is recorded in the dataset schema
of the simulator. Without a robot an emulator of our own is started and driven; without a checkpoint
the newest one under runs/ is taken. On hardware nothing moves before mode=auto.
"""

import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from real import outcomes
from real.checks import report, robot_checks
from real.env import RobotEnv
from real.priority import raise_priority
from real.session import RobotConfig, open_robot
from sim.config import run_program
from sim.contract import POLICY_PERIOD_S
from sim.dataset import DatasetWriter
from sim.errors import UserError, nearest
from sim.guard import MotionGuard
from sim.loop import Agent, run_episode
from sim.provenance import provenance
from sim.recorder import FPS, EpisodeRecorder, features
from sim.robot import FR3

RUNS = Path("runs")
MODES = ("dry", "auto")
DEFAULT_MODE = {"emulator": "auto", "fr3": "dry"}
Say = Callable[[str], None]


@dataclass(frozen=True)
class RolloutConfig:
    """The options of the program; `conf/rollout.yaml` says what null stands for."""

    robot: RobotConfig = field(default_factory=RobotConfig)
    checkpoint: str | None = None
    episodes: int = 10
    seed: int = 900000
    out: str | None = None
    mode: str | None = None
    indicator: str = "positive"  # the advantage the policy is told to act with
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if self.mode is not None and self.mode not in MODES:
            raise UserError(nearest(self.mode, MODES, "mode"))
        if self.episodes < 1:
            raise UserError(f"episodes={self.episodes}, expected at least 1")


class SeeingAgent(Agent, Protocol):
    """An agent that says how large its pictures are, (height, width)."""

    image_size: tuple[int, int]


def rollout(config: RolloutConfig, load_agent: Callable[[Path], SeeingAgent], say: Say = print) -> dict:
    """The whole program; returns what results.json holds, nothing after a dry run."""
    checkpoint = Path(config.checkpoint) if config.checkpoint else newest_checkpoint(RUNS, say)
    agent = load_agent(checkpoint)
    out = Path(config.out or RUNS / "rollout" / datetime.now(UTC).strftime("%Y%m%d-%H%M%S"))
    facts = {"checkpoint": str(checkpoint), "robot": config.robot.kind, "seed": config.seed}
    outcomes.check_same_run(out, facts)
    with open_robot(config.robot, agent.image_size, say) as env:
        checks = robot_checks(env)
        say(report(checks))
        if (config.mode or DEFAULT_MODE[config.robot.kind]) == "dry":
            say("dry run: nothing was moved; mode=auto moves the arm")
            return {}
        if not all(check.good for check in checks if check.needed_before_power):
            raise UserError("the robot is not fit to move; see the checks above")
        env.driver.power_on(config.robot.speed_percent)
        env.driver.gripper.activate()
        about = provenance({"config": config, **facts})
        with DatasetWriter(out, features(env.robot, agent.image_size), FPS, env.robot.name, about) as writer:
            try:
                play(env, agent, config, writer, say)
            finally:
                content = outcomes.write(out, facts)
                say(_last_words(content, env, out))
    return content


def play(env: RobotEnv, agent: Agent, config: RolloutConfig, writer: DatasetWriter, say: Say) -> None:
    """Play one episode per seed that is not recorded yet, each committed before the next begins.

    A fault truncates its episode, which is kept, and is raised afterwards.
    """
    guard = MotionGuard(env.robot, env.clearance)
    for seed in range(config.seed + writer.num_episodes, config.seed + config.episodes):
        recorder = EpisodeRecorder()
        result = run_episode(env, agent, guard, seed, POLICY_PERIOD_S, recorder)
        writer.commit(recorder.episode(result, "policy", env.facts()))
        how = "success" if result.success else result.guard.latched or str(env.fault or "") or "not done"
        say(f"seed {seed}: {how} after {result.time_s:.1f} s")
        if env.fault is not None:
            raise env.fault


def _last_words(content: dict, env: RobotEnv, out: Path) -> str:
    if not content["n"]:
        return f"no episode was completed; {out}"
    stream = env.stream
    return (
        f"success {content['success_rate']:.0%} of {content['n']} "
        f"(95 % interval {content['ci_low']:.0%} to {content['ci_high']:.0%}); "
        f"{stream.sent} ServoJ calls, {stream.ticker.overruns} deadlines missed, "
        f"slowest call {stream.slowest_call_s * 1e3:.1f} ms; recorded in {out}"
    )


def newest_checkpoint(runs: Path, say: Say) -> Path:
    """The directory of the newest policy under `runs`. UserError when there is none."""
    # File names as in policies/checkpoint.py, which would load torch; other networks have no "policy".
    weights = sorted(runs.glob("**/model.safetensors"), key=lambda path: path.stat().st_mtime)
    weights = [path for path in weights if _is_policy(path.with_name("config.json"))]
    if not weights:
        raise UserError(f"no checkpoint under {runs}/; train one (python -m policies.train) or give checkpoint=DIR")
    say(f"no checkpoint is given: taking the newest, {weights[-1].parent}")
    return weights[-1].parent


def _is_policy(config: Path) -> bool:
    try:
        return "policy" in json.loads(config.read_text())
    except (OSError, ValueError):
        return False


def _interrupt(*_) -> None:
    """Once: bringing the arm to rest and closing the files must not be interrupted again."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(config: RolloutConfig) -> None:
    raise_priority()
    sys.setswitchinterval(0.0005)  # the servo thread must not wait 5 ms for the policy's Python
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, _interrupt)
    from policies.agent import load_agent  # torch takes seconds; a wrong option is told before

    def load(checkpoint: Path) -> SeeingAgent:
        agent = load_agent(checkpoint, config.indicator, config.guidance)
        if agent.about.robot != FR3.name:
            raise UserError(f"{checkpoint} was trained for {agent.about.robot}, this robot is {FR3.name}")
        return agent

    rollout(config, load)


if __name__ == "__main__":
    run_program("rollout", RolloutConfig, main, __doc__)
