"""`python -m sim.export data=DIR out=DIR`

Copies a dataset without its perturbed frames, for programs that do not know the column `perturbed` and would imitate
them. An episode is cut there: every stretch in between becomes an episode of its own, so that no chunk of actions leads
across a gap. Values are equal in every bit; videos are encoded anew. Its episodes do not replay.
"""

import logging
from dataclasses import dataclass

import numpy as np

from sim.core.console import event, track
from sim.core.errors import UserError
from sim.core.options import FOLDER, option
from sim.core.program import run_program
from sim.dataset.reader import Dataset, DatasetWriter, Episode

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


def cut(dataset: Dataset, episode: int) -> list[Episode]:
    """Return the undisturbed stretches of an episode, as episodes."""
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
        for run in stretches(dataset.columns(episode, ["perturbed"])["perturbed"])
    ]


def main(config: ExportConfig) -> None:
    """Copy. UserError when `out` holds episodes already."""
    dataset = Dataset(config.data)
    about = {**dataset.provenance, "exported_from": dataset.fingerprint()}
    robot = str(dataset.info.get("robot_type") or "")
    with DatasetWriter(config.out, dataset.features, dataset.fps, robot, about) as writer:
        if writer.num_episodes:
            raise UserError(f"out={config.out}: it holds {writer.num_episodes} episodes; name a new directory")
        for episode in track(range(dataset.num_episodes), "exporting"):
            for part in cut(dataset, episode):
                writer.commit(part)
    written = Dataset(config.out)
    _log.info(
        "%d of %d frames in %d episodes; %s", written.num_frames, dataset.num_frames, written.num_episodes, config.out,
        extra=event("exported", frames=written.num_frames, episodes=written.num_episodes),
    )  # fmt: skip


if __name__ == "__main__":
    run_program("export", ExportConfig, main, __doc__)
