"""Times of a physics step and of rendering, for `sim.benchmark baseline=CHECKOUT`: run once by each checkout.

Uses what every version of this repository has: the gymnasium id and the environment below it. Prints one JSON line.
"""

import json
import sys
import time

import gymnasium
import numpy as np


def main(actions: int) -> None:
    """Play `actions` of a gentle swing; print the median times of `apply` and of the images, ms."""
    env = gymnasium.make("sim:FR3PickPlace-v0").unwrapped.env  # pyright: ignore[reportAttributeAccessIssue]
    env.reset(0)
    target, times_s = env.observe().state.copy(), []
    home = target[:-1].copy()
    for step in range(actions):
        target[:-1] = home + 0.1 * np.sin(2 * np.pi * step / 80)
        begun_s = time.perf_counter()
        env.apply(target)
        applied_s = time.perf_counter()
        dict(env.observe().images)  # renders
        times_s.append((applied_s - begun_s, time.perf_counter() - applied_s))
    physics_ms, render_ms = 1e3 * np.median(times_s, axis=0)
    sys.stdout.write(json.dumps({"physics_ms": physics_ms, "render_ms": render_ms}) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
