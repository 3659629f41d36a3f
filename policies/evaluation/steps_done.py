"""How far an episode of several steps came: the steps that the simulator saw done, and what a planner made of them."""

from collections.abc import Sequence

from policies.runtime.planned_agent import PlannedAgent
from sim.envs.simulation import Simulation
from sim.episode.loop import Agent, Step
from sim.episode.results import wilson


class StepsDone:
    """Watches an episode of a simulated world. Satisfies `sim.episode.loop.Recorder`."""

    def __init__(self, world: Simulation):
        self._world = world
        self._steps = self._done = 0

    def add(self, step: Step) -> None:
        state = self._world.scene_state
        self._steps = len(state.layout.subtasks or ())
        if self._steps:
            self._done = max(self._done, self._world.task.subtasks_done(state))

    def row(self, agent: Agent) -> dict:
        """Return what results.json holds of an episode: {} of one step that no planner told."""
        row = {"steps_to_do": self._steps, "steps_done": self._done} if self._steps else {}
        if isinstance(agent, PlannedAgent):
            row |= {"judged_done": len(agent.done), "stopped": agent.stopped}
        return row


def summary(episodes: Sequence[dict]) -> dict:
    """Return the share of episodes in which 1, 2, .. steps were done, of those that have so many; {} of none."""
    long = [one for one in episodes if one.get("steps_to_do")]
    by_step = []
    for number in range(1, max((one["steps_to_do"] for one in long), default=0) + 1):
        tried = [one["steps_done"] >= number for one in long if one["steps_to_do"] >= number]
        low, high = wilson(sum(tried), len(tried))
        by_step.append({"rate": sum(tried) / len(tried), "ci_low": low, "ci_high": high, "n": len(tried)})
    return {"success_by_step": by_step} if by_step else {}


def told(content: dict) -> str:
    """Return for people how often each step was done, "" where there is one alone."""
    rates = [f"{one['rate']:.1%}" for one in content.get("success_by_step", [])]
    return f"steps done {', '.join(rates)}, " if len(rates) > 1 else ""
