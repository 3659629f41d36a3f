"""Runs episodes on the robot one by one: policy, operator, motion guard, recorder. Whatever happens, the arm is stopped
and the episode is kept."""

import logging
import time
from collections.abc import Callable

from real.control.drag_teach import DragCorrector
from real.core.shutdown import ShutdownRequest
from real.workcell.env import RobotEnv
from real.workcell.recording import RobotRecorder
from sim.core.console import event
from sim.core.errors import UserError
from sim.dataset.reader import DatasetWriter
from sim.episode.loop import Agent, Env, EpisodeResult, RecorderGroup, run_episode
from sim.guard.motion_guard import MotionGuard
from sim.teleop.corrector import TwistCorrector
from sim.teleop.device import Command
from sim.teleop.intervention import AttendedEnv, OperatorInterventionAgent
from sim.teleop.operator import Operator
from sim.teleop.page import LivePage

CLEAR_S = 5.0  # to clear the bench, where no confirmation is needed
LOOK_S = 0.02
POLICY, INTERVENTION = "policy", "intervention"  # the metadata "source", as RECAP's pool reads it

_log = logging.getLogger(__name__)


class EpisodeRunner:
    """One robot, one agent, one page, and an operator where there is one.

    confirm: called with seed and `latched` (see `run`) before every episode; returns when the arm may move.
    speed_percent: that the drives are switched on with, once, when the first episode may move the arm; None: they are.
    """

    def __init__(
        self, env: RobotEnv, agent: Agent, page: LivePage, shutdown: ShutdownRequest, speed_percent: int | None
    ):
        self.guard = MotionGuard(env.robot, env.clearance)
        self.confirm: Callable[[int, str], None] = lambda seed, latched: None
        self._robot, self._shutdown, self._speed_percent = env, shutdown, speed_percent
        self._env: Env = env
        self._agent: Agent = agent
        self._intervention: OperatorInterventionAgent | None = None
        self._page = page
        page.guard = self.guard
        page.estimates = lambda: getattr(agent, "estimates", [])
        page.subtasks = lambda: getattr(agent, "subtasks", [])

    def _switch_on(self) -> None:
        """Switch the arm on for the first episode. KeyboardInterrupt where the end was requested meanwhile."""
        if self._speed_percent is None:
            return
        self._shutdown.raise_if_requested()
        self._robot.driver.power_on(self._speed_percent)
        self._shutdown.raise_if_requested()
        self._robot.driver.activate_gripper()
        self._speed_percent = None

    def attend(self, operator: Operator, *, by_hand: bool) -> None:
        """Let a person judge success and intervene; by_hand: by guiding the arm itself."""
        env = self._robot
        hand = DragCorrector(env.guiding, operator, self.guard, env.look) if by_hand else None
        corrector = hand or TwistCorrector(env.robot, operator, self.guard)
        self._agent = self._intervention = OperatorInterventionAgent(self._agent, corrector, operator)
        self._env = AttendedEnv(env, operator)

    def run(self, seed: int, writer: DatasetWriter, latched: str = "") -> EpisodeResult:
        """Run one episode; it is committed when this returns and, as far as it went, when this raises: RobotFault or
        RobotUnreachable also for what stopped the arm after the last period.

        latched: why the motion guard stopped the arm before, where a person must confirm that; else "".
        """
        self._robot.rest()  # nothing is streamed while a person sets up the bench
        self.confirm(seed, latched)
        self._switch_on()
        recorder = RobotRecorder(self._robot)
        seen = RecorderGroup(recorder, self._page)
        with self._shutdown.deferred(self._robot.halt):
            try:
                result = run_episode(self._env, self._agent, self.guard, seed, seen)
            except BaseException as cause:
                self._robot.rest()  # the arm first
                if recorder.steps:
                    self._robot.fault = UserError(f"{type(cause).__name__}: {cause}")
                    self._commit(recorder, recorder.interrupted(seed, self.guard.report), writer)
                raise
            self._robot.rest()  # writing takes seconds
            self._commit(recorder, result, writer)
            self._robot.raise_stop()
        return result

    def _commit(self, recorder: RobotRecorder, result: EpisodeResult, writer: DatasetWriter) -> None:
        reason = self._intervention.reason if self._intervention else ""
        metadata = {**self._env.metadata(), "intervention/reason": reason}
        writer.commit(recorder.episode(result, INTERVENTION if reason else POLICY, metadata))


class ConfirmBeforeEpisode:
    """Asks before every episode for the operator's Enter, or announces it CLEAR_S ahead.

    instruction: the task to set up; None where there is none.
    """

    def __init__(self, operator: Operator, instruction: str | None, *, confirms: bool):
        self._operator, self._confirms = operator, confirms
        self._what = f"set up for {instruction!r}; " if instruction else ""

    def __call__(self, seed: int, latched: str = "") -> None:
        """Return when the arm may move; after a `latched` guard only Enter will do.

        KeyboardInterrupt when the operator presses stop instead; UserError when Enter is needed and nobody is there.
        """
        confirms = self._confirms or bool(latched)
        how = "Enter" if confirms else f"by itself in {CLEAR_S:g} s"
        guard = f"the motion guard stopped the arm ({latched}), look why; " if latched else ""
        _log.info(
            "episode %d: %s%shands clear, emergency stop in reach? [%s; x stops]", seed, guard, self._what, how,
            extra=event("confirm", seed=seed, latched=latched),
        )  # fmt: skip
        if confirms:
            self._operator.confirm()
            return
        ends_s = time.monotonic() + CLEAR_S
        while time.monotonic() < ends_s:
            if self._operator.take(Command.STOP):
                raise KeyboardInterrupt
            time.sleep(LOOK_S)
