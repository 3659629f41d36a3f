"""Cameras: the newest picture and when it was taken.

A camera that is missing, silent or shows the wrong size raises RobotSilent or UserError; a run
never goes on without eyes.
"""

import threading
import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from real.faults import RobotSilent
from real.lines import LineClient
from sim.errors import UserError

SILENCE_S = 1.0
FIRST_FRAME_S = 5.0


@dataclass(frozen=True)
class Frame:
    """uint8 (H, W, 3) RGB, taken at stamp_s on this machine's monotonic clock."""

    image: np.ndarray
    stamp_s: float


class Camera(Protocol):
    """Anything that has a newest picture."""

    def latest(self) -> Frame: ...
    def close(self) -> None: ...


class EmulatorCamera:
    """One camera of `real.emulator`, drawn when asked for."""

    def __init__(self, name: str, address: tuple[str, int], deadline_s: float = 2.0):
        self._name = name
        self._client = LineClient(f"camera {name}", address, deadline_s)

    def latest(self) -> Frame:
        head, body = self._client.ask({"camera": self._name})
        # Ages, not stamps, cross the wire: the emulator may run on another machine.
        stamp_s = time.monotonic() - head["age_s"]
        return Frame(np.frombuffer(body, np.uint8).reshape(head["shape"]), stamp_s)

    def close(self) -> None:
        self._client.close()


def fit(image: np.ndarray, height: int, width: int, resize) -> np.ndarray:
    """The centre of `image` with the wanted aspect, resized; `resize(image, (width, height))`."""
    rows, columns = image.shape[:2]
    scale = min(rows / height, columns / width)
    h, w = round(height * scale), round(width * scale)
    top, left = (rows - h) // 2, (columns - w) // 2
    return resize(np.ascontiguousarray(image[top : top + h, left : left + w]), (width, height))


class UvcCamera:
    """A USB camera through OpenCV, read in a thread of its own so that `latest` is fresh.

    device: number or path for OpenCV. exposure: in the driver's unit; None leaves it automatic,
    which makes pictures drift with the light.
    """

    def __init__(self, name: str, device: int | str, height: int, width: int, exposure: float | None = None):
        self._cv2 = _opencv()
        self._name, self._size = name, (height, width)
        self._capture = self._cv2.VideoCapture(device)
        if not self._capture.isOpened():
            raise RobotSilent(f"camera {name} (device {device!r}) cannot be opened; is it plugged in and free?")
        self._capture.set(self._cv2.CAP_PROP_BUFFERSIZE, 1)
        if exposure is not None:
            self._capture.set(self._cv2.CAP_PROP_AUTO_EXPOSURE, 1)  # manual, in V4L2's counting
            self._capture.set(self._cv2.CAP_PROP_EXPOSURE, exposure)
        self._frame: Frame | None = None
        self._arrived, self._ending = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"camera {name}", daemon=True)
        self._thread.start()

    def latest(self) -> Frame:
        if not self._arrived.wait(FIRST_FRAME_S):
            raise RobotSilent(f"camera {self._name} gave no picture within {FIRST_FRAME_S:g} s")
        frame = self._frame
        assert frame is not None  # `_arrived` says so
        age_s = time.monotonic() - frame.stamp_s
        if age_s > SILENCE_S:
            raise RobotSilent(f"camera {self._name} fell silent: its last picture is {age_s:.1f} s old")
        return frame

    def close(self) -> None:
        self._ending.set()
        self._thread.join(SILENCE_S)
        self._capture.release()

    def _run(self) -> None:
        while not self._ending.is_set():
            good, picture = self._capture.read()
            if not good:
                self._ending.wait(0.05)
                continue
            stamp_s = time.monotonic()
            rgb = self._cv2.cvtColor(picture, self._cv2.COLOR_BGR2RGB)
            resize = self._resize
            self._frame = Frame(fit(rgb, *self._size, resize), stamp_s)
            self._arrived.set()

    def _resize(self, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        return self._cv2.resize(image, size, interpolation=self._cv2.INTER_AREA)


def _opencv():
    try:
        import cv2  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError("USB cameras need OpenCV; install it with: pip install opencv-python-headless") from error
    return cv2
