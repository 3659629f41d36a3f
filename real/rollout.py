"""`python -m real.rollout [robot=emulator|fr3] [checkpoint=DIR] [episodes=N] [out=DIR] [seed=N] [mode=dry|auto]`

A policy drives the robot through the motion guard; every episode is recorded in the dataset schema
of the simulator. Without a robot an emulator of our own is started and driven; without a checkpoint
the newest one under runs/ is taken. On hardware nothing moves before mode=auto.
"""

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, cast

import hydra
from omegaconf import DictConfig, OmegaConf

from real.checks import report, robot_checks
from real.env import RobotEnv
from real.options import typed
from real.results import Results
from real.session import RobotConfig, open_robot
from sim.contract import POLICY_PERIOD_S
from sim.errors import UserError, nearest
from sim.guard import MotionGuard
from sim.loop import Agent, EpisodeResult, Recorder, run_episode

RUNS = Path("runs")
MODES = ("dry", "auto")
DEFAULT_MODE = {"emulator": "auto", "fr3": "dry"}


@dataclass(frozen=True)
class RolloutConfig:
    """The options of the program; `conf/rollout.yaml` says what null stands for."""

    robot: RobotConfig
    checkpoint: str | None = None
    episodes: int = 10
    seed: int = 900000
    out: str | None = None
    mode: str | None = None

    def __post_init__(self) -> None:
        if self.mode is not None and self.mode not in MODES:
            raise UserError(nearest(self.mode, MODES, "mode"))
        if self.episodes < 1:
            raise UserError(f"episodes={self.episodes}, expected at least 1")


class SeeingAgent(Agent, Protocol):
    """An agent that says how large its pictures are, (height, width)."""

    image_size: tuple[int, int]


class EpisodeSink(Protocol):
    """Where episodes go: a recorder for each, and `keep` when it has been played."""

    def recorder(self) -> Recorder: ...
    def keep(self, recorder, env: RobotEnv, result: EpisodeResult) -> None: ...


def play(
    env: RobotEnv, agent: Agent, seeds: range, sink: EpisodeSink, results: Results, say: Callable[[str], None]
) -> None:
    """Play one episode per seed, each committed before the next begins.

    A fault truncates its episode, which is kept, and is raised afterwards.
    """
    guard = MotionGuard(env.robot)
    for seed in seeds:
        recorder = sink.recorder()
        result = run_episode(env, agent, guard, seed, POLICY_PERIOD_S, recorder)
        sink.keep(recorder, env, result)
        results.add(result, str(env.fault or ""))
        how = "success" if result.success else result.guard.latched or str(env.fault or "") or "not done"
        say(f"seed {seed}: {how} after {result.time_s:.1f} s")
        if env.fault is not None:
            raise env.fault


def run(config: RolloutConfig, load_agent: Callable[[Path], SeeingAgent], say: Callable[[str], None] = print) -> dict:
    """The whole program; returns what results.json holds. `load_agent(checkpoint) -> Agent`."""
    mode = config.mode or DEFAULT_MODE[config.robot.kind]
    checkpoint = Path(config.checkpoint) if config.checkpoint else newest_checkpoint(RUNS, say)
    agent = load_agent(checkpoint)
    with open_robot(config.robot, agent.image_size, say) as env:
        checks = robot_checks(env)
        say(report(checks))
        if mode == "dry":
            say("dry run: nothing was moved; mode=auto moves the arm")
            return {}
        if not all(check.good for check in checks if check.needed_before_power):
            raise UserError("the robot is not fit to move; see the checks above")
        env.driver.power_on(config.robot.speed_percent)
        env.driver.gripper.activate()
        out = Path(config.out or RUNS / "rollout" / datetime.now(UTC).strftime("%Y%m%d-%H%M%S"))
        return _record(config, env, agent, checkpoint, out, say)


def _record(
    config: RolloutConfig, env: RobotEnv, agent: SeeingAgent, checkpoint: Path, out: Path, say: Callable[[str], None]
) -> dict:
    from real.recording import DatasetSink  # pyarrow and PyAV take a second

    out.mkdir(parents=True, exist_ok=True)
    facts = {"checkpoint": str(checkpoint), "robot": config.robot.kind, "seed": config.seed}
    with DatasetSink(out, env, agent.image_size, facts) as sink:
        results = Results(out, facts)
        done = len(results.episodes)
        seeds = range(config.seed + done, config.seed + config.episodes)
        try:
            play(env, agent, seeds, sink, results, say)
        finally:
            content = results.write()
            say(_last_words(content, env, out))
    return content


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


def newest_checkpoint(runs: Path, say: Callable[[str], None]) -> Path:
    """The directory of the newest weights under `runs`. UserError when there is none."""
    weights = sorted(runs.glob("**/*.safetensors"), key=lambda path: path.stat().st_mtime)
    if not weights:
        raise UserError(f"no checkpoint under {runs}/; train one (python -m policies.train) or give checkpoint=DIR")
    say(f"no checkpoint is given: taking the newest, {weights[-1].parent}")
    return weights[-1].parent


def compose(cfg: DictConfig) -> RolloutConfig:
    """The composed configuration, every key and type checked."""
    values = cast(dict, OmegaConf.to_container(cfg, resolve=True))
    robot = typed(RobotConfig, values.pop("robot"), "robot.")
    return typed(RolloutConfig, {**values, "robot": robot})


def _interrupt(*_) -> None:
    raise KeyboardInterrupt


@hydra.main(version_base="1.3", config_path="../conf", config_name="rollout")
def main(cfg: DictConfig) -> None:
    signal.signal(signal.SIGTERM, _interrupt)  # so that the arm is brought to rest on it
    sys.setswitchinterval(0.0005)  # the servo thread must not wait 5 ms for the policy's Python
    try:
        from policies.agent import load_agent

        run(compose(cfg), load_agent)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; the arm is at rest, what was recorded is kept", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
