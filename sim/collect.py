"""`python -m sim.collect [task=pick_place] [episodes=500] [seed=0] [out=DIR] [workers=2] [executor=local|ray]`

The scripted expert plays randomized episodes; they are written as a LeRobotDataset v3.0. Failed
episodes are left out, the next seed takes their place. A killed run goes on where it stopped.
"""

import functools
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from sim.core.console import event, progress
from sim.core.errors import UserError, keeps
from sim.core.options import DATASET_FOLDER, SEED, at_least, block, option
from sim.core.program import run_program
from sim.core.provenance import provenance
from sim.dataset.reader import DatasetWriter, Episode, kept_episodes, last_seed
from sim.dataset.recorder import EpisodeRecorder, features
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.episode.loop import EpisodeResult, run_episode
from sim.expert.imperfections import QualityConfig
from sim.expert.scripted import Expert
from sim.guard.clearance import guarded
from sim.parallel.workers import WorkerConfig, map_seeds

HOPELESS = 50  # failures of the expert in a row, after which no more are tried

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CollectConfig(SimulationConfig, WorkerConfig):
    """Options of the program."""

    episodes: int = option(500, "demonstrations that the dataset is to hold", at_least(1))
    seed: int = option(0, "of the first episode; the next ones follow", SEED)
    out: str = option("runs/demos", "the dataset's directory", DATASET_FOLDER)
    quality: QualityConfig = block(QualityConfig, "how well the expert plays")
    images: bool = option(True, "false: nothing is rendered, for policies that need none")

    def __post_init__(self) -> None:
        self.split.check_training()
        super().__post_init__()
        if self.render.depth and not self.images:
            raise UserError("render.depth=true and images=false, expected one of the two: nothing is rendered")


class DemonstrationWorker:
    """Plays and records one demonstration per seed."""

    def __init__(self, world: SimulationConfig, quality: QualityConfig = QualityConfig(), *, images: bool = True):
        self._images = images
        self._env = SimEnv(world)
        self._expert = Expert(self._env, quality)
        self._guard = guarded(self._env.robot)

    def __call__(self, seed: int) -> tuple[EpisodeResult, Episode | None]:
        recorder = EpisodeRecorder(self._env.robot, images=self._images)
        result = run_episode(self._env, self._expert, self._guard, seed, recorder)
        metadata = {**self._env.metadata(), **self._expert.metadata()}
        return result, recorder.episode(result, "expert", metadata) if result.success else None


def collect(config: CollectConfig) -> Path:
    """Bring the dataset in `config.out` to `config.episodes` episodes."""
    image_size = (config.world.render.height, config.world.render.width) if config.images else None
    # How many, by how many and where do not change what an episode is: they may differ on resuming.
    about = provenance({"world": config.world, "seed": config.seed, "quality": config.quality})
    root, robot = Path(config.out), config.robot.load()
    schema = features(robot, image_size, depth=config.render.depth)
    with (
        keeps(lambda: kept_episodes(root)),
        DatasetWriter(root, schema, robot.control_hz, robot.name, about) as writer,
    ):
        begun, before = time.monotonic(), writer.num_episodes
        failed = _fill(writer, config, root)
        took = time.monotonic() - begun
    new = writer.num_episodes - before
    if new:
        share = new / (new + failed)
        _log.info(
            "%d episodes in %.0f s (%.1f/s), expert success %.1f%%; %s", new, took, new / took, 100 * share, root,
            extra=event("collected", episodes=new, seconds=took, expert_success=share, out=str(root)),
        )  # fmt: skip
    else:
        _log.info("%s holds %d episodes already", root, writer.num_episodes)
    return root


class Failures:
    """Counts the expert's failures."""

    def __init__(self, config: CollectConfig):
        self._config = config
        self.total = self._in_a_row = 0

    def count(self, result: EpisodeResult) -> None:
        """Take an attempt. UserError after too many failures in a row: collection would go on for ever."""
        self.total += not result.success
        self._in_a_row = 0 if result.success else self._in_a_row + 1
        if self._in_a_row == HOPELESS:
            raise UserError(
                f"the expert failed at task={self._config.task} with {HOPELESS} seeds in a row, up to {result.seed}; "
                f"expected one that it can do: change randomize, dynamics or quality, and name a new out=DIR"
            )


def _fill(writer: DatasetWriter, config: CollectConfig, root: Path) -> int:
    """Commit episodes until there are enough; return how many attempts failed. UserError when all seem to."""
    make_worker = functools.partial(DemonstrationWorker, config.world, config.quality, images=config.images)
    failures, last = Failures(config), last_seed(root)
    next_seed = config.seed if last is None else last + 1
    with progress() as bar:
        task = bar.add_task("demonstrations", total=config.episodes, completed=writer.num_episodes)
        while missing := max(config.episodes - writer.num_episodes, 0):
            seeds = range(next_seed, next_seed + missing)
            for result, episode in map_seeds(make_worker, seeds, config):
                failures.count(result)
                _keep(writer, episode)
                bar.update(task, completed=writer.num_episodes)
            next_seed += missing
    return failures.total


def _keep(writer: DatasetWriter, episode: Episode | None) -> None:
    if episode is not None:
        writer.commit(episode)


if __name__ == "__main__":
    run_program("collect", CollectConfig, collect, __doc__)
