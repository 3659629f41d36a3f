"""Residuals of a fit: cycles in which the logged command is wrong, and the covariance of the estimate."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from real.calibrate.motion_log import CycleLog

OUTLIER = 8.0  # robust standard deviations
MAD_OF_NORMAL = 0.6745  # median of |x| in standard deviations of x


def without_outliers(segments: Sequence[CycleLog], residual: np.ndarray, first: int) -> list[CycleLog]:
    """Return `segments`, no longer trusting cycles in which a joint's residual exceeds OUTLIER robust standard
    deviations.

    residual: (cycles, joints, segments), 0 where nothing is compared; its cycle 0 is cycle `first` of a segment.
    A command that arrives just as the controller reads its input is assigned a cycle too early: a few per
    thousand are, and without this they would outweigh friction.
    """
    compared = residual.any(axis=1)  # (cycles, segments)
    spread = [np.median(np.abs(residual[:, joint][compared])) / MAD_OF_NORMAL for joint in range(residual.shape[1])]
    far = np.any(np.abs(residual) > OUTLIER * np.array(spread)[:, None], axis=1)
    cleaned = []
    for number, segment in enumerate(segments):
        trusted = segment.trusted.copy()
        trusted[first : first + len(far)] &= ~far[:, number]
        cleaned.append(replace(segment, trusted=trusted))
    return cleaned


def clustered_covariance(jacobian: np.ndarray, residuals: np.ndarray) -> np.ndarray:
    """Return the sandwich covariance (n, n) of least squares; `residuals` (rows, clusters), `jacobian` (rows *
    clusters, n).

    (J'J)^-1 (sum over clusters of J_c' r_c r_c' J_c) (J'J)^-1 * c / (c - 1): Cameron and Miller, 2015, eq. 11.
    """
    clusters = residuals.shape[1]
    by_cluster = jacobian.reshape(clusters, -1, jacobian.shape[1])
    scores = np.einsum("crn,rc->cn", by_cluster, residuals)
    bread = np.linalg.pinv(jacobian.T @ jacobian)
    return bread @ (scores.T @ scores) @ bread * clusters / (clusters - 1)
