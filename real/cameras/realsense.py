"""Colour images of an Intel RealSense camera, with depth where it is asked for, through the vendor's library."""

import time
from typing import NoReturn

import numpy as np
from PIL import Image

from real.cameras.camera import SETTLE_S, Frame, GrabbedCamera, capture_time_s, fit
from real.core.faults import RobotUnreachable
from sim.core.errors import UserError
from sim.dataset.depth_video import FARTHEST_MM

PREFIX = "realsense"  # robot.cameras.front=realsense:SERIAL, or realsense for the only one
COLUMNS, ROWS, RATE_HZ = 640, 480, 30
WAIT_MS = 200
RGB_UNIT_US = 100  # of the exposure of an RGB module; that of a stereo module counts us


class RealsenseCamera(GrabbedCamera):
    """One camera by serial number ("" for the only one), its exposure and white balance fixed.

    exposure: us; None keeps what automatic exposure found in its first second, where the colour comes from the stereo
    module (D405): an RGB module (D435) does not tell what it found, and is refused. depth: is measured too, laid onto
    the colour image's pixels.
    """

    def __init__(
        self, name: str, serial: str, height: int, width: int, exposure: float | None = None, *, depth: bool = False
    ):
        self._rs = _library()
        self._size = height, width
        self._pipeline, wanted = self._rs.pipeline(), self._rs.config()
        if serial:
            wanted.enable_device(serial)
        wanted.enable_stream(self._rs.stream.color, COLUMNS, ROWS, self._rs.format.rgb8, RATE_HZ)
        if depth:
            wanted.enable_stream(self._rs.stream.depth, COLUMNS, ROWS, self._rs.format.z16, RATE_HZ)
        try:
            profile = self._pipeline.start(wanted)
        except RuntimeError as error:
            raise RobotUnreachable(f"camera {name} (RealSense {serial or 'any'}) cannot be opened: {error}") from error
        try:
            self._fix_light(name, profile.get_device(), exposure)
        except UserError:
            self._pipeline.stop()
            raise
        self._align = self._rs.align(self._rs.stream.color) if depth else None
        super().__init__(name, self._read, self._pipeline.stop)

    def _fix_light(self, name: str, device, exposure: float | None) -> None:
        sensor, option = self._colour_sensor(device), self._rs.option
        stereo = sensor.is_depth_sensor()
        try:
            _set_if_there(sensor, option.global_time_enabled, 1)  # stamps on this machine's clock
            if exposure is None:
                exposure = self._settled_us(name, sensor) if stereo else _refuse_automatic(name)
            sensor.set_option(option.enable_auto_exposure, 0)
            _set_if_there(sensor, option.enable_auto_white_balance, 0)  # not on a D405
            sensor.set_option(option.exposure, exposure if stereo else round(exposure / RGB_UNIT_US))
        except RuntimeError as error:
            raise UserError(
                f"camera {name}: exposure and white balance cannot be fixed ({error}); try another robot.exposure"
            ) from error

    def _colour_sensor(self, device):
        """Return the sensor that the colour comes from: of a D405, which has no RGB module, the stereo module."""
        colour = self._rs.stream.color
        return next(
            sensor
            for sensor in device.query_sensors()
            if any(profile.stream_type() == colour for profile in sensor.get_stream_profiles())
        )

    def _settled_us(self, name: str, sensor) -> float:
        """Return what automatic exposure settles on. UserError when the frames do not tell."""
        sensor.set_option(self._rs.option.enable_auto_exposure, 1)  # the program before has switched it off
        meta, found = self._rs.frame_metadata_value.actual_exposure, None
        ends_s = time.monotonic() + SETTLE_S
        while time.monotonic() < ends_s:
            frame = self._color_frame()
            if frame is not None and frame.supports_frame_metadata(meta):
                found = float(frame.get_frame_metadata(meta))
        return _refuse_automatic(name) if found is None else found

    def _frames(self):
        try:
            return self._pipeline.wait_for_frames(WAIT_MS)
        except RuntimeError:  # none came
            return None

    def _color_frame(self):
        frames = self._frames()
        return (frames.get_color_frame() or None) if frames else None

    def _read(self) -> Frame | None:
        frames = self._frames()
        if frames and self._align:
            frames = self._align.process(frames)
        frame = (frames.get_color_frame() or None) if frames else None
        depth = (frames.get_depth_frame() or None) if frames and self._align else None
        if frame is None or (self._align and depth is None):
            return None
        now_s = time.monotonic()
        stamp_s = now_s
        if frame.get_frame_timestamp_domain() != self._rs.timestamp_domain.hardware_clock:
            stamp_s = capture_time_s(now_s - (time.time() - frame.get_timestamp() / 1000), now_s)
        image = fit(np.asanyarray(frame.get_data()), *self._size, _resize)
        return Frame(image, stamp_s, None if depth is None else self._millimetres(depth))

    def _millimetres(self, depth) -> np.ndarray:
        """Return uint16 (H, W) of the images' size, each the pixel in the middle: a mean would mix near and far. What
        is too far to be recorded is not measured."""
        mm = np.rint(np.asanyarray(depth.get_data()) * (1e3 * depth.get_units()))
        return fit(np.where(mm > FARTHEST_MM, 0, mm).astype(np.uint16), *self._size, _pick)


def _set_if_there(sensor, option, value: float) -> None:
    if sensor.supports(option):
        sensor.set_option(option, value)


def _refuse_automatic(name: str) -> NoReturn:
    raise UserError(
        f"camera {name}: this RealSense does not tell which exposure its automatic found; give it in us, e.g. "
        "robot.exposure=16600"
    )


def _pick(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    columns, rows = (
        ((np.arange(n) + 0.5) * side / n).astype(int) for n, side in zip(size, depth.shape[::-1], strict=True)
    )
    return depth[np.ix_(rows, columns)]


def _resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def _library():
    try:
        import pyrealsense2  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UserError("RealSense cameras need their library; install it with: pip install pyrealsense2") from error
    return pyrealsense2
