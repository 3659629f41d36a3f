"""The export without perturbed frames: nothing perturbed is left, nothing else is lost, stretches stay apart."""

import numpy as np
import pytest
from dataset_examples import FEATURES as COLUMNS
from dataset_examples import coded_frames, numbers_of, open_writer
from hypothesis import given
from hypothesis import strategies as st

from sim import export
from sim.core.errors import UserError
from sim.dataset.reader import Column, Dataset, Episode, Features
from sim.export import ExportConfig

FEATURES = Features(COLUMNS.cameras, COLUMNS.image_size, {**COLUMNS.columns, "perturbed": Column("bool")})


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_stretches_are_the_runs_between(perturbed):
    found = [list(range(run.start, run.stop)) for run in export.stretches(np.array(perturbed))]
    text = "".join("x" if flag else "." for flag in perturbed)
    runs, start = [], 0
    for part in text.split("x"):
        runs.append(list(range(start, start + len(part))))
        start += len(part) + 1
    assert found == [run for run in runs if len(run) >= 2]


def make(number: int, perturbed: list[int], length: int = 12) -> Episode:
    columns = {
        name: (number + np.arange(length * int(np.prod(column.shape)))).reshape(length, *column.shape).astype("float32")
        for name, column in FEATURES.columns.items()
        if column.dtype != "bool"
    }
    columns |= {name: np.zeros(length, bool) for name, column in FEATURES.columns.items() if column.dtype == "bool"}
    columns["perturbed"][perturbed] = True
    images = {camera: coded_frames(length, 20 * number) for camera in FEATURES.cameras}
    return Episode(columns, "go", images, {"seed": number, "success": True, "draw/mass": 0.5})


def test_no_perturbed_frame_is_left_and_no_other_is_lost(tmp_path):
    with open_writer(tmp_path / "d", features=FEATURES) as writer:
        for number, perturbed in enumerate([[], [4, 5], [0, 2, 11]]):
            writer.commit(make(number, perturbed))
    export.main(ExportConfig(str(tmp_path / "d"), str(tmp_path / "out")))
    before, after = Dataset(tmp_path / "d"), Dataset(tmp_path / "out")
    expected = [(0, 0, 12), (1, 0, 4), (1, 6, 12), (2, 3, 11)]  # frame 1 of episode 2 alone is no episode
    assert after.num_episodes == len(expected)
    for episode, (source, start, stop) in enumerate(expected):
        assert after.episode_metadata(episode) == {
            "seed": source, "success": True, "from_episode": source, "from_frame": start,
        }  # fmt: skip
        for name, values in before.columns(source).items():
            assert np.array_equal(after.columns(episode)[name], values[start:stop])
        assert not after.columns(episode)["perturbed"].any()
        for camera in FEATURES.cameras:
            assert numbers_of(after.images(episode, camera)) == [20 * source + frame for frame in range(start, stop)]
    with pytest.raises(UserError, match="it holds 4 episodes"):
        export.main(ExportConfig(str(tmp_path / "d"), str(tmp_path / "out")))


def test_no_demonstrations_are_added_to_an_export(tmp_path):
    """Its provenance is that of what it was exported from, its episodes are stretches."""
    about = {"world": {"task": "reach"}, "quality": {}, "seed": 0}
    with open_writer(tmp_path / "d", features=FEATURES, provenance=about) as writer:
        writer.commit(make(0, [4, 5]))
    export.main(ExportConfig(str(tmp_path / "d"), str(tmp_path / "out")))
    message = "out holds stretches of another dataset's episodes, not demonstrations; name a new out=DIR"
    with pytest.raises(UserError, match=message):
        open_writer(tmp_path / "out", features=FEATURES, provenance=about)
    assert Dataset(tmp_path / "out").num_episodes == 2


def test_an_export_is_whole_or_not_there(tmp_path, monkeypatch):
    """A broken video ends it, Ctrl-C does not lose what was done, another export's beginning is not gone on with."""
    with open_writer(tmp_path / "d", features=FEATURES) as writer:
        for number in range(3):
            writer.commit(make(number, []))
    config, begun = ExportConfig(str(tmp_path / "d"), str(tmp_path / "out")), tmp_path / "out.part"
    read, cut = [], export.cut

    def broken_at_the_last(dataset, episode, runs):
        read.append(episode)
        if len(read) == 3:
            raise UserError("the video is broken")
        return cut(dataset, episode, runs)

    monkeypatch.setattr(export, "cut", broken_at_the_last)
    with pytest.raises(UserError, match="the video is broken"):
        export.main(config)
    assert not (tmp_path / "out").exists() and Dataset(begun).num_episodes == 2
    (tmp_path / "out").mkdir()  # empty
    export.main(config)
    assert read == [0, 1, 2, 2] and Dataset(tmp_path / "out").num_episodes == 3 and not begun.exists()
    (tmp_path / "out").rename(begun)
    with open_writer(tmp_path / "d", features=FEATURES) as writer:
        writer.commit(make(3, []))
    with pytest.raises(UserError, match=r"out\.part is the beginning of another export"):
        export.main(config)
