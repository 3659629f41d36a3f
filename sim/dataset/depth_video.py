"""Depth frames to mp4 and back, without loss: HEVC of 12 bits whose levels are millimetres, as LeRobot reads them."""

import io
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from sim.core.errors import UserError
from sim.dataset.schema import DEPTH_LEVELS
from sim.dataset.stats import column_stats
from sim.dataset.video import GOP, Span, Video, decode_video

CODEC, PIXEL_FORMAT, PRESET = "hevc", "gray12le", "ultrafast"
# Without loss; one thread, as workers are the parallelism, also makes the same frames the same bytes.
CODING = "lossless=1:bframes=0:pools=none:frame-threads=1:log-level=error"
FARTHEST_MM = 4095
SMALLEST_PX = 16  # of a side, that the codec takes


def encode_depth(frames: np.ndarray, fps: int) -> Video:
    """Encode depth uint16 (T, H, W), mm, 0 where there is none; frame i is shown at exactly i / fps seconds.

    Raises ValueError for another dtype or shape, no frames, sides below `SMALLEST_PX`, or a depth beyond `FARTHEST_MM`.
    """
    frames = np.asarray(frames)
    if frames.dtype != np.uint16 or frames.ndim != 3 or not len(frames):
        raise ValueError(f"depth is {frames.dtype} {frames.shape}, expected uint16 (T, H, W)")
    if min(frames.shape[1:]) < SMALLEST_PX:
        raise ValueError(f"depth of {frames.shape[1:]} pixels, expected {SMALLEST_PX} or more a side")
    if frames.max() > FARTHEST_MM:
        raise ValueError(f"depth of {frames.max()} mm, expected at most {FARTHEST_MM}; 0 where there is none")
    height, width = frames.shape[1:]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        options = {"preset": PRESET, "x265-params": CODING}
        stream = container.add_stream("libx265", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, PIXEL_FORMAT
        stream.codec_context.gop_size = GOP
        stream.codec_context.thread_count = 1
        for index, depth in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(depth), format=PIXEL_FORMAT)
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Video(buffer.getvalue(), len(frames), (height, width), depth_stats(frames))


def decode_depth(source: Path | bytes, frames: Sequence[int] | None = None, span: Span | None = None) -> np.ndarray:
    """Decode uint16 (T, H, W), mm: all frames, or those with these indices. Raises as `decode_video`."""
    depth = decode_video(source, frames, span, PIXEL_FORMAT)
    if depth.dtype != np.uint16 or depth.ndim != 3:
        raise UserError(f"cannot decode {source if isinstance(source, Path) else 'video'}: it holds no depth")
    return depth


def depth_stats(frames: np.ndarray) -> dict[str, np.ndarray]:
    """Return statistics (1, 1, 1), mm, of depth (T, H, W): of pixels that have one, in every eighth row and column."""
    seen = frames[:, ::8, ::8]
    seen = seen[seen > 0]
    stats = column_stats(seen if seen.size else np.zeros(1))
    shaped = {name: value.reshape(1, 1, 1) for name, value in stats.items() if name != "count"}
    return shaped | {"count": np.array([len(frames)], np.int64)}


def depth_info(fps: int, size: tuple[int, int]) -> dict:
    """Return the "info" block of a depth feature in info.json."""
    return {
        "video.height": size[0],
        "video.width": size[1],
        "video.codec": CODEC,
        **DEPTH_LEVELS,
        "video.fps": fps,
        "video.channels": 1,
        "has_audio": False,
        "is_depth_map": True,
        "video.g": GOP,
        "video.preset": PRESET,
    }
