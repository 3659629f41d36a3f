"""What an episode draws of cameras and encoders is seen on the emulator, and its record says what is."""

import numpy as np
import pytest
from fr3 import FR3
from playing import SMALL, calm

from real.emulator.twin import Twin
from sim.envs.simulation import Simulation, SimulationConfig

HOME = np.array(FR3.home_rad)


@pytest.fixture
def twin_of():
    twins = []

    def make(config: SimulationConfig) -> tuple[Twin, Simulation]:
        world = Simulation(config)
        twins.append(Twin(world, 3))
        return twins[-1], world

    yield make
    for twin in twins:
        twin.close()


def error_of(twin: Twin, world: Simulation) -> np.ndarray:
    """(H, W, 3) how an image differs from the scene as it is."""
    return twin.render("front")[0] - world.render("front", world.snapshot()).astype(int)


def test_each_image_has_the_noise_of_its_camera_and_each_cycle_that_of_the_encoders(twin_of):
    twin, world = twin_of(calm(image_noise=(8.0, 8.0), encoder_noise_rad=(0.002, 0.002)))
    first, second = error_of(twin, world), error_of(twin, world)
    assert first.std() == pytest.approx(8.0, rel=0.2)
    assert (first != second).mean() > 0.5
    read = []
    for _ in range(60):
        twin.tick(HOME, 1.0)
        np.testing.assert_array_equal(twin.state(), twin.state())  # of one cycle
        read.append(twin.state()[:6] - world.joints_rad())
    assert np.std(read) == pytest.approx(0.002, rel=0.2)
    assert twin.state()[-1] == world.state()[-1]


def test_where_none_is_drawn_images_and_joints_are_those_of_the_world(twin_of):
    twin, world = twin_of(SimulationConfig(render=SMALL))  # light
    assert not error_of(twin, world).any()
    twin.tick(HOME, 1.0)
    np.testing.assert_array_equal(twin.state(), world.state())


def test_what_is_not_applied_is_not_recorded(twin_of):
    twin, _ = twin_of(calm(dropped_frames=(0.5, 0.5), action_jitter_s=(0.01, 0.01), gamma=(1.2, 1.2)))
    record = twin.episode_record()
    assert (record["dropped_frames"], record["action_jitter_s"]) == (0.0, 0.0)
    assert list(record["gamma"]) == [1.2, 1.2]
