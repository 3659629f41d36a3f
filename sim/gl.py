"""Choose MuJoCo's GL back-end before MuJoCo is imported, so that no user has to set a variable."""

import ctypes.util
import os
import sys

from sim.errors import UserError

INSTALL_EGL = "apt-get install -y libegl1 libegl-mesa0 libgl1-mesa-dri"


def choose_gl() -> None:
    """Set MUJOCO_GL to egl on Linux, with or without a display; a value the user set is kept."""
    if sys.platform.startswith("linux"):
        os.environ.setdefault("MUJOCO_GL", "egl")
        os.environ.setdefault("PYOPENGL_PLATFORM", os.environ["MUJOCO_GL"])


def check_gl() -> None:
    """Raise UserError with the line that installs it when the EGL library is missing."""
    if os.environ.get("MUJOCO_GL") == "egl" and not ctypes.util.find_library("EGL"):
        raise UserError(f"no EGL library to draw pictures without a display; install it with: {INSTALL_EGL}")
