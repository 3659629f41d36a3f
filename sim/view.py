"""`python -m sim.view [seed=0] [task=pick_place] [act=expert|nothing] [out=runs/view]`

The scene of a seed: in MuJoCo's interactive viewer where there is a display, else as a video and a
contact sheet in `out`. `act=expert` lets the expert play it.
"""

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as imageio
import numpy as np

from sim.core.contract import Observation
from sim.core.options import FOLDER, SEED, block, one_of, option
from sim.core.program import run_program
from sim.envs.sim_env import SimEnv
from sim.envs.simulation import SimulationConfig
from sim.envs.video import PRETTY, VideoRecorder
from sim.episode.loop import Step, run_episode
from sim.expert.scripted import Expert
from sim.guard.clearance import guarded
from sim.scene.build import RenderConfig
from sim.teleop.pacer import RealTimePacer

_log = logging.getLogger(__name__)

ACTS = ("expert", "nothing")
COLUMNS, ROWS = 3, 4  # of the contact sheet


@dataclass(frozen=True, kw_only=True)
class ViewConfig(SimulationConfig):
    """Options of the program."""

    seed: int = option(0, "of the episode", SEED)
    act: str = option("expert", "who acts; nothing: the arm holds still", one_of(*ACTS))
    out: str = option("runs/view", "where video and contact sheet go without a display", FOLDER)
    render: RenderConfig = block(lambda: PRETTY, "how images are drawn")


class Idle:
    """Holds the arm where it is. Satisfies `sim.episode.loop.Agent`."""

    def reset(self, observation: Observation, seed: int) -> None:
        self._pose = observation.state

    def act(self, observation: Observation) -> np.ndarray:
        return self._pose

    def flags(self) -> dict[str, bool]:
        return {}


class Window:
    """Shows every step in MuJoCo's viewer, in real time; satisfies `sim.episode.loop.Recorder`."""

    def __init__(self, env: SimEnv):
        from mujoco import viewer  # opens a window system, which a headless machine lacks

        self._viewer = viewer.launch_passive(env.world.scene.model, env.world.data)
        self._pacer = RealTimePacer(env.robot.control_period_s)

    def add(self, step: Step) -> None:
        self._viewer.sync()
        self._pacer.add(step)

    def wait(self) -> None:
        while self._viewer.is_running():
            time.sleep(0.1)


def no_window() -> str:
    """Return why no window can be opened here, "" where one can."""
    display = os.environ.get("DISPLAY")
    if not display:
        return "no display"
    import glfw  # a window system's, which a headless machine may lack

    reporting, glfw.ERROR_REPORTING = glfw.ERROR_REPORTING, "ignore"
    opened = glfw.init()
    if opened:
        glfw.terminate()  # the viewer opens it again, in its own thread
    glfw.ERROR_REPORTING = reporting
    return "" if opened else f"DISPLAY={display} cannot be opened"


def contact_sheet(frames: np.ndarray) -> np.ndarray:
    """Return uint8 (T, H, W, 3) as one image of moments evenly spread over the episode, in reading order."""
    some = frames[np.linspace(0, len(frames) - 1, COLUMNS * ROWS).round().astype(int)]
    rows = some.reshape(ROWS, COLUMNS, *some.shape[1:])
    return np.concatenate([np.concatenate(list(row), 1) for row in rows], 0)


def main(config: ViewConfig) -> None:
    """Show or draw the episode."""
    env = SimEnv(config.world)
    agent = Expert(env) if config.act == "expert" else Idle()
    reason = no_window()
    shown = VideoRecorder(env.world, config.render) if reason else Window(env)
    result = run_episode(env, agent, guarded(env.robot), config.seed, shown)
    outcome = "success" if result.success else "failure"
    _log.info('seed %d, "%s": %s after %.1f s', config.seed, env.world.instruction, outcome, result.time_s)
    _log.info("success is %s", env.world.task.success_text)
    if isinstance(shown, Window):
        shown.wait()
        return
    out = Path(config.out)
    sheet = contact_sheet(np.array(shown.frames))
    shown.save(out / f"seed-{config.seed}.mp4")
    imageio.imwrite(out / f"seed-{config.seed}.png", sheet)
    shown.close()
    _log.info("%s: video and contact sheet seed-%d.mp4, .png in %s", reason, config.seed, out)


if __name__ == "__main__":
    run_program("view", ViewConfig, main, __doc__)
