"""Camera frames to mp4 and back, frame-exact.

A key frame at least every second frame (GOP 2) makes any frame cheap to reach: with an encoder's
usual GOP of 250, one random frame costs several times as much to decode.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter

from sim.core.errors import UserError, why_unread
from sim.dataset.stats import image_stats

CODEC = "h264"
PIXEL_FORMAT = "yuv420p"
GOP = 2
CRF = 18
PRESET = "veryfast"  # half the size of ultrafast for a tenth of a millisecond a frame


@dataclass(frozen=True)
class Span:
    """The frames of one episode in a file that may hold several: `length` of them from the one with index `first`."""

    fps: int
    first: int
    length: int


@dataclass(frozen=True)
class Video:
    """One camera's encoded episode. Small and picklable: a worker can send it to the writer."""

    data: bytes  # an mp4 file
    frames: int
    size: tuple[int, int]  # height, width in pixels
    stats: dict[str, np.ndarray]  # as `sim.dataset.stats.image_stats` makes them


def encode_video(frames: np.ndarray, fps: int) -> Video:
    """Encode uint8 RGB frames (T, H, W, 3); frame i is shown at exactly i / fps seconds.

    Raises ValueError for another dtype or shape, no frames, or an odd height or width.
    """
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not len(frames):
        raise ValueError(f"frames are {frames.dtype} {frames.shape}, expected uint8 (T, H, W, 3)")
    height, width = frames.shape[1:3]
    if height % 2 or width % 2:
        raise ValueError(f"image size is {height}x{width}, expected even numbers ({PIXEL_FORMAT})")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        # No B-frames: decoding order is display order. One thread: workers are the parallelism.
        # No macroblock tree: useless in groups of two, and with it the same frames do not always give the same bytes.
        options = {"crf": str(CRF), "preset": PRESET, "bf": "0", "mbtree": "0"}
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, PIXEL_FORMAT
        stream.codec_context.gop_size = GOP
        stream.codec_context.thread_count = 1
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Video(buffer.getvalue(), len(frames), (height, width), image_stats(frames))


def decode_video(
    source: Path | bytes, frames: Sequence[int] | None = None, span: Span | None = None, pixels: str = "rgb24"
) -> np.ndarray:
    """Decode uint8 RGB (T, H, W, 3): all frames of an mp4, or the frames with these indices, in order.

    pixels: in which of PyAV's formats; uint16 (T, H, W) with "gray12le".

    span: the frames that count, where the file holds more. Raises UserError for a file that cannot be decoded,
    IndexError for a frame it does not have.
    """
    name = "video" if isinstance(source, bytes) else str(source)
    file = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    try:
        with av.open(file) as container:
            if not container.streams.video:
                raise ValueError("it holds no video")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise ValueError("it does not say how it is coded")
            stream.codec_context.thread_count = 1
            if span and (span.first or span.length != stream.frames):
                return _decode_span(container, span, frames, pixels)
            if frames is None:
                return _decode_all(container, pixels)
            return np.stack([_decode_one(container, int(index), pixels) for index in frames])
    except (OSError, av.error.FFmpegError, ValueError) as error:
        raise UserError(f"cannot decode {name}: {why_unread(name, error)}") from error


def _decode_all(container, pixels: str) -> np.ndarray:
    reformatter = VideoReformatter()  # shared: a frame's own one would be set up anew each time
    return np.stack([_pixels(frame, reformatter, pixels) for frame in container.decode(video=0)])


def _decode_one(container, index: int, pixels: str) -> np.ndarray:
    stream = container.streams.video[0]
    if not 0 <= index < stream.frames:
        raise IndexError(f"frame {index} of a video with {stream.frames} frames")
    ticks = round(1 / (stream.average_rate * stream.time_base))  # of the stream's clock, per frame
    container.seek(index * ticks, stream=stream)
    for frame in container.decode(stream):
        if frame.pts == index * ticks:
            return _pixels(frame, VideoReformatter(), pixels)
    raise ValueError(f"frame {index} is missing")


def _decode_span(container, span: Span, frames: Sequence[int] | None, pixels: str) -> np.ndarray:
    """Decode a span; frames are found by their time: what other programs joined need not count evenly in the stream's
    clock."""
    if frames is None:
        return np.stack(_decode_from(container, span, 0, span.length, pixels))
    for index in frames:
        if not 0 <= index < span.length:
            raise IndexError(f"frame {index} of an episode with {span.length} frames")
    return np.stack([_decode_from(container, span, int(index), 1, pixels)[0] for index in frames])


def _decode_from(container, span: Span, index: int, count: int, pixels: str) -> list[np.ndarray]:
    stream, first, found = container.streams.video[0], span.first + index, []
    reformatter = VideoReformatter()
    container.seek(max(int((first - 0.5) / span.fps / stream.time_base), 0), stream=stream)
    for frame in container.decode(stream):
        number = round(frame.time * span.fps)
        if number == first + len(found):
            found.append(_pixels(frame, reformatter, pixels))
        if len(found) == count:
            return found
        if number >= first + count:
            break
    raise ValueError(f"frame {first + len(found)} is missing")


def _pixels(frame, reformatter: VideoReformatter, pixels: str) -> np.ndarray:
    return reformatter.reformat(frame, format=pixels).to_ndarray()


def video_info(fps: int, size: tuple[int, int]) -> dict:
    """Return the "info" block of a video feature in info.json."""
    return {
        "video.height": size[0],
        "video.width": size[1],
        "video.codec": CODEC,
        "video.pix_fmt": PIXEL_FORMAT,
        "video.fps": fps,
        "video.channels": 3,
        "has_audio": False,
        "is_depth_map": False,
        "video.g": GOP,
        "video.crf": CRF,
        "video.preset": PRESET,
    }
