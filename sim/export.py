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
from sim.core.options import FOLDER, option
from sim.core.program import run_program
from sim.dataset.reader import Dataset, DatasetWriter, Episode, kept_episodes
from sim.dataset.schema import INFO_PATH

_log = logging.getLogger(__name__)

SHORTEST = 2  # frames of a stretch that is worth an episode
DRAWN = "draw/"  # of a whole episode: a stretch of it cannot be rebuilt


@dataclass(frozen=True)
class ExportConfig:
    """Options of the program."""

    data: str = option("runs/demos", "a dataset's directory")
    out: str = option("runs/demos_clean", "a new dataset", FOLDER)


def stretches(perturbed: np.ndarray) -> list[slice]:
    """Return the runs of frames that are not perturbed, without those shorter than `SHORTEST`. perturbed: bool (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], perturbed, [True]])))
    runs = [slice(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
    return [run for run in runs if run.stop - run.start >= SHORTEST]


def cut(dataset: Dataset, episode: int, runs: Sequence[slice]) -> list[Episode]:
    """Return stretches of an episode as episodes."""
    columns = dataset.columns(episode)
    images = {camera: dataset.images(episode, camera) for camera in dataset.features.cameras}
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


def check_new(out: Path, exported_from: str, total: int) -> None:
    """UserError where `out` holds anything but a part of this export. total: episodes of the whole."""
    if not (out / INFO_PATH).is_file():
        return
    there = Dataset(out)
    if there.provenance.get("exported_from") != exported_from or there.num_episodes >= total:
        raise UserError(f"out={out}: it holds {there.num_episodes} episodes; name a new directory")


def main(config: ExportConfig) -> None:
    """Copy. UserError when `out` holds a whole export, or another dataset."""
    dataset, out = Dataset(config.data), Path(config.out)
    about = {**dataset.provenance, "exported_from": dataset.fingerprint()}
    robot = str(dataset.info.get("robot_type") or "")
    perturbed = (dataset.columns(i, ["perturbed"])["perturbed"] for i in range(dataset.num_episodes))
    runs = [stretches(flags) for flags in perturbed]
    check_new(out, about["exported_from"], sum(map(len, runs)))
    with keeps(lambda: kept_episodes(out)), DatasetWriter(out, dataset.features, dataset.fps, robot, about) as writer:
        done = writer.num_episodes
        for episode, wanted in track(enumerate(runs), "exporting", total=len(runs)):
            left, done = wanted[done:], max(done - len(wanted), 0)
            for part in cut(dataset, episode, left) if left else ():
                writer.commit(part)
    written = Dataset(out)
    _log.info(
        "%d of %d frames in %d episodes; %s", written.num_frames, dataset.num_frames, written.num_episodes, config.out,
        extra=event("exported", frames=written.num_frames, episodes=written.num_episodes),
    )  # fmt: skip


if __name__ == "__main__":
    run_program("export", ExportConfig, main, __doc__)
