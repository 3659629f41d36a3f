"""A plan is played step by step, each until it is judged done; the simulator has the last word on what was done."""

import dataclasses
import logging
from dataclasses import dataclass, field
from types import SimpleNamespace

import mujoco
import numpy as np
import pytest
from fr3 import FR3
from playing import SMALL, calm

from policies.evaluation.steps_done import StepsDone, summary, told
from policies.models.watch import AlarmConfig
from policies.planner.grammar import GrammarPlanner
from policies.runtime.planned_agent import PlannedAgent
from sim.core.contract import Observation
from sim.core.errors import UserError
from sim.core.estimate import Estimate
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import Simulation, SimulationConfig
from sim.episode.loop import RecorderGroup, run_episode
from sim.expert.imperfections import CLEAN
from sim.expert.scripted import Expert
from sim.guard.clearance import guarded
from sim.guard.motion_guard import MotionGuard
from sim.scene.fixtures import PLATE_TOP_M
from sim.tasks.base import TASKS
from sim.tasks.seen import Seen

TASK, LOOK_STEPS, CM = "place_in_turn", 8, 0.01


@dataclass
class Scripted:
    """What plays the steps in these tests: the scripted expert, which sees the truth at every eighth step."""

    env: SimEnv
    idle: bool = False  # it holds still instead
    watch: object = None
    value: float | None = None
    told: list[str] = field(default_factory=list)
    decision_s: list[float] = field(default_factory=list)
    estimates: list[Estimate] = field(default_factory=list)
    upcoming: np.ndarray = field(default_factory=lambda: np.empty((0, 7), np.float32))

    def __post_init__(self):
        self.policy = SimpleNamespace(needs=SimpleNamespace(ground_truth=False), plays_steps=self.watch is None)
        self.spec = SimpleNamespace(robot=FR3.name, control_hz=20)
        self.decider = SimpleNamespace(watch=self.watch)
        self._expert = Expert(self.env, CLEAN)

    def reset(self, observation, seed):
        self.begun = []
        self.restart(observation, seed)

    def restart(self, observation, seed):
        self.begun.append(observation.instruction)
        self.told.append(observation.instruction)
        self._expert.reset(observation, seed)
        self._played, self.upcoming = 0, np.empty((0, 7), np.float32)

    def act(self, observation):
        assert observation.instruction == self.told[-1]
        if self._played % LOOK_STEPS == 0:
            truth = self.env.ground_truth(observation.instruction)
            self.estimates = [Estimate(name, truth[f"grounding.{name}_pos_w"], 0.01) for name in ("object", "target")]
            self.decision_s.append(0.01)
        self._played += 1
        action = observation.state if self.idle else self._expert.act(observation)
        self.upcoming = np.tile(action, (3, 1))
        return action

    def note_executed(self, action):
        pass

    def flags(self):
        return {}


class Log:
    """The step told, the steps that the simulator saw done and the arm, at every period."""

    def __init__(self, env: SimEnv, agent: PlannedAgent):
        self._env, self._agent, self.rows = env, agent, []

    def add(self, step) -> None:
        done = self._env.world.scene_state.memory.done
        self.rows.append((self._agent.told, done, step.observation.state))


def play(seed: int, **scripted) -> tuple:
    env = SimEnv(SimulationConfig(TASK, calm().randomize, SMALL))
    inner = Scripted(env, **scripted)
    agent = PlannedAgent(inner, GrammarPlanner())
    log, steps = Log(env, agent), StepsDone(env.world)
    result = run_episode(env, agent, guarded(env.robot), seed, RecorderGroup(log, steps))
    return result, env, inner, agent, log.rows, steps.row(agent)


@pytest.fixture(scope="module")
def played():
    return play(3)


def test_each_step_is_told_once_the_one_before_is_done(played):
    result, env, inner, agent, rows, row = played
    steps = env.world.params.layout.subtasks
    assert result.success and result.stopped == "" and tuple(inner.told) == steps
    assert tuple(inner.begun) == steps  # the second began within the episode, whose record is kept
    assert all(done >= 1 for told, done, _ in rows if told == steps[1])
    assert row == {"steps_to_do": 2, "steps_done": 2, "judged_done": 1, "stopped": ""}
    assert agent.subtasks == list(steps)


def test_the_next_step_begins_where_the_arm_began(played):
    _, env, _, _, rows, _ = played
    second = next(i for i, (told, *_) in enumerate(rows) if told == env.world.params.layout.subtasks[1])
    np.testing.assert_allclose(rows[second][2], rows[0][2], atol=0.03)
    highest = max(np.abs(state - rows[0][2]).max() for _, _, state in rows[:second])
    assert highest > 0.3  # it was elsewhere meanwhile


def test_the_way_back_goes_on_from_the_action_sent_last():
    """An arm in motion when its step is done is asked for nothing that the guard has to change."""
    env = SimEnv(SimulationConfig(TASK, calm().randomize, SMALL))
    inner = Scripted(env, watch=SimpleNamespace(alarm=AlarmConfig(-9.0, 300, True, 300)), value=-9.0)
    agent, guard, noted = PlannedAgent(inner, GrammarPlanner()), MotionGuard(FR3), []
    inner.note_executed = noted.append
    env.reset(0)
    sent = env.observe().state
    observation, moving = env.observe(), np.array([0.04, 0, 0, 0, 0, 0, 0], np.float32)
    agent.reset(observation, 0)
    guard.reset(sent)
    inner.act = lambda seen: inner.decision_s.append(0.01) or guard.sent + moving
    guard.check(Observation({}, sent, "", 0.0), sent + moving / 2)  # a first step that is allowed from rest
    for period in range(12):
        inner.value = -9.0 if period < 4 else 0.0
        asked = agent.act(dataclasses.replace(observation, state=guard.sent))
        agent.note_executed(guard.check(Observation({}, guard.sent, "", 0.0), asked))
    assert len(agent.done) == 1 and guard.report.counts == {}
    assert len(noted) == 12  # those of the way back too: the next step begins with the gripper as it left it
    agent.restart(observation, 1)
    assert agent.done == [] and len(inner.begun) == 2  # as after a person acted: in the same episode


def test_nothing_is_told_to_come_while_the_arm_returns_and_after_the_last_step():
    env = SimEnv(SimulationConfig(TASK, calm().randomize, SMALL))
    inner = Scripted(env, idle=True, watch=SimpleNamespace(alarm=AlarmConfig(-9.0, 300, True, 300)))
    agent, coming = PlannedAgent(inner, GrammarPlanner()), []
    env.reset(0)
    observation = env.observe()
    agent.reset(observation, 0)
    while agent.subtasks != agent.done and len(coming) < 300:
        inner.value = -9.0 if len(coming) < LOOK_STEPS else 0.0
        agent.note_executed(agent.act(observation))
        coming.append(len(agent.upcoming))
    assert len(agent.done) == 2 and len(inner.upcoming) == 3
    assert coming == [3] * LOOK_STEPS + [0] * (len(coming) - LOOK_STEPS)


def test_a_step_that_is_not_done_in_time_ends_the_run_and_is_named(caplog):
    with caplog.at_level(logging.WARNING):
        result, env, inner, _, _, row = play(3, idle=True)
    first = env.world.params.layout.subtasks[0]
    assert not result.success and result.steps == 15 * 20 < env.time_limit_steps
    assert result.stopped == f"step 1 is not done after 15 s: {first}" and result.stopped in caplog.text
    assert inner.told == [first]
    assert (row["steps_done"], row["judged_done"], row["stopped"]) == (0, 0, result.stopped)


@pytest.mark.parametrize("units", [1, 2.5])
def test_a_watch_judges_by_its_value_instead(units):
    """In time limits: a value may be in a longer unit."""
    alarm = AlarmConfig(-9.0, 300, grasps=True, steps_per_unit=units * 300)
    env = SimEnv(SimulationConfig(TASK, calm().randomize, SMALL))
    inner = Scripted(env, idle=True, watch=SimpleNamespace(alarm=alarm), value=-0.06 / units)
    agent = PlannedAgent(inner, GrammarPlanner())
    env.reset(0)
    observation = env.observe()
    agent.reset(observation, 0)
    for _ in range(3 * LOOK_STEPS):
        agent.act(observation)
    assert agent.done == []
    inner.value = -0.04 / units
    for _ in range(LOOK_STEPS):
        agent.act(observation)
    assert agent.done == [env.world.params.layout.subtasks[0]]


def test_a_decision_of_the_episode_before_ends_no_step():
    """A reset waits for it, and it counts as a look."""
    env = SimEnv(SimulationConfig(TASK, calm().randomize, SMALL))
    inner = Scripted(env, idle=True, watch=SimpleNamespace(alarm=AlarmConfig(-9.0, 300, True, 300)), value=0.0)
    agent = PlannedAgent(inner, GrammarPlanner())
    env.reset(0)
    restart = inner.restart

    def waits(observation, seed):
        inner.decision_s.append(0.5)
        restart(observation, seed)

    inner.restart, inner.act = waits, lambda seen: seen.state
    agent.reset(env.observe(), 0)
    agent.act(env.observe())
    assert agent.done == []


@pytest.mark.parametrize(("value", "weight"), [(-0.25, 0.75), (-1.0, 0.1), (-2.0, 0.1), (0.0, 1.0)])
def test_what_takes_longer_than_its_time_is_unlikely_and_no_more(value, weight):
    """In convention B a value of -1 is two time limits."""
    env = SimEnv(SimulationConfig(TASK, calm().randomize, SMALL))
    inner = Scripted(env, watch=SimpleNamespace(alarm=AlarmConfig(-9.0, 300, grasps=True, steps_per_unit=300)))
    inner.decider.decide = lambda *_: SimpleNamespace(value=value, estimates=[])
    inner.cameras, inner.depth_cameras = (), ()
    env.reset(0)
    assert PlannedAgent(inner, GrammarPlanner())._affordance(env.observe(), "") == pytest.approx(weight)


@pytest.mark.parametrize("units", [1, 2])
def test_what_a_policy_can_do_now_is_weighed_in_time_limits(units):
    env = SimEnv(SimulationConfig(TASK, calm().randomize, SMALL))
    alarm = AlarmConfig(-9.0, 300, grasps=True, steps_per_unit=units * 300)
    inner = Scripted(env, watch=SimpleNamespace(alarm=alarm))
    inner.decider.decide = lambda *_: SimpleNamespace(value=-0.25 / units, estimates=[])
    inner.cameras, inner.depth_cameras = (), ()
    env.reset(0)
    assert PlannedAgent(inner, GrammarPlanner())._affordance(env.observe(), "") == 0.75


def test_a_policy_that_sees_nothing_cannot_play_a_plan():
    inner = Scripted(SimEnv(SimulationConfig(TASK, calm().randomize, SMALL)))
    inner.policy.plays_steps = False
    with pytest.raises(UserError, match="neither finds points nor has a watch"):
        PlannedAgent(inner, GrammarPlanner())


def test_what_cannot_be_seen_to_be_done_may_only_come_last():
    sort, press = "sort the cubes onto the plates of their colour", "press the red button"
    GrammarPlanner().check(f"{press}, then {sort}")
    with pytest.raises(UserError, match="is not the last step"):
        GrammarPlanner().check(f"{sort}, then {press}")


# ---- when a step seems done ----------------------------------------------------------------------

OPEN, SHUT = 1.0, 0.0
LOOKS = [  # task, object, target, tool (cm), opening, done?
    ("pick_place", (0, 0, 3), (3, 0, 1), (0, 0, 9), OPEN, True),
    ("pick_place", (0, 0, 3), (3, 0, 1), (0, 0, 3), 0.5, False),
    ("pick_place", (0, 0, 3), (5, 0, 1), (0, 0, 9), OPEN, False),
    ("stack", (0, 0, 6), (1, 0, 4), (0, 0, 9), OPEN, True),
    ("stack", (0, 0, 6), (3, 0, 4), (0, 0, 9), OPEN, False),
    ("push", (0, 0, 2), (3, 0, 0), (5, 0, 2), SHUT, True),
    ("push", (0, 0, 2), (4, 0, 0), (5, 0, 2), SHUT, False),
    ("open_drawer", (18, 0, 3), (0, 0, 6), (18, 0, 9), OPEN, True),
    ("open_drawer", (18, 0, 3), (0, 0, 6), (18, 0, 3), 0.3, False),
    ("open_drawer", (12, 0, 3), (0, 0, 6), (12, 0, 9), OPEN, False),
    ("press_button", (0, 0, 3.6), (0, 0, 3.2), (0.5, 0, 4.4), SHUT, True),
    ("press_button", (0, 0, 4.0), (0, 0, 3.2), (0.5, 0, 5.0), SHUT, False),
    ("press_button", (0, 0, 3.6), (0, 0, 3.2), (3, 0, 4.4), SHUT, False),
    ("reach", (0, 0, 3), (2, 0, 0.8), (0, 0, 5), OPEN, True),
    ("reach", (0, 0, 9), (2, 0, 0.8), (0, 0, 9), OPEN, False),
]  # fmt: skip


@pytest.mark.parametrize(("task", "thing", "target", "tool", "opening", "done"), LOOKS)
def test_a_step_seems_done_where_a_person_would_say_so(task, thing, target, tool, opening, done):
    seen = Seen(*(CM * np.array(point, float) for point in (thing, target, tool)), opening)
    assert TASKS.get(task).seems_done(seen) is done


# ---- the task ------------------------------------------------------------------------------------


def put_on_plate(world: Simulation, i: int, plate: int) -> None:
    first = world.scene.object_qpos[i]
    on_w = world.scene_state.target_pos_w(plate) + [0, 0, PLATE_TOP_M + world.scene_state.half_height_m(i)]
    world.data.qpos[first : first + 3] = on_w
    mujoco.mj_forward(world.scene.model, world.data)
    world.remember()


@pytest.mark.parametrize(("order", "failure", "done"), [((0, 1), "", True), ((1, 0), "wrong order", False)])
def test_the_order_of_the_steps_counts(order, failure, done):
    world = Simulation(SimulationConfig(TASK, calm().randomize, SMALL))
    world.reset(0)
    for i in order:
        assert not world.success()
        put_on_plate(world, i, i)
    assert world.success() is done and world.task.failure(world.scene_state) == failure


def test_steps_count_where_they_were_done_once_in_their_order():
    world = Simulation(SimulationConfig(TASK, calm().randomize, SMALL))
    world.reset(0)
    put_on_plate(world, 0, 1)
    assert world.task.subtasks_done(world.scene_state) == 0
    put_on_plate(world, 0, 0)
    assert world.task.subtasks_done(world.scene_state) == 1
    put_on_plate(world, 0, 1)  # taken away again
    assert world.task.subtasks_done(world.scene_state) == 1 and not world.success()


def test_success_by_step_counts_episodes_that_have_the_step():
    rows = [{"steps_to_do": 2, "steps_done": n} for n in (2, 2, 1, 0)] + [{"steps_to_do": 1, "steps_done": 1}, {}]
    first, second = summary(rows)["success_by_step"]
    assert (first["rate"], first["n"], second["rate"], second["n"]) == (4 / 5, 5, 2 / 4, 4)
    assert first["ci_low"] == pytest.approx(0.3755, abs=1e-3)  # Wilson, 4 of 5
    assert told({"success_by_step": [first, second]}) == "steps done 80.0%, 50.0%, "
    assert summary([{}]) == {} and told({}) == ""
