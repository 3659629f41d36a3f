"""Videos are frame-exact, cheap to enter anywhere, and may be made by workers."""

import io

import av
import numpy as np
import pytest
from dataset_examples import FPS, check_holds, coded_frames, make_episode, numbers_of, open_writer

from sim.core.errors import UserError
from sim.dataset.reader import Dataset, Episode, encode_video


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


def test_videos_that_a_worker_encoded_are_committed_as_they_are(tmp_path):
    root, given = tmp_path / "d", make_episode(0)
    videos = {camera: encode_video(frames, FPS) for camera, frames in given.images.items()}
    with open_writer(root) as writer:
        writer.commit(Episode(**(vars(given) | {"images": videos})))
    check_holds(root, [0])
    assert {path.read_bytes() for path in root.rglob("*.mp4")} == {video.data for video in videos.values()}
