"""Choose MuJoCo's GL back-end before MuJoCo is imported, so that no user has to set a variable."""

import ctypes.util
import os
import sys

from sim.core.errors import UserError

INSTALL_EGL = "apt-get install -y libegl1 libegl-mesa0 libgl1-mesa-dri"


def choose_gl() -> None:
    """Set MUJOCO_GL to egl on Linux, with or without a display; a value the user set is kept."""
    if sys.platform.startswith("linux"):
        os.environ.setdefault("MUJOCO_GL", "egl")
        os.environ.setdefault("PYOPENGL_PLATFORM", os.environ["MUJOCO_GL"])


def check_gl() -> None:
    """UserError when the EGL library is missing, or when MuJoCo came first and chose another back-end."""
    if os.environ.get("MUJOCO_GL") == "egl" and not ctypes.util.find_library("EGL"):
        raise UserError(f"no EGL library to draw pictures without a display; install it with: {INSTALL_EGL}")
    mujoco = sys.modules.get("mujoco")
    chosen = mujoco.GLContext.__module__ if mujoco and hasattr(mujoco, "GLContext") else ""
    if "glfw" in chosen and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        raise UserError(
            f"mujoco was imported before sim and draws by {chosen}, which needs a display: "
            "import sim first, or set MUJOCO_GL=egl"
        )


def main() -> None:
    """Open what drawing needs; one line and exit code 2 when a library is missing. Part of the set-up."""
    try:
        check_gl()
        try:
            from mujoco import GLContext  # after choose_gl: the back-end is fixed on import

            GLContext(16, 16).free()
        except (ImportError, AttributeError, RuntimeError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"cannot draw ({reason}); install what is missing with: {INSTALL_EGL}") from error
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
