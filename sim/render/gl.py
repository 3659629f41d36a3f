"""Choose MuJoCo's GL back-end before MuJoCo is imported, so that no user has to set a variable.

What a shell still has set from another project (MUJOCO_GL, PYOPENGL_PLATFORM, MUJOCO_EGL_DEVICE_ID) must not end a
program that draws nothing, `--help` among them: MuJoCo refuses such values when it is imported.
"""

import contextlib
import ctypes.util
import importlib
import logging
import os
import sys
from pathlib import Path

from sim.core.errors import UserError, reason

INSTALL_EGL = "apt-get install -y libegl1 libegl-mesa0 libgl1-mesa-dri"
LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}  # which draw without a display
WINDOWED = ("glfw", "glx")
OFF = "disabled"  # MuJoCo is imported without a back-end
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
VARIABLES = ("MUJOCO_GL", "PYOPENGL_PLATFORM", "MUJOCO_EGL_DEVICE_ID")

FORKED = (
    "images were drawn in the process that this one was forked from, which its GL library does not survive; start "
    "processes by spawn: gymnasium.make_vec(..., vector_kwargs={'context': 'spawn'}), "
    "SubprocVecEnv(..., start_method='spawn')"
)

_log = logging.getLogger(__name__)
_given: dict[str, str] = {}  # VARIABLES as the user's shell has them
_drawing: list[int] = []  # the process that opened a library to draw with


def choose_gl() -> None:
    """Set MUJOCO_GL on Linux: to egl, with or without a display, or to what the user named, where that can draw."""
    if not sys.platform.startswith("linux"):
        return
    given = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    _given.update({name: value for name, value in given.items() if value != "egl"})  # that is what a parent sets
    back_end = os.environ.get("MUJOCO_GL", "").strip().lower() or "egl"
    why_not = _why_not(back_end)
    if why_not and back_end != "egl":
        _log.warning("MUJOCO_GL=%s: %s; images are drawn by egl", os.environ["MUJOCO_GL"], why_not)
        back_end, why_not = "egl", _why_not("egl")
    os.environ["MUJOCO_GL"] = OFF if why_not else back_end
    if back_end in LIBRARIES:
        os.environ["PYOPENGL_PLATFORM"] = back_end


def _why_not(back_end: str) -> str:
    """Return why this back-end cannot draw here, "" where it can or where it is wanted off."""
    if back_end in LIBRARIES:
        return "" if ctypes.util.find_library(LIBRARIES[back_end]) else f"no library {LIBRARIES[back_end]}"
    if back_end in WINDOWED:
        return "" if set(DISPLAYS) & set(os.environ) else "needs a display, and there is none"
    return "" if back_end == OFF else f"expected one of {', '.join([*LIBRARIES, *WINDOWED])}"


def check_gl() -> None:
    """Raise UserError when there is nothing to draw with, or when MuJoCo came first and chose another back-end."""
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


def begin_drawing() -> None:
    """Note that this process draws. UserError in one that was forked from another that did: it would hang."""
    if _drawing and _drawing[0] != os.getpid():
        raise UserError(FORKED)
    if not _drawing:
        load_triton()
    _drawing[:] = [os.getpid()]


def load_triton() -> None:
    """Import triton, where torch brings it along, before a process draws for the first time.

    torch's CUDA builds import it with the first optimizer. Both it and Mesa have an LLVM; loaded after Mesa's, its own
    takes symbols of that, and the process dies.
    """
    maps = Path("/proc/self/maps")  # of Linux
    if maps.exists() and "libLLVM" not in maps.read_text():  # else it is too late
        with contextlib.suppress(ImportError):
            importlib.import_module("triton")


def drawing_error(error: Exception) -> UserError:
    """Return the one line for what a GL back-end raised, with the variables that may be the cause."""
    return UserError(f"cannot draw by {os.environ.get('MUJOCO_GL')} ({reason(error)}); {remedy()}")


def remedy() -> str:
    """Return what may help where nothing can be drawn: the user's own variables first."""
    given = " ".join(f"{name}={value}" for name, value in _given.items())
    return f"unset {given}, or {INSTALL_EGL}" if given else INSTALL_EGL


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
