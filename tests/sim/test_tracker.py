"""Trackers, read back by the libraries' own readers."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sim.core.errors import UserError
from sim.core.tracker import NoTracker, Prefixed, open_tracker


@dataclass(frozen=True)
class Config:
    steps: int = 3
    name: str = "reach"


@pytest.fixture
def video(tmp_path) -> Path:
    path = tmp_path / "episode.mp4"
    frames = np.random.default_rng(0).integers(0, 255, (8, 32, 48, 3), dtype=np.uint8)
    iio.imwrite(path, frames, plugin="pyav", codec="libx264", fps=20)
    return path


def run(tracker, video: Path) -> None:
    for step, value in ((50, 0.5), (100, 0.25)):
        tracker.log(step, {"flow": value})
    Prefixed(tracker, "round_1/evaluation").log(0, {"success_rate": 0.75, "ci_low": 0.5})
    Prefixed(tracker, "round_1").video("episode", video)


def test_tensorboard_reads_back_what_was_logged(tmp_path, video):
    with open_tracker("tensorboard", tmp_path / "run", Config()) as tracker:
        run(tracker, video)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("flow")] == [(50, 0.5), (100, 0.25)]
    assert [event.value for event in events.Scalars("round_1/evaluation/success_rate")] == [0.75]
    (image,) = events.Images("round_1/episode")
    assert iio.imread(image.encoded_image_string, extension=".gif").shape[:3] == (4, 16, 24)  # every second, half size
    assert "steps: 3" in events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()


@pytest.mark.parametrize(
    "given", [{"WANDB_API_KEY": "short"}, {"WANDB_API_KEY": "short", "WANDB_MODE": "online"}, {"WANDB_MODE": "on"}]
)
def test_what_wandb_does_not_take_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, request, given):
    request.addfinalizer(wandb.teardown)  # it keeps what it read of the environment
    wandb.teardown()
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    line = r"tracker=wandb: [^\n]*; WANDB_MODE=offline in the shell needs neither account nor network$"
    with pytest.raises(UserError, match=line), open_tracker("wandb", tmp_path / "run", Config()):
        pass
    assert not (tmp_path / "run").exists()


def test_wandb_runs_offline_without_an_account(tmp_path, video, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with open_tracker("wandb", tmp_path / "run", Config()) as tracker:
        run(tracker, video)
    (folder,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    wandb.teardown()  # the service writes its last records when it ends
    logged = history(next(folder.glob("*.wandb")))
    assert [(row["step"], row["flow"]) for row in logged if "flow" in row] == [(50, 0.5), (100, 0.25)]
    assert {"round_1/evaluation/success_rate": 0.75, "round_1/evaluation/ci_low": 0.5}.items() <= {
        name: value for row in logged for name, value in row.items() if isinstance(value, float)
    }.items()
    assert list(folder.glob("files/media/videos/round_1/*.mp4"))


def history(path: Path) -> list[dict]:
    """Return the rows of a wandb run file: protobuf records in LevelDB's log format, after a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    rows = []
    for data in records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("history"):
            items = record.history.item
            rows.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    return rows


def records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a LevelDB log: fragments of checksum (4), length (2), type (1), in blocks of 32 KiB."""
    place, whole = 7, b""
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a full record, or its last fragment
            yield whole
            whole = b""


def test_none_writes_nothing_and_a_wrong_name_is_one_line(tmp_path, video):
    with open_tracker("none", tmp_path / "run", Config()) as tracker:
        assert isinstance(tracker, NoTracker)
        run(tracker, video)
    assert not (tmp_path / "run").exists()
    with (
        pytest.raises(UserError, match="unknown tracker 'wandbb'.*did you mean 'wandb'"),
        open_tracker("wandbb", tmp_path, Config()),
    ):
        pass
