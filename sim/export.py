"""`python -m sim.export data=DIR out=DIR`

Copies a dataset without its perturbed frames, for programs that do not know the column `perturbed` and would imitate
them. An episode is cut there: every stretch in between becomes an episode of its own, so that no chunk of actions leads
across a gap. Values are equal in every bit; videos are encoded anew. Its episodes do not replay. A killed run goes on
where it stopped.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sim.core.console import event, track
from sim.core.errors import UserError, keeps
from sim.core.options import DATASET_FOLDER, option
from sim.core.program import run_program
from sim.dataset.reader import Dataset, DatasetWriter, Episode, check_no_other, kept_episodes
from sim.dataset.schema import EXPORTED_FROM, INFO_PATH

_log = logging.getLogger(__name__)

BEGUN = ".part"  # of the name of an export that was not finished; the next run goes on with it
SHORTEST = 2  # frames of a stretch that is worth an episode
DRAWN = "draw/"  # of a whole episode: a stretch of it cannot be rebuilt


@dataclass(frozen=True)
class ExportConfig:
    """Options of the program."""

    data: str = option("runs/demos", "a dataset's directory")
    out: str = option("runs/demos_clean", "a new dataset", DATASET_FOLDER)


def stretches(perturbed: np.ndarray) -> list[slice]:
    """Return the runs of frames that are not perturbed, without those shorter than `SHORTEST`. perturbed: bool (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], perturbed, [True]])))
    runs = [slice(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
    return [run for run in runs if run.stop - run.start >= SHORTEST]


def cut(dataset: Dataset, episode: int, runs: Sequence[slice]) -> list[Episode]:
    """Return stretches of an episode as episodes."""
    columns = dataset.columns(episode)
    images = {camera: dataset.images(episode, camera) for camera in dataset.features.cameras}
    images |= {name: dataset.depth(episode, camera) for camera, name in dataset.features.depth_videos.items()}
    known = {key: value for key, value in dataset.episode_metadata(episode).items() if not key.startswith(DRAWN)}
    return [
        Episode(
            {name: values[run] for name, values in columns.items()},
            dataset.instruction(episode),
            {camera: frames[run] for camera, frames in images.items()},
            known | {"from_episode": episode, "from_frame": run.start},
        )
        for run in runs
    ]


def check_new(out: Path, begun: Path, exported_from: str) -> None:
    """Raise UserError where something lies at `out`, or at `begun` anything but a part of this export."""
    if (out / INFO_PATH).is_file():
        raise UserError(f"out={out}: it holds {Dataset(out).num_episodes} episodes; name a new directory")
    check_no_other(out)
    if (begun / INFO_PATH).is_file() and Dataset(begun).provenance.get(EXPORTED_FROM) != exported_from:
        raise UserError(f"out={out}: {begun} is the beginning of another export; remove it, or name a new directory")


def main(config: ExportConfig) -> None:
    """Copy, whole or not at all: what is begun lies beside `out`. UserError when something lies there."""
    dataset, out = Dataset(config.data), Path(config.out).resolve()
    begun = out.with_name(f"{out.name}{BEGUN}")
    about = {**dataset.provenance, EXPORTED_FROM: dataset.fingerprint()}
    robot = str(dataset.info.get("robot_type") or "")
    perturbed = (dataset.columns(i, ["perturbed"])["perturbed"] for i in range(dataset.num_episodes))
    runs = [stretches(flags) for flags in perturbed]
    check_new(out, begun, about[EXPORTED_FROM])
    with (
        keeps(lambda: kept_episodes(begun)),
        DatasetWriter(begun, dataset.features, dataset.fps, robot, about) as writer,
    ):
        done = writer.num_episodes
        for episode, wanted in track(enumerate(runs), "exporting", total=len(runs)):
            left, done = wanted[done:], max(done - len(wanted), 0)
            for part in cut(dataset, episode, left) if left else ():
                writer.commit(part)
    begun.replace(out)
    written = Dataset(out)
    _log.info(
        "%d of %d frames in %d episodes; %s", written.num_frames, dataset.num_frames, written.num_episodes, config.out,
        extra=event("exported", frames=written.num_frames, episodes=written.num_episodes),
    )  # fmt: skip


if __name__ == "__main__":
    run_program("export", ExportConfig, main, __doc__)
