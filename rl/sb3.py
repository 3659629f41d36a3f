"""`python -m rl.sb3 +exp=reach_ppo`: stable-baselines3's PPO learns the task `reach` from state.

An example of another learner on this environment: prints success before and after, saves the model in `out`.
"""

import contextlib
import io
import logging
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import gymnasium
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from rl.online.state_view import ReachState
from sim.core.console import event
from sim.core.errors import NOTHING_NEW, UserError, keeps
from sim.core.files import Lock, write_atomic
from sim.core.options import FOLDER, PROBABILITY, SEED, Options, above, at_least, between, block, one_of, option
from sim.core.program import run_program
from sim.core.provenance import provenance
from sim.core.tracker import KINDS, Tracker, open_tracker
from sim.envs.simulation import SimulationConfig
from sim.episode import results
from sim.parallel.interrupts import children_without_interrupts
from sim.randomize.ranges import RandomizeConfig
from sim.randomize.splits import SplitConfig
from sim.robots.robot import RobotConfig

_log = logging.getLogger(__name__)

MODEL = "model.zip"


@dataclass(frozen=True)
class PpoConfig(Options):
    """Named as in stable_baselines3.PPO."""

    learning_rate: float = option(3e-4, "of Adam", above(0.0))
    n_steps: int = option(256, "of each environment between two updates", at_least(1))
    batch_size: int = option(256, "samples of a gradient step", at_least(2))
    n_epochs: int = option(10, "passes over the samples of an update", at_least(1))
    gamma: float = option(0.99, "discount of rewards", PROBABILITY)
    gae_lambda: float = option(0.95, "lambda of the generalized advantage estimate", PROBABILITY)
    ent_coef: float = option(0.0, "weight of the entropy", at_least(0.0))
    log_std_init: float = option(0.0, "log of the actions' first standard deviation", between(-10, 10))
    hidden: tuple[int, ...] = option((64, 64), "width of each layer", at_least(1))


@dataclass(frozen=True)
class Sb3Config(Options):
    """Options of the program."""

    out: str = option("runs/sb3", "the model's directory", FOLDER)
    steps: int = option(200_000, "of the environment, all copies together", at_least(1))
    seed: int = option(0, "of networks and environments", SEED)
    envs: int = option(2, "copies, each in a process of its own; 1: in this process", at_least(1))
    evaluation_episodes: int = option(100, "before and after", at_least(1))
    evaluation_seed: int = option(900_000, "of the first", SEED)
    tracker: str = option("none", "where losses, rates and videos go besides `out`", one_of(*KINDS))
    randomize: RandomizeConfig = block(RandomizeConfig, "how episodes differ")
    split: SplitConfig = block(SplitConfig, "what is held out, and which episodes are played")
    robot: RobotConfig = block(RobotConfig, "the arm")
    ppo: PpoConfig = block(PpoConfig, "as in stable_baselines3.PPO")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ppo.n_steps * self.envs < 2:
            given = f"ppo.n_steps={self.ppo.n_steps} of envs={self.envs}"
            raise UserError(f"{given}, expected at least 2 steps between updates")
        if (Path(self.out) / MODEL).is_file():
            raise UserError(f"{self.out} holds a finished model; name another out=DIR")
        self.split.check_training()

    @property
    def world(self) -> SimulationConfig:
        return SimulationConfig("reach", self.randomize, split=self.split, robot=self.robot)


class Progress(BaseCallback):
    """Print steps, time and the success of the last 100 episodes at regular intervals."""

    def __init__(self, every: int, tracker: Tracker):
        super().__init__()
        self._tracker = tracker
        self._every, self._ended, self._begun_s = every, deque(maxlen=100), time.monotonic()

    def _on_step(self) -> bool:
        for done, info in zip(self.locals["dones"], self.locals["infos"], strict=True):
            if done:
                self._ended.append(info["is_success"])
        if self.num_timesteps % self._every < self.training_env.num_envs and self._ended:
            passed_s, share = time.monotonic() - self._begun_s, sum(self._ended) / len(self._ended)
            self._tracker.log(self.num_timesteps, {"rollout/success_rate": share})
            success = f"success {100 * share:3.0f} % of the last {len(self._ended)} episodes"
            _log.info("%8d steps %6.0f s  %s", self.num_timesteps, passed_s, success)
        return True


@contextlib.contextmanager
def open_envs(config: Sb3Config) -> Iterator[VecEnv]:
    """Open `envs` environments, each in a process of its own where there are several."""
    makers, envs = [partial(_monitored, config.world) for _ in range(config.envs)], None
    try:
        with children_without_interrupts():
            envs = DummyVecEnv(makers) if config.envs == 1 else SubprocVecEnv(makers, start_method="spawn")
        envs.seed(config.seed)
        yield envs
    finally:
        for process in envs.processes if isinstance(envs, SubprocVecEnv) else ():
            process.terminate()  # not `close`, which waits for answers: after Ctrl-C some are half-read


def _monitored(world: SimulationConfig) -> gymnasium.Env:
    torch.set_num_threads(1)
    return Monitor(ReachState(world))


def evaluate(model: PPO, config: Sb3Config) -> dict:
    """Return the success of the mean action on the evaluation seeds, with its 95 % Wilson interval."""
    env = ReachState(config.world)
    first = config.evaluation_seed
    successes = sum(_succeeds(model, env, seed) for seed in range(first, first + config.evaluation_episodes))
    env.close()
    low, high = results.wilson(successes, config.evaluation_episodes)
    n = config.evaluation_episodes
    return {"success_rate": successes / n, "ci_low": low, "ci_high": high, "n": n}


def _succeeds(model: PPO, env: ReachState, seed: int) -> bool:
    seen, _ = env.reset(seed=seed)
    while True:
        action, _ = model.predict(seen, deterministic=True)
        seen, _, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            return info["is_success"]


def learn(config: Sb3Config, tracker: Tracker) -> None:
    """Evaluate, learn, evaluate, save."""
    torch.set_num_threads(1)
    ppo = asdict(config.ppo)
    shape = {"net_arch": list(ppo.pop("hidden")), "log_std_init": ppo.pop("log_std_init")}
    with open_envs(config) as envs:
        model = PPO("MlpPolicy", envs, policy_kwargs=shape, seed=config.seed, device="cpu", **ppo)
        model.set_logger(Logger(None, []))  # its own makes a folder in /tmp
        before = evaluate(model, config)
        _log.info("before: %s", _describe(before))
        begun_s = time.monotonic()
        model.learn(config.steps, callback=Progress(max(config.steps // 20, 1), tracker))
        learned_s = time.monotonic() - begun_s
    after = evaluate(model, config)
    tracker.log(0, {f"before/{name}": value for name, value in before.items()})
    tracker.log(model.num_timesteps, {f"after/{name}": value for name, value in after.items()})
    out, buffer = Path(config.out), io.BytesIO()
    about = provenance({"config": config, "before": before, "after": after, "learned_s": round(learned_s, 1)})
    results.write(out, about)
    model.save(buffer)
    write_atomic(out / MODEL, buffer.getvalue())  # last: where it is, all is
    _log.info(
        "after %d steps in %.1f min: %s; %s", model.num_timesteps, learned_s / 60, _describe(after), out / MODEL,
        extra=event("trained", before=before, after=after),
    )  # fmt: skip


def main(config: Sb3Config) -> None:
    """Learn, tracked. Nothing is kept before the model is: an interrupted run begins anew."""
    out = Path(config.out)
    with keeps(lambda: kept(out)), Lock(out, "."), open_tracker(config.tracker, out, config) as tracker:
        learn(config, tracker)


def kept(out: Path) -> str:
    """Return what an interrupted run leaves behind."""
    return f"the model is kept in {out}" if (out / MODEL).is_file() else NOTHING_NEW


def _describe(result: dict) -> str:
    rate, low, high = (100 * result[name] for name in ("success_rate", "ci_low", "ci_high"))
    return f"success {rate:.0f} % [{low:.0f}, {high:.0f}] of {result['n']} episodes"


if __name__ == "__main__":
    run_program("sb3", Sb3Config, main, __doc__)
