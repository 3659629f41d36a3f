"""`python -m rl.correct checkpoint=DIR [device=keyboard|gamepad|spacemouse] [episodes=20] [rollouts=DIR] [out=DIR]`

A policy plays in simulation in real time while a person watches the live page, intervenes where it
fails, and hands back. Episodes with an intervention that succeeded are recorded for RECAP: the person's
frames flagged `intervention`, source "intervention"; others and failures are left out. rollouts: play
the seeds at which these recorded rollouts failed. An interrupted run goes on where it stopped.
"""

import _thread
import logging
from dataclasses import dataclass, field
from pathlib import Path

from rl.data.pool import INTERVENTION
from rl.data.rollouts import Behaviour, RolloutWorker, failed_seeds
from sim.core.errors import UserError, keeps
from sim.core.program import run_program
from sim.core.provenance import provenance
from sim.dataset.reader import Dataset, DatasetWriter
from sim.dataset.recorder import EpisodeRecorder
from sim.envs.simulation import SimulationConfig
from sim.episode.loop import EpisodeResult, Recorder
from sim.randomize.ranges import RandomizeConfig
from sim.randomize.splits import SplitConfig
from sim.robots.robot import RobotConfig
from sim.scene.build import RenderConfig
from sim.teleop.corrector import TwistCorrector
from sim.teleop.intervention import AttendedEnv, OperatorInterventionAgent
from sim.teleop.keyboard import HELP
from sim.teleop.operator import DEVICES, Operator, check_device, open_operator
from sim.teleop.page import LivePage, RealTimePacer, RecorderGroup

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CorrectConfig:
    """Options of the program."""

    checkpoint: str = "runs/policy"
    task: str = "pick_place"
    episodes: int = 20  # at most so many are played
    seed: int = 500000  # of the first, where no rollouts are given
    rollouts: str | None = None
    out: str = "runs/corrections"
    device: str = "keyboard"
    page_port: int = 0
    indicator: str = "positive"
    guidance: float | None = None
    randomize: RandomizeConfig = field(default_factory=RandomizeConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    robot: RobotConfig = field(default_factory=RobotConfig)
    render: RenderConfig = field(default_factory=RenderConfig)  # its size is the policy's

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise UserError(f"episodes={self.episodes}, expected at least 1")
        check_device(self.device, DEVICES)
        self.split.check_training()  # these episodes are learned from

    @property
    def world(self) -> SimulationConfig:
        return SimulationConfig(self.task, self.randomize, self.render, self.split, self.robot)

    @property
    def behaviour(self) -> Behaviour:
        return Behaviour(self.checkpoint, self.guidance, self.indicator)

    @property
    def seeds(self) -> list[int]:
        """The episodes to play, ascending."""
        if self.rollouts is None:
            return list(range(self.seed, self.seed + self.episodes))
        return failed_seeds(Path(self.rollouts))[: self.episodes]


class OperatorWorker(RolloutWorker):
    """Plays one episode per seed with a person; keeps those with an intervention that succeeded."""

    source = INTERVENTION

    def __init__(self, world: SimulationConfig, behaviour: Behaviour, operator: Operator, page: LivePage):
        super().__init__(world, behaviour)
        corrector = TwistCorrector(self._env.robot, operator, self._guard)
        self._agent = self._intervention = OperatorInterventionAgent(self._agent, corrector, operator)
        self._env = AttendedEnv(self._env, operator)
        self._page = page
        page.guard = self._guard

    def _observers(self, recorder: EpisodeRecorder) -> Recorder:
        return RecorderGroup(recorder, self._page, RealTimePacer(self._env.robot.control_period_s))

    def _metadata(self) -> dict:
        return {"intervention/reason": self._intervention.reason}

    def _keep(self, result: EpisodeResult) -> bool:
        return bool(self._intervention.reason) and result.success


def correct(config: CorrectConfig, operator: Operator) -> Path:
    """Play and record; return the dataset's directory. KeyboardInterrupt when the operator stops."""
    out, world, robot = Path(config.out), config.world, config.robot.load()
    schema = config.behaviour.features(world)
    metadata = provenance({"world": world, "behaviour": config.behaviour, "rollouts": config.rollouts})
    with (
        DatasetWriter(out, schema, robot.control_hz, robot.name, metadata) as writer,
        LivePage(config.page_port) as page,
    ):
        worker = OperatorWorker(world, config.behaviour, operator, page)
        _log.info("live view: %s\n%s", page.url, HELP)
        done = int(Dataset(out).episode_metadata(writer.num_episodes - 1)["seed"]) if writer.num_episodes else -1
        with keeps(lambda: f"{writer.num_episodes} corrected episodes are kept in {out}; run again to go on"):
            for seed in (seed for seed in config.seeds if seed > done):
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
