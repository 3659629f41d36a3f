"""`python -m rl.correct checkpoint=DIR [device=keyboard|gamepad|spacemouse] [episodes=20] [rollouts=DIR] [out=DIR]`

A policy plays in simulation in real time while a person watches the live page, intervenes where it
fails, and hands back. Episodes with an intervention that succeeded are recorded for RECAP: the person's
frames flagged `intervention`, source "intervention"; others and failures are left out. rollouts: play
the seeds at which these recorded rollouts failed. An interrupted run goes on where it stopped.
"""

import _thread
import json
import logging
from dataclasses import dataclass
from pathlib import Path

from policies.core.indicator import INDICATORS
from policies.models import checkpoint
from rl.data.rollouts import Behaviour, CorrectedWorker, failed_seeds
from sim.core.errors import UserError, keeps
from sim.core.options import DATASET_FOLDER, PORT, SEED, at_least, one_of, option
from sim.core.program import run_program
from sim.core.provenance import plain, provenance
from sim.dataset.info import first_difference
from sim.dataset.reader import Dataset, DatasetWriter, kept_episodes, last_seed
from sim.dataset.recorder import EpisodeRecorder
from sim.envs.simulation import SimulationConfig
from sim.episode.loop import Recorder, RecorderGroup
from sim.teleop.corrector import TwistCorrector
from sim.teleop.intervention import AttendedEnv, OperatorInterventionAgent
from sim.teleop.keyboard import HELP
from sim.teleop.operator import DEVICES, Operator, open_operator
from sim.teleop.pacer import RealTimePacer
from sim.teleop.page import LivePage

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CorrectConfig(SimulationConfig):
    """Options of the program."""

    checkpoint: str = option("runs/policy", "the policy's directory")
    episodes: int = option(20, "at most so many are played", at_least(1))
    seed: int = option(500_000, "of the first, where no rollouts are given", SEED)
    rollouts: str | None = option(None, "a dataset of autonomous rollouts: play the seeds at which they failed")
    out: str = option("runs/corrections", "the dataset's directory", DATASET_FOLDER)
    device: str = option("keyboard", "beside the keyboard", one_of(*DEVICES))
    page_port: int = option(0, "of the live view on 127.0.0.1", PORT)
    indicator: str = option("positive", "the advantage that the policy acts with", one_of(*INDICATORS))
    guidance: float | None = option(None, "beta; null: the checkpoint's own, 1 after imitation", at_least(0.0))

    def __post_init__(self) -> None:
        self.split.check_training()  # these episodes are learned from
        super().__post_init__()

    @property
    def behaviour(self) -> Behaviour:
        return Behaviour(self.checkpoint, self.guidance, self.indicator)

    @property
    def seeds(self) -> list[int]:
        """The episodes to play, ascending."""
        if self.rollouts is None:
            return list(range(self.seed, self.seed + self.episodes))
        check_same_world(self.world, Dataset(self.rollouts))
        if not (failed := failed_seeds(Path(self.rollouts))):
            raise UserError(f"none of the rollouts in {self.rollouts} failed: there is nothing to correct")
        return failed[: self.episodes]


def check_same_world(world: SimulationConfig, rollouts: Dataset) -> None:
    """UserError where a seed of recorded rollouts would be another episode than the one that failed there."""
    if "world" not in rollouts.provenance:
        raise UserError(f"rollouts={rollouts.root} were not played in the simulation; leave rollouts= out")
    if other := first_difference(rollouts.provenance["world"], plain(world)):
        name, value, given = other
        raise UserError(
            f"rollouts={rollouts.root} were played with {name}={json.dumps(value)}, not {json.dumps(given)}; "
            f"give {name}={json.dumps(value)}"
        )


class OperatorWorker(CorrectedWorker):
    """A person intervenes."""

    def __init__(self, world: SimulationConfig, behaviour: Behaviour, operator: Operator, page: LivePage):
        super().__init__(world, behaviour)
        corrector = TwistCorrector(self._env.robot, operator, self._guard)
        self._agent = self._intervention = OperatorInterventionAgent(self._agent, corrector, operator)
        self._env = AttendedEnv(self._env, operator)
        self._page = page
        page.guard = self._guard

    def _observers(self, recorder: EpisodeRecorder) -> Recorder:
        return RecorderGroup(recorder, self._page, RealTimePacer(self._env.robot.control_period_s))


def correct(config: CorrectConfig, operator: Operator) -> Path:
    """Play and record; return the dataset's directory. KeyboardInterrupt when the operator stops."""
    out, world, robot, seeds = Path(config.out), config.world, config.robot.load(), config.seeds
    checkpoint.load_for(config.checkpoint, config.task, robot)
    schema = config.behaviour.features(world)
    metadata = provenance({"world": world, **config.behaviour.provenance, "rollouts": config.rollouts})
    with (
        keeps(lambda: kept_episodes(out)),
        DatasetWriter(out, schema, robot.control_hz, robot.name, metadata) as writer,
        LivePage(config.page_port) as page,
    ):
        worker = OperatorWorker(world, config.behaviour, operator, page)
        _log.info("live view: %s\n%s", page.url, HELP)
        last = last_seed(out)
        left = [seed for seed in seeds if last is None or seed > last]
        if len(left) < len(seeds):
            _log.warning(
                "%s reaches seed %d: %d of %d seeds are not played", out, last, len(seeds) - len(left), len(seeds)
            )
        for seed in left:
            _play(worker, writer, operator, seed)
        _log.info("%d corrected episodes in %s", writer.num_episodes, out)
    return out


def _play(worker: OperatorWorker, writer: DatasetWriter, operator: Operator, seed: int) -> None:
    _log.info("episode %d [Enter; x stops]", seed)
    operator.confirm()
    result, episode = worker(seed)
    if episode is not None:
        writer.commit(episode)
    how = "success" if result.success else result.guard.latched or "not done"
    _log.info("episode %d: %s after %.1f s, %s", seed, how, result.time_s, "kept" if episode else "left out")


def main(config: CorrectConfig) -> None:
    with open_operator(config.device) as operator:
        operator.on_stop = _thread.interrupt_main
        correct(config, operator)


if __name__ == "__main__":
    run_program("correct", CorrectConfig, main, __doc__)
