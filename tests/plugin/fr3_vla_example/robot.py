"""A robot of somebody else's: the FAIRINO FR3 of a lab that looks from the side and controls at 25 Hz, slowly.

The arm is the project's; one of your own names its MJCF file in `mjcf`, wherever that is.
"""

from dataclasses import replace

import numpy as np

from sim.robots.fairino_fr3 import fairino_fr3
from sim.robots.robot import ROBOTS, FixedCamera, Robot, WristCamera


@ROBOTS.register("lab_fr3")
def lab_fr3() -> Robot:
    """Return the description."""
    return replace(
        fairino_fr3(),
        name="lab_fr3",
        control_hz=25,
        policy_speed_rad_s=float(np.deg2rad(50)),
        cameras=(FixedCamera("side", (-0.30, 0.75, 0.45), (-0.30, 0.0, 0.03), 42.0), WristCamera("wrist")),
    )
