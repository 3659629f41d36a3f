"""Which states are believed."""

import dataclasses

import numpy as np
import pytest

from real.fairino.controller_state import ControllerState
from real.fairino.plausible import ACCEPTED_AFTER, Plausibility

JOINTS = np.array([10.0, -80.0, 100.0, -110.0, -85.0, 15.0])
STATE = ControllerState(JOINTS, np.zeros(6), 0, True, 0, 0, False, False, False, 100, 0, True)


def at(joints, stamp_s: float = 0.0) -> ControllerState:
    return dataclasses.replace(STATE, joint_deg=np.array(joints, float), stamp_s=stamp_s)


def test_motion_at_the_arm_s_own_speed_is_believed():
    seen = Plausibility()
    for k in range(100):
        assert seen.accepts(at(JOINTS - 180 * 0.008 * k * np.eye(6)[0], 0.008 * k))


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_no_number_is_never_believed(wrong):
    seen = Plausibility()
    for _ in range(10):
        assert not seen.accepts(at([wrong, *JOINTS[1:]]))
    assert seen.refused_zeros == 10


def test_sudden_zeros_are_never_believed_but_an_arm_may_come_to_zero():
    seen = Plausibility()
    assert seen.accepts(at(JOINTS))
    for k in range(20):
        assert not seen.accepts(at([0, 0, 0, *JOINTS[3:]], 1.0 + k))
    near = Plausibility()
    assert near.accepts(at([0.5, -0.5, 1.0, 0, 0, 0]))
    assert near.accepts(at([0, 0, 0, 0, 0, 0], 0.008))


def test_a_jump_is_believed_when_frames_go_on_to_say_so():
    seen = Plausibility()
    assert seen.accepts(at(JOINTS))
    there = JOINTS + 40
    answers = [seen.accepts(at(there, 0.008 * (k + 1))) for k in range(ACCEPTED_AFTER)]
    assert answers == [False] * (ACCEPTED_AFTER - 1) + [True]
    assert seen.refused_jumps == ACCEPTED_AFTER - 1


def test_scattered_damage_is_not_believed():
    seen, rng = Plausibility(), np.random.default_rng(0)
    assert seen.accepts(at(JOINTS))
    for k in range(50):
        assert not seen.accepts(at(rng.choice([-1, 1], 6) * rng.uniform(150, 300, 6) * (1 + k % 3) / 3 + 50, 0.001 * k))
        assert seen.accepts(at(JOINTS, 0.001 * k))
