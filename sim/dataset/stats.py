"""Statistics of a dataset's features, per episode and joined over episodes.

A statistic is a float64 array of the feature's shape; `count` is int64 (1,), the rows it was
computed over. Images are channel-first in [0, 1]: shape (3, 1, 1).
"""

from collections.abc import Sequence

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
STATISTICS = ("min", "max", "mean", "std", "count", *QUANTILES)
IMAGE_SAMPLES = 32  # frames of an episode looked at; neighbours are nearly the same image


def column_stats(values: np.ndarray) -> dict[str, np.ndarray]:
    """Return statistics over the frames of a column (T,) or (T, n).

    Frames with a value that is not finite are left out (NaN stands for "not known"); when none
    is left all statistics are 0, and so is the count.
    """
    values = np.asarray(values, np.float64).reshape(len(values), -1)
    values = values[np.isfinite(values).all(axis=1)]
    count = np.array([len(values)], np.int64)
    if not len(values):
        zero = np.zeros(values.shape[1])
        return {name: zero for name in STATISTICS} | {"count": count}
    stats = {
        "min": values.min(axis=0),
        "max": values.max(axis=0),
        "mean": values.mean(axis=0),
        "std": values.std(axis=0),
        "count": count,
    }
    quantiles = np.quantile(values, list(QUANTILES.values()), axis=0)
    return stats | dict(zip(QUANTILES, quantiles, strict=True))


def image_stats(frames: np.ndarray) -> dict[str, np.ndarray]:
    """Return per-channel statistics in [0, 1] of frames uint8 (T, H, W, 3), on an even subsample."""
    picked = np.linspace(0, len(frames) - 1, min(len(frames), IMAGE_SAMPLES)).round().astype(int)
    sample = frames[picked]
    # 256 levels: the histogram holds everything, at a fraction of the price of sorting pixels.
    counts = np.stack([np.bincount(sample[..., c].ravel(), minlength=256) for c in range(3)])
    levels = np.arange(256) / 255.0
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ levels
    cumulative = np.cumsum(share, axis=1)
    stats = {
        "min": levels[(counts > 0).argmax(axis=1)],
        "max": levels[255 - (counts[:, ::-1] > 0).argmax(axis=1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(share @ levels**2 - mean**2, 0.0)),
    }
    for name, quantile in QUANTILES.items():
        stats[name] = levels[(cumulative >= quantile - 1e-12).argmax(axis=1)]
    stats = {name: value.reshape(3, 1, 1) for name, value in stats.items()}
    return stats | {"count": np.array([len(picked)], np.int64)}


def aggregate(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Join the statistics of several episodes as LeRobot does.

    Everything is exact except the quantiles, which are the episodes' means weighted by count.
    """
    if not parts:
        raise ValueError("no statistics to join")
    counts = np.array([int(part["count"][0]) for part in parts])
    if not counts.any():
        return dict(parts[0])
    known = [part for part, count in zip(parts, counts, strict=True) if count]
    total = int(counts.sum())
    stacked = {name: np.stack([np.asarray(part[name]) for part in known]) for name in STATISTICS}
    weights = counts[counts > 0] / total
    mean = np.tensordot(weights, stacked["mean"], axes=1)
    variance = np.tensordot(weights, stacked["std"] ** 2 + (stacked["mean"] - mean) ** 2, axes=1)
    joined = {
        "min": stacked["min"].min(axis=0),
        "max": stacked["max"].max(axis=0),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": np.array([total], np.int64),
    }
    return joined | {name: np.tensordot(weights, stacked[name], axes=1) for name in QUANTILES}
