"""Where the numbers of a run go besides its own directory: `tracker=none|tensorboard|wandb`.

TensorBoard's event files and wandb's run lie in the run's directory. wandb runs offline unless an
account is configured (`wandb login`, WANDB_API_KEY) or WANDB_MODE says otherwise.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from sim.core.errors import UserError, nearest, reason
from sim.core.provenance import plain

KINDS = ("none", "tensorboard", "wandb")


class Tracker(Protocol):
    """Takes the numbers and videos of a run."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def video(self, name: str, path: Path) -> None: ...


class NoTracker:
    """Drops what it is given."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        del step, metrics

    def video(self, name: str, path: Path) -> None:
        del name, path


class Prefixed:
    """Logs to another tracker under names that begin with a prefix: one run, several stages."""

    def __init__(self, tracker: Tracker, prefix: str):
        self._tracker, self._prefix = tracker, prefix

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._tracker.log(step, {f"{self._prefix}/{name}": value for name, value in metrics.items()})

    def video(self, name: str, path: Path) -> None:
        self._tracker.video(f"{self._prefix}/{name}", path)


class TensorBoard:
    """Event files in `folder`."""

    def __init__(self, folder: Path, config: Any):
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer = SummaryWriter(str(folder))
        self._writer.add_text("config", "\n".join(f"    {line}" for line in _yaml(config).splitlines()))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def video(self, name: str, path: Path) -> None:
        """Add a video as an animated GIF, which is what TensorBoard shows."""
        from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

        image = Summary.Image(encoded_image_string=_gif(path))
        writer = self._writer._get_file_writer()
        writer.add_summary(Summary(value=[Summary.Value(tag=name, image=image)]))

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """A wandb run whose files lie in `folder`. Every stage counts its own steps."""

    def __init__(self, folder: Path, config: Any):
        import wandb

        self._wandb = wandb
        try:
            mode: Any = _wandb_mode()
            self._run = wandb.init(
                project="fr3-vla", name=folder.name, dir=str(folder), config=plain(config), mode=mode,
                settings=wandb.Settings(console="off", silent=True),
            )  # fmt: skip
        except (wandb.Error, ValueError) as error:  # a key or mode that it does not take, a server that is not there
            raise UserError(
                f"tracker=wandb: {reason(error)}; WANDB_MODE=offline in the shell needs neither account nor network"
            ) from error
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log({**metrics, "step": step})

    def video(self, name: str, path: Path) -> None:
        self._run.log({name: self._wandb.Video(str(path), format="mp4")})

    def close(self) -> None:
        self._run.finish()


@contextlib.contextmanager
def open_tracker(kind: str, out: Path | str, config: Any) -> Iterator[Tracker]:
    """Open the tracker `kind` of the run in `out`. UserError when there is none of that name.

    config: what the run was started with, a dataclass.
    """
    if kind not in KINDS:
        raise UserError(nearest(kind, KINDS, "tracker"))
    if kind == "none":
        yield NoTracker()
        return
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        tracker = TensorBoard(folder / "tensorboard", config) if kind == "tensorboard" else Wandb(folder, config)
    except UserError:
        with contextlib.suppress(OSError):  # where the run had begun before, its files stay
            folder.rmdir()
        raise
    with contextlib.closing(tracker):
        yield tracker


def _wandb_mode() -> str:
    import wandb

    return os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False, verify=False) else "offline")


def _yaml(config: Any) -> str:
    import yaml

    return yaml.safe_dump(plain(config), sort_keys=False)


def _gif(path: Path) -> bytes:
    """Return a video file as an animated GIF, every second frame, half as large."""
    import imageio.v3 as iio

    frames = iio.imread(path, plugin="pyav")[::2, ::2, ::2]
    return iio.imwrite("<bytes>", frames, extension=".gif", duration=100, loop=0)
