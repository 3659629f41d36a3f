"""How long decisions take: median and 99th percentile."""

from collections.abc import Sequence

import numpy as np


def percentiles(seconds: Sequence[float]) -> dict[str, float | int | None]:
    """Return p50 and p99 in ms of the known times and how many those are, None where none is."""
    known = np.array(seconds, float)
    known = known[np.isfinite(known)]
    if not len(known):
        return {"p50_ms": None, "p99_ms": None, "n": 0}
    p50, p99 = (float(value) for value in np.percentile(known, [50, 99]) * 1e3)
    return {"p50_ms": round(p50, 3), "p99_ms": round(p99, 3), "n": len(known)}


def latency(decision_s: Sequence[float], server_s: Sequence[float] = ()) -> dict[str, dict]:
    """Return what results.json holds: of decisions, and of round trips where a server decided.

    decision_s: from look to chunk. server_s: how much of that the server computed, nan where it does not say.
    """
    if not server_s:
        return {"decision": percentiles(decision_s)}
    return {"decision": percentiles(server_s), "round_trip": percentiles(decision_s)}


def shown(seconds: Sequence[float]) -> str:
    """Return one phrase for people."""
    found = percentiles(seconds)
    return f"decision p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms"
