"""robosuite's actions a second, for `sim.benchmark.benchmark`: run by the Python of an environment of its own.

robosuite needs an older MuJoCo than ours, so nothing of this project is imported here; prints one number.
"""

import sys
import time

import numpy as np


def main(actions: int, size_px: int) -> None:
    """Play PickPlaceCan with two cameras at 20 Hz, one process: the nearest that robosuite has to our task."""
    import robosuite  # of that other environment  # pyright: ignore[reportMissingImports]

    env = robosuite.make(
        "PickPlaceCan", robots="Panda", has_renderer=False, has_offscreen_renderer=True, use_camera_obs=True,
        camera_names=["agentview", "robot0_eye_in_hand"], camera_heights=size_px, camera_widths=size_px,
        control_freq=20, horizon=10 * actions,
    )  # fmt: skip
    env.reset()
    env.step(np.zeros(env.action_dim))
    begun = time.perf_counter()
    for _ in range(actions):
        env.step(np.zeros(env.action_dim))
    sys.stdout.write(f"rate {actions / (time.perf_counter() - begun)}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
