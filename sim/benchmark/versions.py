"""This checkout beside another: rate of collection, a policy period of physics, the images of an observation."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sim.core.checkout import Checkout
from sim.core.comparison import Figures, by_turns

SCRIPT = Path(__file__).with_name("step_times.py")
TITLES = {
    "episodes_per_s": "collection, one worker, episodes/s",
    "physics_ms": "physics of an action, ms",
    "render_ms": "images of an observation, ms",
}


def compare(checkouts: Mapping[str, Checkout], actions: int, episodes: int, repeats: int) -> dict[str, list[Figures]]:
    """Return the figures of every checkout by repeat; all play the same episodes."""
    with tempfile.TemporaryDirectory() as folder:

        def measure(name: str, repeat: int) -> Figures:
            out = Path(folder) / name / str(repeat)
            checkouts[name].run("sim.collect", f"episodes={episodes}", "workers=1", f"out={out}")
            times = json.loads(checkouts[name].run_script(SCRIPT, str(actions)).splitlines()[-1])
            return {"episodes_per_s": commit_rate(out), **times}

        return by_turns({name: lambda repeat, name=name: measure(name, repeat) for name in checkouts}, repeats)


def commit_rate(dataset: Path) -> float:
    """Return episodes a second by the times of their commit marks, so that starting up does not count."""
    times_s = sorted(mark.stat().st_mtime for mark in (dataset / "meta" / "episodes").rglob("*.parquet"))
    return float(1 / np.mean(np.diff(times_s)))
