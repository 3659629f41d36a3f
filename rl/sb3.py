"""`python -m rl.sb3 +exp=reach_ppo`: stable-baselines3's PPO learns the task `reach` from state.

An example of another learner on this environment: prints success before and after, saves the model in `out`.
"""

import logging
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import gymnasium
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from rl.online.state_view import ReachState
from sim.core.console import event
from sim.core.errors import UserError
from sim.core.options import one_of, option
from sim.core.program import run_program
from sim.core.provenance import provenance
from sim.core.tracker import KINDS, Tracker, open_tracker
from sim.envs.simulation import SimulationConfig
from sim.episode import results
from sim.randomize.ranges import RandomizeConfig
from sim.randomize.splits import SplitConfig
from sim.robots.robot import RobotConfig

_log = logging.getLogger(__name__)

MODEL = "model.zip"


@dataclass(frozen=True)
class PpoConfig:
    """Named as in stable_baselines3.PPO."""

    learning_rate: float = 3e-4
    n_steps: int = 256  # of each environment between two updates
    batch_size: int = 256
    n_epochs: int = 10
    gamma: float = 0.99
    gae_lambda: float = 0.95
    ent_coef: float = 0.0
    log_std_init: float = 0.0
    hidden: tuple[int, ...] = (64, 64)


@dataclass(frozen=True)
class Sb3Config:
    """Options of the program; conf/sb3.yaml says what each means."""

    out: str = "runs/sb3"
    steps: int = 200_000
    seed: int = 0
    envs: int = 2
    evaluation_episodes: int = 100
    evaluation_seed: int = 900_000
    tracker: str = option("none", "where losses, rates and videos go besides `out`", one_of(*KINDS))
    randomize: RandomizeConfig = field(default_factory=RandomizeConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    robot: RobotConfig = field(default_factory=RobotConfig)
    ppo: PpoConfig = field(default_factory=PpoConfig)

    def __post_init__(self) -> None:
        for name in ("steps", "envs", "evaluation_episodes"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)}, expected at least 1")
        if self.ppo.n_steps * self.envs < 2 or self.ppo.batch_size < 2:
            raise UserError(
                f"ppo.n_steps={self.ppo.n_steps} of envs={self.envs}, ppo.batch_size={self.ppo.batch_size}: "
                "expected at least 2 steps between updates, and 2 in a batch"
            )
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


def make_envs(config: Sb3Config) -> VecEnv:
    """Return `envs` environments, each in a process of its own where there are several."""
    makers = [partial(_monitored, config.world) for _ in range(config.envs)]
    envs = DummyVecEnv(makers) if config.envs == 1 else SubprocVecEnv(makers, start_method="spawn")
    envs.seed(config.seed)
    return envs


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
    envs, ppo = make_envs(config), asdict(config.ppo)
    shape = {"net_arch": list(ppo.pop("hidden")), "log_std_init": ppo.pop("log_std_init")}
    model = PPO("MlpPolicy", envs, policy_kwargs=shape, seed=config.seed, device="cpu", **ppo)
    before = evaluate(model, config)
    _log.info("before: %s", _describe(before))
    begun_s = time.monotonic()
    model.learn(config.steps, callback=Progress(max(config.steps // 20, 1), tracker))
    learned_s = time.monotonic() - begun_s
    envs.close()
    after = evaluate(model, config)
    tracker.log(0, {f"before/{name}": value for name, value in before.items()})
    tracker.log(model.num_timesteps, {f"after/{name}": value for name, value in after.items()})
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / MODEL)
    about = provenance({"config": config, "before": before, "after": after, "learned_s": round(learned_s, 1)})
    results.write(out, about)
    _log.info(
        "after %d steps in %.1f min: %s; %s", model.num_timesteps, learned_s / 60, _describe(after), out / MODEL,
        extra=event("trained", before=before, after=after),
    )  # fmt: skip


def main(config: Sb3Config) -> None:
    """Learn, tracked."""
    with open_tracker(config.tracker, config.out, config) as tracker:
        learn(config, tracker)


def _describe(result: dict) -> str:
    rate, low, high = (100 * result[name] for name in ("success_rate", "ci_low", "ci_high"))
    return f"success {rate:.0f} % [{low:.0f}, {high:.0f}] of {result['n']} episodes"


if __name__ == "__main__":
    run_program("sb3", Sb3Config, main, __doc__)
