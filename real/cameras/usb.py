"""USB (UVC) cameras through OpenCV, on Linux its V4L2 backend."""

import time

import numpy as np

from real.cameras.camera import SETTLE_S, Frame, GrabbedCamera, capture_time_s, fit
from real.core.faults import RobotUnreachable
from sim.core.errors import UserError

AUTOMATIC, MANUAL, NO_CONTROL = 3, 1, -1  # CAP_PROP_AUTO_EXPOSURE in V4L2's counting
EXPOSURE_OFF = 0.1  # part of an exposure that a camera may round it by
EXPOSURE_UNIT_US = 100  # of CAP_PROP_EXPOSURE under V4L2 (V4L2_CID_EXPOSURE_ABSOLUTE)


class UvcCamera(GrabbedCamera):
    """One USB camera with fixed exposure, white balance and focus: its images must not drift under a policy.

    device: number or path for OpenCV. exposure: us; None keeps the value that automatic exposure found in
    its first second. UserError when it cannot be fixed.
    """

    def __init__(self, name: str, device: int | str, height: int, width: int, exposure: float | None = None):
        self._cv2 = _opencv()
        self._size = height, width
        self._capture = self._cv2.VideoCapture(device)
        if not self._capture.isOpened():
            raise RobotUnreachable(f"camera {name} (device {device!r}) cannot be opened; is it plugged in and free?")
        self._capture.set(self._cv2.CAP_PROP_BUFFERSIZE, 1)
        try:
            self._fix_exposure(name, exposure)
        except UserError:
            self._capture.release()
            raise
        super().__init__(name, self._read, self._capture.release)

    def _fix_exposure(self, name: str, exposure: float | None) -> None:
        cv2, capture = self._cv2, self._capture
        if exposure is None:
            capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, AUTOMATIC)  # the program before has switched both off
            capture.set(cv2.CAP_PROP_AUTO_WB, 1)
            ends_s = time.monotonic() + SETTLE_S
            while time.monotonic() < ends_s and capture.read()[0]:
                pass
            count = capture.get(cv2.CAP_PROP_EXPOSURE)  # as it is: other backends count otherwise
            exposure = EXPOSURE_UNIT_US * count
        else:
            count = max(1, round(exposure / EXPOSURE_UNIT_US))
        for automatic in (cv2.CAP_PROP_AUTO_WB, cv2.CAP_PROP_AUTOFOCUS):
            capture.set(automatic, 0)  # ignored by cameras without it
        capture.set(cv2.CAP_PROP_AUTO_EXPOSURE, MANUAL)
        capture.set(cv2.CAP_PROP_EXPOSURE, count)
        if capture.get(cv2.CAP_PROP_AUTO_EXPOSURE) not in (MANUAL, NO_CONTROL):
            raise UserError(f"camera {name}: its exposure cannot be fixed; try v4l2-ctl, or another camera")
        taken = EXPOSURE_UNIT_US * capture.get(cv2.CAP_PROP_EXPOSURE)
        if taken > 0 and abs(taken - exposure) > max(EXPOSURE_OFF * exposure, EXPOSURE_UNIT_US / 2):
            raise UserError(f"camera {name} exposes {taken:g} us where robot.exposure={exposure:g} was asked for")

    def _read(self) -> Frame | None:
        good, image = self._capture.read()
        if not good:
            return None
        now_s = time.monotonic()
        # V4L2 stamps the buffer, on the monotonic clock, when the image began to arrive.
        stamp_s = capture_time_s(self._capture.get(self._cv2.CAP_PROP_POS_MSEC) / 1000, now_s)
        rgb = self._cv2.cvtColor(image, self._cv2.COLOR_BGR2RGB)
        return Frame(fit(rgb, *self._size, self._resize), stamp_s)

    def _resize(self, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        return self._cv2.resize(image, size, interpolation=self._cv2.INTER_AREA)


def _opencv():
    try:
        import cv2  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError("USB cameras need OpenCV; install it with: pip install opencv-python-headless") from error
    return cv2
