"""Drawing in a shell that has variables of another project, or on a machine without libraries: one line names them."""

import importlib.util
import os
import subprocess
import sys

import pytest

from sim.render.gl import VARIABLES

DRAW = """
from sim.core.errors import UserError
from sim.envs.simulation import Simulation
world = Simulation()
world.reset(0)
try:
    print("drawn", world.render(world.robot.camera_names[0]).std() > 1)
except UserError as error:
    print("refused:", error)
"""
WITHOUT_EGL = """
import ctypes.util
find = ctypes.util.find_library
ctypes.util.find_library = lambda name: None if name == "EGL" else find(name)
"""


def run(*command: str, **variables: str) -> subprocess.CompletedProcess:
    hidden = {"DISPLAY", "WAYLAND_DISPLAY", *VARIABLES}
    env = {name: value for name, value in os.environ.items() if name not in hidden} | variables
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, env=env, timeout=120)


@pytest.mark.parametrize(
    ("variables", "warned"),
    [
        ({"MUJOCO_GL": ""}, ""),
        ({"MUJOCO_GL": "EGL "}, ""),
        ({"PYOPENGL_PLATFORM": "glx"}, ""),
        ({"MUJOCO_GL": "wrong"}, "MUJOCO_GL=wrong: expected one of egl, osmesa, glfw, glx; images are drawn by egl\n"),
        ({"MUJOCO_GL": "glx"}, "MUJOCO_GL=glx: needs a display, and there is none; images are drawn by egl\n"),
    ],
)
def test_what_the_shell_has_set_stops_nothing(variables, warned):
    done = run("-c", DRAW, **variables)
    assert (done.stdout, done.stderr, done.returncode) == ("drawn True\n", warned, 0)


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"MUJOCO_GL": "disabled"}, "MUJOCO_GL=disabled: nothing can be drawn; unset it"),
        ({"MUJOCO_EGL_DEVICE_ID": "x"}, "MUJOCO_EGL_DEVICE_ID=x"),
        ({"MUJOCO_EGL_DEVICE_ID": "999"}, "MUJOCO_EGL_DEVICE_ID=999"),
    ],
)
def test_what_cannot_draw_is_one_line(variables, line):
    done = run("-c", DRAW, **variables)
    assert done.stdout.startswith("refused: ") and line in done.stdout and done.stdout.count("\n") == 1
    assert done.returncode == 0, done.stderr


def test_osmesa_draws_or_is_named():
    done = run("-c", DRAW, MUJOCO_GL="osmesa")
    assert done.stdout == "drawn True\n"
    assert not done.stderr or done.stderr.startswith("MUJOCO_GL=osmesa: no library OSMesa")


def test_without_a_library_help_works_and_drawing_is_refused():
    shows = (
        f"{WITHOUT_EGL}import runpy, sys\nsys.argv[1:] = ['--help']\nrunpy.run_module('sim.view', run_name='__main__')"
    )
    done = run("-c", shows)
    assert done.returncode == 0 and "contact sheet" in done.stdout and not done.stderr
    refused = run("-c", WITHOUT_EGL + DRAW)
    assert refused.stdout.startswith("refused: no EGL library") and "apt-get install" in refused.stdout


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="torch's CUDA builds bring triton, not this one")
@pytest.mark.parametrize("draw", [DRAW, "from sim.envs.dm_env import load\nload('reach').reset()"])
def test_who_has_drawn_can_train(draw):
    """triton, which the first optimizer imports, does not survive a Mesa that was there first."""
    done = run("-c", f"{draw}\nimport torch\ntorch.optim.SGD(torch.nn.Linear(1, 1).parameters())\nprint('trained')")
    assert done.returncode == 0 and done.stdout.endswith("trained\n"), done.stderr
