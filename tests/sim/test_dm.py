"""The dm_env view, by dm_env's own conformance tests."""

import dm_env
import numpy as np
from absl.testing import absltest
from dm_env import test_utils
from playing import SMALL, calm

from sim.envs.dm_env import DmEnv
from sim.envs.sim_env import SimEnv
from sim.expert.imperfections import CLEAN
from sim.expert.scripted import Expert

SIZE = (SMALL.height, SMALL.width)


class TestConformance(test_utils.EnvironmentTestMixin, absltest.TestCase):
    """What dm_env asks of every environment."""

    def make_object_under_test(self) -> DmEnv:
        return DmEnv(SimEnv(calm()), SIZE)


def test_a_success_ends_with_discount_zero_and_the_next_seed_follows():
    env = SimEnv(calm())
    view, expert = DmEnv(env, SIZE, seed=5), Expert(env, CLEAN)
    step = view.reset()
    first = str(step.observation["instruction"])
    assert first == env.world.instruction
    expert.reset(env.observe(), 5)
    while not step.last():
        step = view.step(expert.act(env.observe()))
    assert (step.discount, step.reward) == (0.0, 0.0)
    assert view.step(np.array(env.world.state())).first()
    env.reset(6)
    assert str(view._look()["instruction"]) == env.world.instruction


def test_a_time_out_keeps_its_discount():
    env = SimEnv(calm())
    view = DmEnv(env, SIZE)
    pose = view.reset().observation["state"]
    steps = [view.step(pose) for _ in range(env.time_limit_steps)]
    assert [step.step_type for step in steps[-2:]] == [dm_env.StepType.MID, dm_env.StepType.LAST]
    assert steps[-1].discount == 1.0
