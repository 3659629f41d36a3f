"""Fixtures: a running emulator, and a driver connected to it."""

import pytest
from running import Running


@pytest.fixture
def running():
    emulator = Running()
    yield emulator
    emulator.stop()


@pytest.fixture
def driver(running):
    with running.driver() as connected:
        yield connected
