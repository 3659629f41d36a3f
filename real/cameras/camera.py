"""Cameras: the newest image and its time stamp.

A camera that is missing, silent or gives the wrong size raises RobotUnreachable or UserError. A run
never continues without cameras: the motion guard latches on an image older than it allows, and the
episode ends when the camera itself reports its loss.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from real.core.faults import RobotUnreachable
from real.core.json_lines import JsonLineClient
from sim.core.errors import UserError

SILENCE_S = 1.0
ANSWER_S = 2.0  # of the emulator
FIRST_FRAME_S = 5.0
SETTLE_S = 1.0  # for automatic exposure to settle before it is fixed
RETRY_S = 0.05
MAX_TRANSFER_S = 0.5  # a stamp that implies a longer transfer is of another clock


@dataclass(frozen=True)
class Frame:
    """uint8 (H, W, 3) RGB, captured at stamp_s on this machine's monotonic clock.

    depth: uint16 (H, W), mm, of what the same pixel shows, 0 where there is none; None: the camera measures no depth.
    """

    image: np.ndarray
    stamp_s: float
    depth: np.ndarray | None = None


class Camera(Protocol):
    """Anything that provides a newest image."""

    def latest(self) -> Frame: ...
    def close(self) -> None: ...


class AbsentCamera:
    """A camera that could not be opened: whoever wants an image gets the reason, so that a preflight lists it."""

    def __init__(self, reason: UserError):
        self._reason = reason

    def latest(self) -> Frame:
        raise self._reason

    def close(self) -> None:
        """Do nothing: nothing was opened."""


class EmulatorCamera:
    """One camera of `real.emulator`, rendered on request."""

    def __init__(self, name: str, address: tuple[str, int], deadline_s: float | None = None, *, depth: bool = False):
        """deadline_s: of each image, ANSWER_S where none is given. depth: is asked for beside every image."""
        self._asked = {"camera": name, **({"depth": True} if depth else {})}
        self._client = JsonLineClient(f"camera {name}", address, ANSWER_S if deadline_s is None else deadline_s)

    def latest(self) -> Frame:
        head, body = self._client.request(self._asked)
        # The wire carries ages, not stamps: the emulator may run on another machine.
        stamp_s = time.monotonic() - head["age_s"]
        height, width, _ = head["shape"]
        pixels, rest = body[: 3 * height * width], body[3 * height * width :]
        depth = np.frombuffer(rest, "<u2").reshape(height, width) if "depth" in self._asked else None
        return Frame(np.frombuffer(pixels, np.uint8).reshape(head["shape"]), stamp_s, depth)

    def close(self) -> None:
        self._client.close()


class GrabbedCamera:
    """A camera read in a thread of its own, so that `latest` is fresh and never waits for an image.

    grab: blocks for the next image at most RETRY_S or a few periods; None when none came. release: called by that
    thread at its end, hence never while a `grab` still blocks.
    """

    def __init__(self, name: str, grab: Callable[[], Frame | None], release: Callable[[], None]):
        self._name, self._grab, self._release = name, grab, release
        self._frame: Frame | None = None
        self._error = ""  # what ended the thread
        self._arrived, self._ending = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"camera {name}", daemon=True)
        self._thread.start()

    def latest(self) -> Frame:
        """Return the newest frame. RobotUnreachable when none came within FIRST_FRAME_S, or the last one is older than
        SILENCE_S."""
        if not self._arrived.wait(FIRST_FRAME_S):
            raise RobotUnreachable(f"camera {self._name} gave no image within {FIRST_FRAME_S:g} s{self._error}")
        frame = self._frame
        assert frame is not None  # `_arrived` is set
        age_s = time.monotonic() - frame.stamp_s
        if age_s > SILENCE_S:
            raise RobotUnreachable(f"camera {self._name} has stopped: its last image is {age_s:.1f} s old{self._error}")
        return frame

    def close(self) -> None:
        """End; waits SILENCE_S at most, a device that blocks longer is released once it returns."""
        self._ending.set()
        self._thread.join(SILENCE_S)

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                self._grab_one()
        # Whatever the device's library raises: `latest` tells it once the last image is too old.
        except Exception as error:  # noqa: BLE001
            self._error = f" ({type(error).__name__}: {error})"
        finally:
            self._release()

    def _grab_one(self) -> None:
        frame = self._grab()
        if frame is None:
            self._ending.wait(RETRY_S)
            return
        self._frame = frame
        self._arrived.set()


def capture_time_s(stamp_s: float, now_s: float) -> float:
    """Return the time of an image: its own stamp where that is of the clock of `now_s`, else now, when it arrived."""
    return stamp_s if 0.0 <= now_s - stamp_s < MAX_TRANSFER_S else now_s


def fit(image: np.ndarray, height: int, width: int, resize) -> np.ndarray:
    """Crop `image` around its centre to the aspect ratio, then resize it by `resize(image, (width, height))`."""
    rows, columns = image.shape[:2]
    scale = min(rows / height, columns / width)
    h, w = round(height * scale), round(width * scale)
    top, left = (rows - h) // 2, (columns - w) // 2
    return resize(np.ascontiguousarray(image[top : top + h, left : left + w]), (width, height))
