"""Whether the cameras of an arm at rest are exchanged: by the arm's outline in the images of the fixed camera."""

from real.parity.arm_renderer import ArmRenderer
from real.parity.hypotheses import NO_FAULT, hypotheses
from real.parity.image_alignment import ENOUGH, AlignmentTest
from real.parity.recording import Recording
from sim.robots.robot import Robot

CLEARLY = 0.15  # by how much the exchanged images must agree better


def exchanged_cameras(recording: Recording, robot: Robot) -> tuple[str, str] | None:
    """Return cause and remedy where the images of one observation agree clearly better exchanged, "", "" where they
    agree as they are; None where neither shows the arm."""
    height, width = recording.trajectories[0].images[recording.cameras[0]].shape[1:3]
    renderer = ArmRenderer(robot, (height, width))
    try:
        test = AlignmentTest(renderer, recording.cameras, recording.trajectories)
        as_it_is = test.score(NO_FAULT)
        for one in hypotheses(robot, recording.cameras, (height, width)):
            if one.swaps_cameras and test.score(one) > max(as_it_is + CLEARLY, ENOUGH):
                return one.cause, one.remedy
    finally:
        renderer.close()
    return ("", "") if as_it_is > ENOUGH else None
