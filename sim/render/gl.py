"""Choose MuJoCo's GL back-end before MuJoCo is imported, so that no user has to set a variable.

What a shell still has set from another project (MUJOCO_GL, PYOPENGL_PLATFORM, MUJOCO_EGL_DEVICE_ID) must not end a
program that draws nothing, `--help` among them: MuJoCo refuses such values when it is imported.
"""

import ctypes.util
import logging
import os
import sys

from sim.core.errors import UserError

INSTALL_EGL = "apt-get install -y libegl1 libegl-mesa0 libgl1-mesa-dri"
LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}  # which draw without a display
WINDOWED = ("glfw", "glx")
OFF = "disabled"  # MuJoCo is imported without a back-end
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
VARIABLES = ("MUJOCO_GL", "PYOPENGL_PLATFORM", "MUJOCO_EGL_DEVICE_ID")

_log = logging.getLogger(__name__)


def choose_gl() -> None:
    """Set MUJOCO_GL on Linux: to egl, with or without a display, or to what the user named, where that can draw."""
    if not sys.platform.startswith("linux"):
        return
    given = os.environ.get("MUJOCO_GL", "").strip().lower() or "egl"
    reason = _why_not(given)
    if reason and given != "egl":
        _log.warning("MUJOCO_GL=%s: %s; images are drawn by egl", os.environ["MUJOCO_GL"], reason)
        given, reason = "egl", _why_not("egl")
    os.environ["MUJOCO_GL"] = OFF if reason else given
    if given in LIBRARIES:
        os.environ["PYOPENGL_PLATFORM"] = given


def _why_not(back_end: str) -> str:
    """Why this back-end cannot draw here, "" where it can or where it is wanted off."""
    if back_end in LIBRARIES:
        return "" if ctypes.util.find_library(LIBRARIES[back_end]) else f"no library {LIBRARIES[back_end]}"
    if back_end in WINDOWED:
        return "" if set(DISPLAYS) & set(os.environ) else "needs a display, and there is none"
    return "" if back_end == OFF else f"expected one of {', '.join([*LIBRARIES, *WINDOWED])}"


def check_gl() -> None:
    """UserError when there is nothing to draw with, or when MuJoCo came first and chose another back-end."""
    if os.environ.get("MUJOCO_GL") == OFF:
        if ctypes.util.find_library("EGL"):
            raise UserError(f"MUJOCO_GL={OFF}: nothing can be drawn; unset it")
        raise UserError(f"no EGL library to draw images without a display; install it with: {INSTALL_EGL}")
    mujoco = sys.modules.get("mujoco")
    chosen = mujoco.GLContext.__module__ if mujoco and hasattr(mujoco, "GLContext") else ""
    if "glfw" in chosen and not set(DISPLAYS) & set(os.environ):
        raise UserError(
            f"mujoco was imported before sim and draws by {chosen}, which needs a display: "
            "import sim first, or set MUJOCO_GL=egl"
        )


def drawing_error(error: Exception) -> UserError:
    """Return the one line for what a GL back-end raised, with the variables that may be the cause."""
    reason = (str(error) or type(error).__name__).splitlines()[0]
    given = " ".join(f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ)
    return UserError(f"cannot draw with {given} ({reason}); unset these, or install what is missing: {INSTALL_EGL}")


def main() -> None:
    """Open what drawing needs; one line and exit code 2 when a library is missing. Part of the set-up."""
    try:
        check_gl()
        try:
            from mujoco import GLContext  # after choose_gl: the back-end is fixed on import

            GLContext(16, 16).free()
        except (ImportError, AttributeError, RuntimeError, OSError, ValueError) as error:
            raise drawing_error(error) from error
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
