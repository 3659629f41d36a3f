"""Chunks in time: decided in a thread while the one before is played on, and averaged as ACT does."""

import dataclasses
import itertools
import threading
import time

import numpy as np
import pytest
from waiting import wait_for

from policies.runtime.chunk_agent import ChunkAgent, ChunkSpec, Timing
from policies.runtime.ensembling import APART_RAD, TemporalEnsemble
from policies.runtime.latency import latency, percentiles
from sim.core import contract
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.core.estimate import Estimate

CHUNK, EXECUTE, HZ = 10, 4, 20
SPEC = ChunkSpec(CHUNK, 2, HZ, execute=EXECUTE)


class Scripted(ChunkAgent):
    """Chunk k at its step i is (k, i), counted from the look; decisions wait for `go`."""

    def __init__(self, timing: Timing, spec: ChunkSpec = SPEC):
        self.go, self.seeds, self.fails = threading.Event(), [], False
        self.go.set()
        super().__init__(spec, timing)

    def begin(self, seed: int) -> None:
        self.seeds.append(seed)
        self.decided = 0

    def looked_at(self, observation: Observation) -> Observation:
        return observation

    def _decide(self, observation, commanded, under_way):
        assert self.go.wait(20)
        if self.fails:
            raise UserError("the server is lost")
        self.decided += 1
        return np.column_stack([np.full(CHUNK, self.decided), np.arange(CHUNK)]).astype(np.float32)


def look() -> Observation:
    return Observation({}, np.zeros(2, np.float32), "go", 0.0)


def act(agent: ChunkAgent) -> tuple[int, int]:
    chunk, step = agent.act(look())
    return int(chunk), int(step)


def settle(agent: ChunkAgent) -> None:
    """Wait until what is being decided is there."""
    ends = time.monotonic() + 20
    while agent._deciding.busy and not agent._deciding.ready:
        assert time.monotonic() < ends
        time.sleep(0.001)


@pytest.mark.parametrize(("delay_s", "lead_s"), [(0.05, 0.0), (0.15, 0.0), (0.1, 0.05), (0.03, 0.1)])
def test_in_a_thread_it_plays_what_it_plays_with_a_simulated_delay(delay_s, lead_s):
    timing = {"inference_delay_s": delay_s, "lead_s": lead_s}
    simulated, threaded = Scripted(Timing(**timing)), Scripted(Timing(**timing, in_thread=True))
    for episode in range(2):
        for agent in (simulated, threaded):
            agent.reset(look(), episode)
        for _ in range(25):
            expected = act(simulated)
            assert act(threaded) == expected
            settle(threaded)
    assert threaded.late_steps == 0 and threaded.seeds == simulated.seeds == [0, 1]
    assert len(threaded.decision_s) == len(simulated.decision_s)


def test_a_late_decision_is_joined_at_the_step_that_is_due():
    agent = Scripted(Timing(inference_delay_s=0.1, in_thread=True))  # two steps
    agent.reset(look(), 0)
    assert act(agent) == (0, 0)  # held
    settle(agent)
    assert [act(agent) for _ in range(3)] == [(0, 0), (1, 0), (1, 1)]
    agent.go.clear()
    assert [act(agent) for _ in range(2)] == [(1, 2), (1, 3)]  # looked when two steps were left
    assert [act(agent) for _ in range(3)] == [(1, 4), (1, 5), (1, 6)]  # beyond what was to be played
    assert agent.late_steps == 3
    agent.go.set()
    settle(agent)
    # Steps 0 to 4 of the second chunk are for the instants at which the first one was played on.
    assert [act(agent) for _ in range(4)] == [(2, 5), (2, 6), (2, 7), (2, 8)]


def test_when_the_chunk_before_is_over_the_arm_is_held():
    agent = Scripted(Timing(inference_delay_s=0.1, in_thread=True))
    agent.reset(look(), 0)
    act(agent)
    settle(agent)
    played = [act(agent) for _ in range(3)]
    agent.go.clear()
    played += [act(agent) for _ in range(12)]
    assert played == [(0, 0), *((1, step) for step in range(CHUNK)), *[(1, 9)] * 4]
    agent.go.set()
    settle(agent)
    assert act(agent) == (2, 8)  # it goes on where the first chunk ended, at its last steps
    settle(agent)
    assert [act(agent) for _ in range(4)] == [(2, 9), (3, 2), (3, 3), (3, 4)]


def test_a_first_decision_that_is_late_is_played_from_its_beginning():
    agent = Scripted(Timing(inference_delay_s=0.05, in_thread=True))
    agent.go.clear()
    agent.reset(look(), 0)
    assert [act(agent) for _ in range(5)] == [(0, 0)] * 5
    agent.go.set()
    settle(agent)
    assert [act(agent) for _ in range(2)] == [(1, 0), (1, 1)]


def test_a_reset_forgets_what_was_being_decided():
    agent = Scripted(Timing(inference_delay_s=0.05, in_thread=True))
    agent.reset(look(), 0)
    agent.go.clear()
    act(agent)
    threading.Timer(0.05, agent.go.set).start()
    agent.reset(look(), 1)
    assert act(agent) == (0, 0)
    settle(agent)
    assert act(agent) == (1, 0)


def test_what_begins_anew_within_an_episode_keeps_its_record():
    agent = Scripted(Timing())
    agent.reset(look(), 1)
    for seed, radius_m in ((1, 0.25), (2, 0.5)):
        agent.restart(look(), seed)
        agent.note_estimates([Estimate("object", np.zeros(3), radius_m)])
        agent.note_subtask(f"step {seed}")
    assert (agent.within_m, agent.subtasks) == ({"object": [0.25, 0.5]}, ["step 1", "step 2"])
    agent.restart(look(), 3)
    assert agent.estimates == [] and agent.within_m  # what was found before is no place to go to
    agent.reset(look(), 4)
    assert (agent.within_m, agent.subtasks) == ({}, []) and agent.seeds == [1, 1, 2, 3, 4]


def test_what_goes_wrong_in_the_thread_is_raised_by_the_agent():
    agent = Scripted(Timing(inference_delay_s=0.05, in_thread=True))
    agent.fails = True
    agent.go.clear()
    agent.reset(look(), 0)
    act(agent)
    agent.go.set()
    settle(agent)
    with pytest.raises(UserError, match="the server is lost"):
        act(agent)


def test_a_chunk_that_comes_too_late_after_its_look_is_not_played(monkeypatch):
    monkeypatch.setattr(contract, "MAX_DECISION_S", 0.05)
    agent = Scripted(Timing(inference_delay_s=0.05, in_thread=True))
    agent.go.clear()
    agent.reset(look(), 0)
    act(agent)
    time.sleep(0.06)
    agent.go.set()
    wait_for(lambda: agent.decision_s)
    with pytest.raises(UserError, match=r"a decision took 0\.\d s, at most 0\.05 s"):
        act(agent)


@pytest.mark.parametrize("in_thread", [False, True])
def test_what_is_held_while_it_decides_is_held_as_firmly_as_commanded(in_thread):
    """Fingers that are commanded to close around a cube are measured half open."""
    agent = Scripted(Timing(inference_delay_s=0.1, in_thread=in_thread))
    grasped = Observation({}, np.array([0.25, 0.51], np.float32), "go", 0.0)
    agent.reset(look(), 0)
    agent.act(look())
    agent.note_executed(np.array([0.75, 0.0], np.float32))  # a person's, who closed them
    agent.restart(grasped, 1)
    assert [agent.act(grasped).tolist() for _ in range(2)] == [[0.25, 0.0]] * 2
    agent.reset(grasped, 2)  # another episode: what was commanded in the one before is over
    assert agent.act(grasped).tolist() == pytest.approx([0.25, 0.51])


# ---- temporal ensembling -----------------------------------------------------------------------------


class Drawn(Scripted):
    """Chunks of noise, kept; joints that differ as those of one plan do."""

    def begin(self, seed: int) -> None:
        self._rng, self.kept = np.random.default_rng(seed), []

    def _decide(self, observation, commanded, under_way):
        noise = self._rng.uniform(-1, 1, (CHUNK, 2)) * [APART_RAD / 2, 1]
        self.kept.append(noise.astype(np.float32))
        return self.kept[-1]


@pytest.fixture
def never():
    """An agent whose decisions do not end before the test does."""
    agent = Scripted(Timing(inference_delay_s=0.05, in_thread=True))
    agent.reset(look(), 0)
    agent.go.clear()
    yield agent
    agent.go.set()


def test_a_decision_that_never_ends_ends_the_run(never, monkeypatch):
    monkeypatch.setattr(contract, "MAX_DECISION_S", 0.5)
    assert [act(never) for _ in range(3)] == [(0, 0)] * 3  # held
    time.sleep(0.51)
    with pytest.raises(UserError, match=r"a decision took [\d.]+ s, at most 0\.5 s"):
        act(never)
    with pytest.raises(UserError, match="a decision took"):  # no next episode either
        never.reset(look(), 1)


def test_chunks_are_averaged_as_act_does():
    agent = Drawn(Timing(ensemble=0.01))
    agent.reset(look(), 0)
    played = np.array([agent.act(look()) for _ in range(30)])
    # ACT's evaluation loop, imitate_episodes.py: a table of what each query says of each instant.
    table = np.full((30, 30 + CHUNK, 2), np.nan)
    for now, chunk in enumerate(agent.kept):
        table[now, now : now + CHUNK] = chunk
        populated = table[: now + 1, now]
        populated = populated[~np.isnan(populated[:, 0])]
        weights = np.exp(-0.01 * np.arange(len(populated)))
        expected = (populated * (weights / weights.sum())[:, None]).sum(0)
        np.testing.assert_allclose(played[now], expected, atol=1e-6)
    assert len(agent.kept) == 30


@pytest.mark.parametrize(("apart_rad", "played"), [(0.29, [0.0, 0.0, 0.145, 0.145]), (0.31, [0.0, 0.0, 0.31, 0.31])])
def test_a_chunk_of_another_plan_is_not_averaged(apart_rad, played):
    class Turning(Scripted):
        """The second chunk goes elsewhere."""

        def _decide(self, observation, commanded, under_way):
            self.decided += 1
            return np.full((CHUNK, 2), apart_rad * (self.decided > 1), np.float32)

    agent = Turning(Timing(execute=2, ensemble=0.0))
    agent.reset(look(), 0)
    np.testing.assert_allclose([agent.act(look())[0] for _ in range(4)], played, atol=1e-6)


def test_chunks_of_the_sub_task_before_are_not_averaged():
    class Naming(Scripted):
        """Chunk k is 0.1 k throughout; the first two are about one thing, the others about the next."""

        def _decide(self, observation, commanded, under_way):
            self.decided += 1
            self.note_subtask("the red cube" if self.decided <= 2 else "the blue cube")
            return np.full((CHUNK, 2), 0.1 * self.decided, np.float32)

    agent = Naming(Timing(execute=1, ensemble=0.0))
    agent.reset(look(), 0)
    np.testing.assert_allclose([agent.act(look())[0] for _ in range(4)], [0.1, 0.15, 0.3, 0.35], atol=1e-6)
    assert agent.subtasks == ["the red cube", "the blue cube"]


def test_a_chunk_that_begins_before_the_one_before_is_compared_and_averaged_where_both_are():
    """As the second one does after a hold, where lead and delay together are longer than what is played."""
    ensemble = TemporalEnsemble(0.0)
    rising = np.column_stack([np.arange(4.0), np.zeros(4)])  # at step 5 + i a joint is to be at i
    ensemble.average(5, rising)
    found = ensemble.average(3, rising - [2.2, 0.0])  # at step 3 + i at i - 2.2: near it from step 5 on
    np.testing.assert_allclose(found[:, 0], [-2.2, -1.2, -0.1, 0.9])
    ensemble = TemporalEnsemble(0.0)
    ensemble.average(5, rising)
    found = ensemble.average(3, rising)  # two steps ahead of it: another plan
    np.testing.assert_allclose(found, rising)


def test_a_policy_averages_by_itself_unless_told_otherwise():
    spec = dataclasses.replace(SPEC, ensemble=0.01)
    for timing, execute, decay in (
        (Timing(), EXECUTE, 0.01),
        (Timing(ensemble=-1), EXECUTE, None),
        (Timing(3, ensemble=0.5), 3, 0.5),
        (Timing(ensemble=0.5), 1, 0.5),
    ):
        assert (timing.steps(spec.execute), timing.decay(spec.ensemble)) == (execute, decay)
        assert (Scripted(timing, spec)._ensemble is None) == (decay is None)
    assert Timing().decay(SPEC.ensemble) is None


def test_an_ensemble_of_agreeing_chunks_changes_nothing():
    class Agreeing(Scripted):
        """Every chunk has, at each instant, the same action: the instant."""

        def begin(self, seed: int) -> None:
            self.now, self.held = 0, True

        def _decide(self, observation, commanded, under_way):
            first = self.now + self._delay if self.held else self.now - min(self._lead, self.now)
            self.held = False
            return np.column_stack([np.zeros(CHUNK), first + np.arange(CHUNK)]).astype(np.float32)

    for delay, lead, execute in itertools.product((0.0, 0.1), (0.0, 0.1), (None, 3)):
        agent = Agreeing(Timing(execute, lead, min(delay, 0.05 * (execute or 1)), ensemble=0.5))
        agent.reset(look(), 0)
        steps = []
        for _ in range(30):
            steps.append(act(agent)[1])
            agent.now += 1
        assert steps == [*[0] * agent._delay, *range(agent._delay, 30)]


# ---- latency ---------------------------------------------------------------------------------------


def test_latency_is_of_what_is_known():
    seconds = [0.001 * k for k in range(1, 101)]
    assert percentiles(seconds) == {"p50_ms": 50.5, "p99_ms": 99.01, "n": 100}
    assert percentiles([]) == {"p50_ms": None, "p99_ms": None, "n": 0}
    assert latency(seconds) == {"decision": percentiles(seconds)}
    found = latency([0.02, 0.03], [0.01, float("nan")])
    assert found["decision"] == {"p50_ms": 10.0, "p99_ms": 10.0, "n": 1}
    assert found["round_trip"]["p50_ms"] == 25.0
