"""Fixtures: a running emulator, and a driver connected to it."""

import functools

import pytest
from running import Running

from real.fairino.xmlrpc import RpcLink
from sim.guard.motion_guard import MotionGuard


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A busy test machine may stop a process for half a second; that is not what is tested here."""
    for limit in ("fairino.driver.MAX_STATE_AGE_S", "control.watchdog.MAX_BEAT_AGE_S", "fairino.servo_link.COUNTED_S"):
        monkeypatch.setattr(f"real.{limit}", 2.0)
    for limit in ("cameras.camera.SILENCE_S", "cameras.camera.ANSWER_S"):
        monkeypatch.setattr(f"real.{limit}", 10.0)
    for module in ("workcell.episode_runner", "control.guarded_motion"):
        monkeypatch.setattr(f"real.{module}.MotionGuard", functools.partial(MotionGuard, max_age_s=5.0))
    monkeypatch.setattr("sim.envs.sim_env.MotionGuard", functools.partial(MotionGuard, max_age_s=5.0))


@pytest.fixture
def running():
    emulator = Running()
    yield emulator
    emulator.stop()


@pytest.fixture
def driver(running):
    with running.driver() as connected:
        yield connected


@pytest.fixture
def ready(running):
    """A link to a controller that is in automatic mode and enabled."""
    link = RpcLink(running.address("rpc_port"), 20.0)
    running.controller.set_mode(0)
    running.controller.set_enabled(1)
    yield link
    link.close()
