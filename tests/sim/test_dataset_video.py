"""Videos are frame-exact, cheap to enter anywhere, and may be made by workers."""

import io

import av
import numpy as np
import pytest
from dataset_examples import FPS, check_holds, coded_frames, make_episode, numbers_of, open_writer

from sim.core.errors import UserError
from sim.dataset.reader import Dataset, Episode, encode_episode_videos, encode_video


def test_images_come_back_frame_exact_and_close(tmp_path):
    with open_writer(tmp_path / "d") as writer:
        writer.commit(make_episode(0, length=101))
    dataset = Dataset(tmp_path / "d")
    original = make_episode(0, length=101).images["front"]
    found = dataset.images(0, "front")
    assert found.dtype == np.uint8 and found.shape == original.shape
    assert numbers_of(found) == list(range(101))
    error = np.abs(found.astype(int) - original)
    assert error.mean() < 2 and np.quantile(error, 0.99) <= 8
    picked = dataset.images(0, "front", [77, 3, 100, 0, 3])
    assert np.array_equal(picked, found[[77, 3, 100, 0, 3]])
    with pytest.raises(IndexError):
        dataset.images(0, "front", [101])
    with pytest.raises(UserError, match="did you mean 'wrist'"):
        dataset.images(0, "wirst")


def test_key_frames_clock_and_pixel_format():
    video = encode_video(coded_frames(31, 0), FPS)
    with av.open(io.BytesIO(video.data)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == FPS and stream.frames == 31
        assert stream.codec_context.name == "h264"
        frames = list(container.decode(stream))
    assert [round(f.time * FPS, 9) for f in frames] == list(range(31))
    assert {f.format.name for f in frames} == {"yuv420p"}
    key = [f.key_frame for f in frames]
    assert key[0] and all(key[i] or key[i + 1] for i in range(30))


def test_workers_encode_and_the_writer_commits(tmp_path):
    root = tmp_path / "d"
    episodes = [make_episode(i) for i in range(3)]
    with open_writer(root) as writer:
        for i in (1, 0):  # in any order
            encode_episode_videos(root, i, episodes[i].images, FPS)
        for episode in episodes[:2]:
            writer.commit(Episode(**(vars(episode) | {"images": None})))
        videos = {camera: encode_video(x, FPS) for camera, x in episodes[2].images.items()}
        writer.commit(Episode(**(vars(episodes[2]) | {"images": videos})))
        with pytest.raises(UserError, match="file-003.mp4"):
            writer.commit(Episode(**(vars(make_episode(3)) | {"images": None})))
    check_holds(root, [0, 1, 2])
