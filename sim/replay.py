"""`python -m sim.replay data=DIR episode=17 [episodes=1] [images=true] [video=FILE.mp4] [render=pretty|filament]`

Rebuilds recorded episodes from the values drawn for them and the actions sent, and compares what
comes of it with what was recorded: bit for bit on the same platform. With images=true the cameras'
images too, drawn and encoded as they were, which takes several times as long. Says which value or
camera differs, and from which frame on, where it does not. A video shows the first episode as people
like to see it.
"""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sim.core.console import event, track
from sim.core.contract import TRUTH_COLUMNS
from sim.core.errors import UserError
from sim.core.options import FILE, at_least, block, option
from sim.core.program import run_program
from sim.core.structured import typed
from sim.dataset.reader import Dataset, encode_video
from sim.dataset.schema import IMAGE_PREFIX
from sim.dataset.video import decode_video
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.envs.video import PRETTY, VideoRecorder
from sim.randomize.episode_params import EpisodeParams
from sim.scene.build import RenderConfig

_log = logging.getLogger(__name__)

DRAWN = "draw/"  # prefix of the columns that hold what was drawn
COLUMNS = ("observation.state", "next.reward", "next.done", "next.success", *TRUTH_COLUMNS)


@dataclass(frozen=True)
class ReplayConfig:
    """Options of the program."""

    data: str = option("runs/demos", "a dataset's directory")
    episode: int = option(0, "the first one", at_least(0))
    episodes: int = option(1, "how many", at_least(1))
    images: bool = option(False, "compare the cameras' images too, several times slower")
    video: str | None = option(None, "FILE.mp4 of the first one", FILE)
    render: RenderConfig = block(lambda: PRETTY, "of the video")


@dataclass(frozen=True)
class Difference:
    """The first frame of an episode in which a replayed value is not the recorded one."""

    column: str
    frame: int
    recorded: np.ndarray
    replayed: np.ndarray

    def __str__(self) -> str:
        return f"{self.column} differs from frame {self.frame} on: recorded {self.recorded}, replayed {self.replayed}"


def replay(
    env: SimEnv, dataset: Dataset, episode: int, video: VideoRecorder | None = None, *, images: bool = False
) -> list[Difference]:
    """Play the recorded actions in the rebuilt world; what differs, each column or camera once. Empty: bit for bit.

    images: compare them too. UserError for an episode that was not simulated.
    """
    compared = [name for name in COLUMNS if name in dataset.features.columns]  # an earlier version recorded fewer
    recorded = dataset.columns(episode, (*compared, "action"))
    cameras, depth = (dataset.features.cameras, dataset.features.depth) if images else ((), ())
    record = drawn_record(dataset, episode)
    env.rebuild(EpisodeParams.from_record(record, env.world.task.layout_type))
    replayed: dict[str, list] = {name: [] for name in COLUMNS}
    drawn: dict[str, list] = {camera: [] for camera in cameras}
    measured: dict[str, list] = {camera: [] for camera in depth}
    for action in recorded["action"]:
        seen, ground_truth = env.observe(), env.ground_truth()
        for camera in cameras:
            drawn[camera].append(seen.images[camera])
        for camera in depth:
            measured[camera].append(seen.depth[camera])
        feedback = env.apply(action)
        after = (feedback.reward, feedback.terminated or feedback.truncated, feedback.success)
        values = (seen.state, *after, *(ground_truth[name] for name in TRUTH_COLUMNS))
        for name, value in zip(COLUMNS, values, strict=True):
            replayed[name].append(value)
        if video:
            video.draw()
    found = differences(recorded, {name: np.array(replayed[name]) for name in compared})
    for camera, frames in drawn.items():
        again = decode_video(encode_video(np.array(frames), dataset.fps).data)  # what encoding loses is lost again
        found += image_difference(camera, dataset.images(episode, camera), again)
    for camera, frames in measured.items():
        name, now = dataset.features.depth_videos[camera], np.array(frames)
        found += image_difference(name, dataset.depth(episode, camera)[..., None], now[..., None])
    return found


def differences(recorded: dict[str, np.ndarray], replayed: dict[str, np.ndarray]) -> list[Difference]:
    """Return the columns (T,) or (T, n) that are not equal in every bit, and where that begins."""
    found = []
    for name, now in replayed.items():
        before = recorded[name]
        frames = np.flatnonzero((before != now.astype(before.dtype)).reshape(len(before), -1).any(1))
        if len(frames):
            found.append(Difference(name, int(frames[0]), before[frames[0]], now[frames[0]]))
    return found


def image_difference(camera: str, recorded: np.ndarray, replayed: np.ndarray) -> list[Difference]:
    """Report of images (T, H, W, 3) the first frame that is not equal, by the pixel that differs most."""
    frames = np.flatnonzero((recorded != replayed).any((1, 2, 3)))
    if not len(frames):
        return []
    before, now = recorded[frames[0]].astype(int), replayed[frames[0]].astype(int)
    change = np.abs(before - now).sum(2)
    row, column = np.unravel_index(change.argmax(), change.shape)
    name = f"{IMAGE_PREFIX}{camera}, pixel ({row}, {column}),"
    return [Difference(name, int(frames[0]), before[row, column], now[row, column])]


def drawn_record(dataset: Dataset, episode: int) -> dict:
    """Return what was drawn for an episode, as recorded. UserError for one that was not simulated."""
    metadata = dataset.episode_metadata(episode)
    record = {name.removeprefix(DRAWN): value for name, value in metadata.items() if name.startswith(DRAWN)}
    if not record or "world" not in dataset.provenance:
        raise UserError(
            f"episode {episode} of {dataset.root} was not recorded in simulation: nothing to rebuild it from"
        )
    return record


def main(config: ReplayConfig) -> None:
    """Replay the episodes asked for; exit code 1 when one differs."""
    dataset = Dataset(config.data)
    chosen = range(config.episode, config.episode + config.episodes)
    if not 0 <= chosen.start < chosen.stop <= dataset.num_episodes:
        raise UserError(f"episodes {chosen.start} to {chosen.stop - 1} of {config.data}: it has {dataset.num_episodes}")
    drawn_record(dataset, chosen.start)
    env = SimEnv(typed(SimulationConfig, dataset.provenance["world"], "world."))
    equal = 0
    for episode in track(chosen, "replaying"):
        video = VideoRecorder(env.world, config.render) if config.video and episode == chosen.start else None
        different = replay(env, dataset, episode, video, images=config.images)
        if video:
            video.save(Path(config.video or ""))
            video.close()
        equal += not different
        for difference in different:
            _log.info("episode %d, seed %s: %s", episode, dataset.episode_metadata(episode)["seed"], difference)
    compared = "equal in every bit" + (", images too" if config.images else "")
    made = f"; {config.video}" if config.video else ""
    _log.info(
        "%d of %d episodes %s%s", equal, len(chosen), compared, made,
        extra=event("replayed", equal=equal, episodes=len(chosen)),
    )  # fmt: skip
    if equal < len(chosen):
        sys.exit(1)


if __name__ == "__main__":
    run_program("replay", ReplayConfig, main, __doc__)
