"""Kills and full disks at every stage lose only the episode in flight."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dataset_examples import check_holds, make_episode, open_writer, write

from sim.core import files
from sim.core.errors import UserError
from sim.dataset.reader import Dataset
from sim.dataset.schema import data_path, meta_path, video_path


class Killed(BaseException):
    pass


def kill_at(monkeypatch, stage: int, before: bool) -> None:
    """From the stage-th file on nothing more happens on disk, as after SIGKILL."""
    replace, unlink, calls = os.replace, Path.unlink, []

    def dying_replace(source, target):
        calls.append(target)
        if len(calls) > stage or (len(calls) == stage and before):
            raise Killed
        replace(source, target)
        if len(calls) == stage:
            raise Killed

    def dead_unlink(path, missing_ok=False):
        if len(calls) >= stage:
            raise Killed
        unlink(path, missing_ok)

    monkeypatch.setattr(files.os, "replace", dying_replace)
    monkeypatch.setattr(Path, "unlink", dead_unlink)


def test_a_loss_of_power_loses_no_name_of_a_committed_episode(tmp_path, monkeypatch):
    done, replace, fsync = [], os.replace, os.fsync

    def noting_replace(source, target):
        replace(source, target)
        done.append(("named", Path(target).parent))

    def noting_fsync(fd):
        fsync(fd)
        done.append(("kept", Path(os.readlink(f"/proc/self/fd/{fd}"))))

    monkeypatch.setattr(files.os, "replace", noting_replace)
    monkeypatch.setattr(files.os, "fsync", noting_fsync)
    root = tmp_path / "new" / "d"
    write(root, [0])
    last = {folder: k for k, (what, folder) in enumerate(done) if what == "named"}
    assert len(last) >= 4
    assert all(("kept", folder) in done[k:] for folder, k in last.items())
    # The folders have names too.
    assert {("kept", folder) for folder in (root / "data", root / "meta", root, root.parent, tmp_path)} <= set(done)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("stage", range(1, 8))  # two videos, data, tasks, first row, row, info
def test_a_kill_at_any_file_loses_only_the_episode_in_flight(tmp_path, monkeypatch, stage, before):
    root = tmp_path / "d"
    write(root, [0, 2])
    writer = open_writer(root)
    with monkeypatch.context() as patch:
        kill_at(patch, stage, before)
        with pytest.raises(Killed):
            writer.commit(make_episode(1, extra="new metadata and a new task"))
    committed = meta_path(root, 2).exists()
    assert committed == (stage == 7 or (stage == 6 and not before))
    assert Dataset(root).num_episodes == 2 + committed  # readable before anyone repairs it
    del writer
    with open_writer(root) as writer:
        assert writer.num_episodes == 2 + committed
        if not committed:
            assert not data_path(root, 2).exists() and not video_path(root, "front", 2).exists()
            writer.commit(make_episode(1))
        writer.commit(make_episode(3))
    check_holds(root, [0, 2, 1, 3])


@pytest.mark.parametrize("before", [True, False])
def test_a_kill_while_a_dataset_is_created(tmp_path, monkeypatch, before):
    with monkeypatch.context() as patch:
        kill_at(patch, 1, before)
        with pytest.raises(Killed):
            open_writer(tmp_path / "d")
    write(tmp_path / "d", [0])
    check_holds(tmp_path / "d", [0])


CHILD = """
import sys
sys.path[:0] = [{here!r}, {root!r}]
from dataset_examples import make_episode, open_writer
with open_writer(__import__("pathlib").Path({dataset!r})) as writer:
    for _ in range(500):
        print(writer.commit(make_episode(writer.num_episodes)), flush=True)
"""


def test_sigkill_and_two_writers_at_once(tmp_path):
    root, here = tmp_path / "d", Path(__file__).resolve().parent
    code = CHILD.format(here=str(here), root=str(here.parent.parent), dataset=str(root))
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        reported = [int(child.stdout.readline()) for _ in range(4)]
        with pytest.raises(UserError, match="another process"):
            open_writer(root)
        assert Dataset(root).num_episodes >= 4  # readable while it is written
        time.sleep(0.013)
    finally:
        child.kill()
        child.wait()
    with open_writer(root) as writer:
        assert writer.num_episodes > reported[-1]
        number = writer.num_episodes
        writer.commit(make_episode(number))
    check_holds(root, list(range(number + 1)))


FSYNCS = 14  # a commit's: file and folder of two videos, data, tasks, first row, row, info
ROW_NAMED = 12  # that of the folder in which the row has its name


@pytest.mark.parametrize("stage", range(1, FSYNCS + 1))
def test_a_full_disk_leaves_the_last_committed_episode(tmp_path, monkeypatch, stage):
    root, calls, fsync = tmp_path / "d", [], os.fsync
    write(root, [0, 2])

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == stage:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    writer = open_writer(root)
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(UserError, match="disk full"):
            writer.commit(make_episode(1, extra="x"))
    committed = stage >= ROW_NAMED
    assert data_path(root, 2).exists() == video_path(root, "wrist", 2).exists() == committed
    assert Dataset(root).num_episodes == writer.num_episodes == 2 + committed
    writer.commit(make_episode(3))  # the same writer goes on once there is room
    writer.close()
    check_holds(root, [0, 2, 1, 3] if committed else [0, 2, 3])


def test_an_interrupt_after_the_row_has_its_name_keeps_the_episode(tmp_path, monkeypatch):
    root, replace = tmp_path / "d", os.replace
    write(root, [0, 2])

    def interrupted(source, target):
        replace(source, target)
        if target == meta_path(root, 2):
            raise KeyboardInterrupt

    writer = open_writer(root)
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer.commit(make_episode(1))
    writer.close()
    check_holds(root, [0, 2, 1])
    write(root, [3])
    check_holds(root, [0, 2, 1, 3])
