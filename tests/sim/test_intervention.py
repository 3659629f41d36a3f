"""Taking over and handing back in simulation: no jump, straight motion of the tool, flags as RECAP reads them."""

import dataclasses
import json
import urllib.error
import urllib.request

import numpy as np
import pytest
from fr3 import CONTROL_PERIOD_S, FR3
from scripted import ScriptedOperator

from sim.core.contract import Feedback, Observation
from sim.core.errors import UserError
from sim.core.estimate import Estimate
from sim.envs.sim_env import SimEnv
from sim.episode.loop import RecorderGroup, Step, run_episode
from sim.guard.clearance import guarded
from sim.guard.motion_guard import MotionGuard
from sim.planning.kinematics import ToolKinematics
from sim.teleop.corrector import DifferentialIk, TwistCorrector
from sim.teleop.device import TOP_SPEED_M_S, Command
from sim.teleop.intervention import AttendedEnv, OperatorInterventionAgent
from sim.teleop.page import LivePage

UP, FORWARD, STILL = [0, 0, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0] * 6


class Sweeping:
    """A policy that turns joint 1 at 0.5 rad/s from where it began, and notes when it began."""

    def __init__(self):
        self.begun_at = []

    def reset(self, observation, seed):
        self.begun_at.append(observation.state.copy())
        self._steps = 0

    def act(self, observation):
        self._steps += 1
        action = self.begun_at[-1].copy()
        action[0] += 0.5 * CONTROL_PERIOD_S * self._steps
        return action

    @property
    def upcoming(self):
        return np.array([self.act(None)])

    def flags(self):
        return {"perturbed": True}


class Notes:
    """A recorder of states, actions and flags."""

    def __init__(self):
        self.asked, self.sent, self.flags, self.states = [], [], [], []

    def add(self, step):
        self.asked.append(step.requested)
        self.sent.append(step.executed)
        self.flags.append(step.flags)
        self.states.append(step.observation.state)


@pytest.fixture(scope="module")
def env():
    env = SimEnv()
    yield env
    env.close()


def play(env, operator, seed=500001):
    policy, guard, notes = Sweeping(), guarded(FR3), Notes()
    agent = OperatorInterventionAgent(policy, TwistCorrector(FR3, operator, guard), operator)
    result = run_episode(AttendedEnv(env, operator), agent, guard, seed, notes)
    return policy, agent, notes, result


def test_taken_over_in_motion_and_handed_back_without_a_jump(env):
    script = {10: [Command.INTERVENE], 30: [Command.RESUME_POLICY], 45: [Command.FAILURE]}
    operator = ScriptedOperator(script, {10: STILL, 15: UP, 25: STILL})
    policy, agent, notes, result = play(env, operator)
    assert [flags["intervention"] for flags in notes.flags] == [10 <= k < 30 for k in range(len(notes.flags))]
    assert not any(flags.get("perturbed") for flags in notes.flags[10:30])
    assert (agent.reason, result.success, result.guard.latched) == ("operator", False, "")
    sent = np.array(notes.sent)[:, :6]
    # What the person asks for is sent as it is: the guard had nothing to change.
    np.testing.assert_array_equal(np.array(notes.asked)[10:30, :6], sent[10:30])
    assert np.abs(np.diff(sent, n=2, axis=0)).max() <= FR3.policy_accel_rad_s2 * CONTROL_PERIOD_S**2
    # The sweep is braked within two periods, held, then the tool rises.
    assert sent[13:15, 0] == pytest.approx(sent[12, 0], abs=1e-6)
    tool = ToolKinematics(FR3)
    before, after = tool.forward(sent[14]), tool.forward(sent[27])
    rise = after[0] - before[0]
    assert rise[2] == pytest.approx(TOP_SPEED_M_S * 10 * CONTROL_PERIOD_S, abs=1e-3)
    assert np.abs(rise[:2]).max() < 1e-3
    np.testing.assert_allclose(after[1], before[1], atol=2e-3)  # it did not turn
    # Handed back, the policy begins anew from what is seen then.
    assert len(policy.begun_at) == 2
    np.testing.assert_array_equal(policy.begun_at[1], notes.states[30])
    np.testing.assert_allclose(notes.asked[30][1:6], notes.states[30][1:6])


def test_a_policy_takes_note_of_what_a_person_executed(env):
    """It goes on with the gripper as they commanded it."""
    policy, guard, notes, noted = Sweeping(), guarded(FR3), Notes(), []
    policy.note_executed = noted.append
    script = {3: [Command.INTERVENE], 5: [Command.GRIPPER], 8: [Command.RESUME_POLICY], 10: [Command.FAILURE]}
    operator = ScriptedOperator(script)
    agent = OperatorInterventionAgent(policy, TwistCorrector(FR3, operator, guard), operator)
    run_episode(AttendedEnv(env, operator), agent, guard, 500001, notes)
    np.testing.assert_array_equal(noted, notes.sent)
    assert noted[7][-1] == 0.0


def test_handed_back_a_policy_acts_on_a_new_look_which_is_what_is_checked_and_recorded(env):
    operator = ScriptedOperator({3: [Command.INTERVENE], 6: [Command.RESUME_POLICY], 9: [Command.FAILURE]})
    policy, guard, notes = Sweeping(), guarded(FR3), Notes()
    restarted, checked, check = [], [], guard.check
    policy.restart = lambda observation, seed: restarted.append(observation) or policy.reset(observation, seed)
    guard.check = lambda seen, *action: checked.append(seen.state) or check(seen, *action)

    class Late(TwistCorrector):
        def end(self, observation):
            super().end(observation)
            return dataclasses.replace(observation, state=observation.state + np.float32(0.001))

    agent = OperatorInterventionAgent(policy, Late(FR3, operator, guard), operator)
    run_episode(AttendedEnv(env, operator), agent, guard, 500001, notes)
    assert [np.array_equal(one, restarted[0].state) for one in notes.states] == [
        k == 6 for k in range(len(notes.states))
    ]
    assert np.array_equal(checked[6], restarted[0].state) and len(restarted) == 1


def test_a_second_press_changes_nothing_and_the_person_s_verdict_ends_the_episode(env):
    script = {2: [Command.RESUME_POLICY], 4: [Command.INTERVENE, Command.INTERVENE], 8: [Command.GRIPPER]}
    script |= {12: [Command.TOGGLE], 14: [Command.SUCCESS]}
    operator = ScriptedOperator(script)
    policy, _, notes, result = play(env, operator)
    assert [flags["intervention"] for flags in notes.flags] == [4 <= k < 12 for k in range(15)]
    assert result.success
    opening = np.array(notes.sent)[:, -1]
    assert opening[7] > 0.9 and opening[8] == 0.0 and opening[11] == 0.0
    assert len(policy.begun_at) == 2


def test_who_is_never_taken_over_is_not_corrected(env):
    _, agent, notes, _ = play(env, ScriptedOperator({5: [Command.FAILURE]}))
    assert agent.reason == ""
    assert not any(flags["intervention"] for flags in notes.flags)


def test_pushed_into_the_table_nothing_winds_up(env):
    down = [0, 0, -1, 0, 0, 0]
    operator = ScriptedOperator({0: [Command.INTERVENE], 110: [Command.FAILURE]}, {0: down, 80: UP})
    _, _, notes, result = play(env, operator)
    assert not result.guard.latched
    assert any(reason.startswith("stopped") for reason in result.guard.counts)
    sent = np.array(notes.sent)[:, :6]
    tool = ToolKinematics(FR3)
    heights = [tool.forward(joints)[0][2] for joints in sent[[78, 79, 84]]]
    assert heights[1] == pytest.approx(heights[0], abs=1e-3)
    assert heights[2] > heights[1] + 0.005  # up again at once


def test_near_a_singular_pose_the_joints_stay_slow():
    stretched = np.array([0.0, 0.0, 0.0, -np.pi / 2, -np.pi / 2, 0.0])  # the elbow straight
    push = np.array([-TOP_SPEED_M_S * CONTROL_PERIOD_S, 0, 0, 0, 0, 0])
    step = DifferentialIk(FR3).joint_step(stretched, push)
    assert np.isfinite(step).all()
    assert np.abs(step).max() < 0.15
    bent = np.array(FR3.home_rad)
    tool = ToolKinematics(FR3)
    moved = tool.forward(bent + DifferentialIk(FR3).joint_step(bent, push))[0] - tool.forward(bent)[0]
    np.testing.assert_allclose(moved, push[:3], atol=2e-5)


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def test_the_live_page_shows_the_last_step_and_nothing_from_outside():
    guard = MotionGuard(FR3)
    guard.report.count("speed")
    image = np.full((16, 24, 3), 200, np.uint8)
    observation = Observation({"front": image}, np.zeros(7, np.float32), "<b>lift</b>", 0.0, 0.02)
    with LivePage() as page:
        page.guard = guard
        page.estimates = lambda: [Estimate("object", np.array([-0.3, 0.1, 0.02]), 0.0123)]
        page.subtasks = lambda: ["go to what is named", "<i>let go</i>"]
        assert page.url.startswith("http://127.0.0.1:")
        assert b"fetch" in _get(page.url)
        notes = Notes()
        zeros = np.zeros(7, np.float32)
        feedback = Feedback(-1, False, False, False)
        RecorderGroup(notes, page).add(Step(observation, zeros, zeros, feedback, {"intervention": True}, {}))
        assert len(notes.sent) == 1
        now = json.loads(_get(page.url + "now"))
        assert now["found"] == {"object": {"pos_m": [-0.3, 0.1, 0.02], "within_mm_95": 12}}
        assert (now["instruction"], now["actor"], now["guard"]) == ("<b>lift</b>", "the operator", {"speed": 1})
        assert now["subtask"] == "<i>let go</i>"
        wild = np.array([np.nan, np.inf, -np.inf, 1e38, 0.5, 0, 0], np.float32)  # what latches the guard
        page.add(Step(observation, wild, zeros, feedback, {}, {}))
        now = json.loads(_get(page.url + "now"), parse_constant=pytest.fail)
        assert now["requested_minus_executed_deg"][:3] == [0.0] * 3
        with urllib.request.urlopen(page.url + "image/front", timeout=10) as stream:
            head = stream.read(200)
        assert b"image/jpeg" in head and b"\xff\xd8\xff" in head
        with pytest.raises(urllib.error.HTTPError, match="404"):
            _get(page.url + "image/back")
        with pytest.raises(UserError, match="page_port=.* cannot be used"):
            LivePage(int(page.url.rsplit(":", 1)[1].strip("/")))
