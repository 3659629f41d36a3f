"""When the expert intervenes, and what is flagged. Nothing is rendered: the agents here do not look."""

import numpy as np
import pytest

from rl.data.interventions import InterventionAgent, Trigger, TriggerConfig
from sim.envs.sim_env import SimEnv
from sim.episode.loop import run_episode
from sim.expert.imperfections import CLEAN
from sim.expert.scripted import Expert
from sim.guard.clearance import guarded


class Holding:
    """Stays where it is; from step `jumps_at` on it asks for a far target, or for no number at all."""

    def __init__(self, jumps_at: int | None = None, jump: float = 1.0):
        self._jumps_at, self._jump = jumps_at, jump

    def reset(self, observation, seed):
        self._steps, self._state = 0, observation.state

    def act(self, observation):
        self._steps += 1
        jumps = self._jumps_at is not None and self._steps > self._jumps_at
        return self._state + (self._jump if jumps else 0.0)

    def flags(self):
        return {}


class Steps:
    """A recorder of flags alone."""

    def __init__(self):
        self.intervention, self.perturbed = [], []

    def add(self, step):
        self.intervention.append(step.flags["intervention"])
        self.perturbed.append(step.flags.get("perturbed", False))


@pytest.fixture(scope="module")
def env():
    env = SimEnv()
    yield env
    env.close()


class Looking(Holding):
    """Tells the guard what it will ask for next."""

    upcoming = np.zeros((3, 7), np.float32)


def play(env, policy, config=None, seed=500001):
    agent = InterventionAgent(policy, Expert(env, CLEAN), Trigger(env, config or TriggerConfig()))
    steps = Steps()
    result = run_episode(env, agent, guarded(env.robot), seed, steps)
    return agent, steps, result


def test_the_expert_intervenes_when_the_policy_does_not_move_and_completes_the_task(env):
    agent, steps, result = play(env, Holding())
    assert agent.reason == "stuck"
    assert result.success
    begin = steps.intervention.index(True)
    assert begin == 50  # 2.5 s at 20 Hz
    assert all(steps.intervention[begin:])
    assert not any(steps.perturbed)


@pytest.mark.parametrize("jump", [1.0, np.nan])
def test_the_expert_intervenes_before_the_guard_would_latch(env, jump):
    agent, steps, result = play(env, Holding(jumps_at=4, jump=jump))
    assert (agent.reason, steps.intervention.index(True)) == ("jump", 4)
    assert result.success
    assert not result.guard.latched


def test_late(env):
    agent, steps, _ = play(env, Holding(), TriggerConfig(late_share=0.1))
    assert (agent.reason, steps.intervention.index(True)) == ("late", 29)


def test_an_agent_that_succeeds_is_never_interrupted(env):
    agent, steps, result = play(env, Expert(env, CLEAN))
    assert result.success
    assert agent.reason == ""
    assert not any(steps.intervention)


def place(env, cube: int, shift) -> None:
    address = env.world.scene.object_qpos[cube]
    env.world.data.qpos[address : address + 3] += shift
    env.world.step(1)


def look(env, change=lambda: None, seed: int = 500001) -> str:
    env.reset(seed)
    trigger = Trigger(env)
    trigger.reset()
    change()
    return trigger.check(env.world.state())


def test_the_named_cube_knocked_away_but_not_onto_its_plate(env):
    assert look(env) == ""
    assert look(env, lambda: place(env, 0, [0.08, 0.0, 0.0])) == "dropped"
    assert look(env, lambda: place(env, 0, [0.02, 0.0, 0.0])) == ""
    target = env.world.ground_truth()["grounding.target_pos_w"]
    shift = target - env.world.ground_truth()["grounding.object_pos_w"]
    assert look(env, lambda: place(env, 0, [*shift[:2], 0.008])) == ""


def test_another_cube_lifted(env):
    seed = next(s for s in range(500001, 500050) if len(env.world.draw(s).layout.object_xy_m) > 1)
    assert look(env, lambda: place(env, 1, [0.0, 0.0, 0.04]), seed) == "wrong object"


def test_the_guard_looks_as_far_ahead_as_in_the_policys_own_rollouts(env, monkeypatch):
    """With a shorter view the same policy and seed would be stopped elsewhere, and not fail as its rollout did."""
    guard, ahead = guarded(env.robot), []
    check = guard.check
    monkeypatch.setattr(guard, "check", lambda seen, asked, upcoming: ahead.append(upcoming) or check(seen, asked))
    agent, steps = InterventionAgent(Looking(), Expert(env, CLEAN), Trigger(env)), Steps()
    run_episode(env, agent, guard, 500001, steps)
    assert any(steps.intervention) and not all(steps.intervention)
    assert [one is Looking.upcoming for one in ahead] == [not acts for acts in steps.intervention]
