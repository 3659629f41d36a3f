"""Cameras: fixed light, stamps on this machine's clock, and what happens when the images stop.

OpenCV and the RealSense library are stood in for by scripted devices: what is tested is our use of them,
with OpenCV's and librealsense's names and units.
"""

import threading
import time
import types

import numpy as np
import pytest
from fr3 import FR3
from running import Swing
from waiting import PATIENCE_S, wait_for

import real.cameras.camera
import real.cameras.realsense
import real.cameras.usb
from real.cameras.camera import Camera, Frame, GrabbedCamera, capture_time_s
from real.cameras.realsense import RealsenseCamera
from real.cameras.usb import UvcCamera
from real.core.faults import RobotUnreachable
from real.workcell.connect import RobotConnection, _cameras
from sim.core.errors import UserError
from sim.episode.loop import run_episode
from sim.guard.motion_guard import MotionGuard


class Capture:
    """A V4L2 camera as cv2.VideoCapture shows it: 480 x 640 BGR, stamped 40 ms before it arrives."""

    obeys = True  # lets its exposure be fixed

    def __init__(self, device):
        self.device, self.controls, self.released, self.plugged = device, {"auto": 3, "exposure": 157.0}, False, True
        self.reads = self.automatic_reads = 0

    def isOpened(self) -> bool:  # noqa: N802
        return self.device != 99

    def set(self, name, value) -> bool:
        if name == "auto" and not self.obeys:
            return False
        self.controls[name] = value
        return True

    def get(self, name) -> float:
        return 1000 * (time.monotonic() - 0.04) if name == "msec" else self.controls.get(name, -1)

    def read(self):
        time.sleep(0.005)
        self.reads += 1
        if self.controls["auto"] == 3:
            self.automatic_reads += 1
            self.controls["exposure"] = 157.0  # what this light wants
        if not self.plugged:
            return False, None
        image = np.zeros((480, 640, 3), np.uint8)
        image[..., 0] = 200  # blue
        return True, image

    def release(self):
        self.released = True


@pytest.fixture
def cv2(monkeypatch):
    opened = []

    def capture(device):
        opened.append(Capture(device))
        return opened[-1]

    names = {
        "CAP_PROP_BUFFERSIZE": "buffer", "CAP_PROP_AUTO_EXPOSURE": "auto", "CAP_PROP_EXPOSURE": "exposure",
        "CAP_PROP_AUTO_WB": "white", "CAP_PROP_AUTOFOCUS": "focus", "CAP_PROP_POS_MSEC": "msec", "INTER_AREA": 3,
        "COLOR_BGR2RGB": 4,
    }  # fmt: skip
    module = types.SimpleNamespace(
        **names, VideoCapture=capture, cvtColor=lambda image, code: image[..., ::-1], opened=opened,
        resize=lambda image, size, interpolation: np.ascontiguousarray(image[: size[1], : size[0]]),
    )  # fmt: skip
    monkeypatch.setattr(real.cameras.usb, "_opencv", lambda: module)
    monkeypatch.setattr(real.cameras.usb, "SETTLE_S", 0.05)
    return module


def test_a_usb_camera_holds_the_exposure_the_automatic_found(cv2):
    camera = UvcCamera("front", 0, 96, 96)
    capture = cv2.opened[0]
    assert capture.controls == {"buffer": 1, "auto": 1, "exposure": 157.0, "white": 0, "focus": 0}
    assert capture.automatic_reads > 3
    frame = camera.latest()
    assert frame.image.shape == (96, 96, 3)
    assert frame.image[0, 0].tolist() == [0, 0, 200]  # RGB
    assert 0.03 < time.monotonic() - frame.stamp_s < PATIENCE_S
    camera.close()
    assert capture.released


def test_an_exposure_that_the_program_before_fixed_is_not_kept(cv2, monkeypatch):
    first = Capture.__init__
    monkeypatch.setattr(Capture, "__init__", lambda self, device: (
        first(self, device), self.controls.update(auto=1, exposure=500.0, white=0))[0])  # fmt: skip
    UvcCamera("front", 0, 96, 96).close()
    assert cv2.opened[0].controls["exposure"] == 157.0


def test_an_exposure_that_the_camera_clamps_is_refused(cv2, monkeypatch):
    monkeypatch.setattr(Capture, "get", lambda self, name: 100.0 if name == "exposure" else self.controls.get(name, -1))
    with pytest.raises(UserError, match=r"camera front exposes 10000 us where robot.exposure=500000 was asked for"):
        UvcCamera("front", 0, 96, 96, exposure=500_000)


def test_an_exposure_that_is_given_is_set_and_one_that_cannot_be_fixed_is_refused(cv2, monkeypatch):
    UvcCamera("front", 0, 96, 96, exposure=8_030).close()
    assert cv2.opened[0].controls["exposure"] == 80  # V4L2 counts 100 us
    monkeypatch.setattr(Capture, "obeys", False)
    with pytest.raises(UserError, match="camera front: its exposure cannot be fixed"):
        UvcCamera("front", 0, 96, 96)
    assert cv2.opened[1].released


def test_an_exposure_below_what_the_driver_counts_is_refused(cv2):
    with pytest.raises(UserError, match=r"camera front exposes 100 us where robot.exposure=30 was asked for"):
        UvcCamera("front", 0, 96, 96, exposure=30)


def test_a_camera_that_is_not_there_is_named_whenever_an_image_is_wanted(cv2):
    cameras = _cameras(RobotConnection(kind="hardware", cameras={"front": 0, "wrist": 99}), (96, 96))
    assert cameras["front"].latest().image.shape == (96, 96, 3)
    with pytest.raises(RobotUnreachable, match=r"camera wrist \(device 99\) cannot be opened"):
        cameras["wrist"].latest()
    cameras["front"].close()
    cameras = _cameras(RobotConnection(kind="hardware", cameras={"front": 0}), (96, 96))
    with pytest.raises(UserError, match=r"robot.cameras.wrist=NUMBER, or realsense:SERIAL"):
        cameras["wrist"].latest()
    cameras["front"].close()


@pytest.mark.parametrize(
    "devices",
    [{"front": 0, "wrist": 0}, {"front": 2, "wrist": "/dev/video2"}, dict.fromkeys(("front", "wrist"), "realsense")],
)
def test_one_device_for_two_cameras_is_refused_before_anything_is_opened(devices):
    with pytest.raises(UserError, match=r"robot.cameras.wrist=.*: robot.cameras.front is the same device"):
        RobotConnection(kind="hardware", cameras=devices)


def test_a_device_of_a_camera_that_the_robot_does_not_have_is_refused():
    with pytest.raises(UserError, match=r"camera in robot.cameras 'wirst'.*; did you mean 'wrist'"):
        RobotConnection(kind="hardware", cameras={"front": 0, "wrist": 2, "wirst": 4})


def test_two_devices_by_number_path_or_serial_are_accepted():
    for devices in ({"front": 0, "wrist": "/dev/video2"}, {"front": "realsense:1", "wrist": "realsense:2"}):
        assert RobotConnection(kind="hardware", cameras=devices).cameras == devices


def test_a_device_that_still_blocks_is_not_released_under_its_reader(monkeypatch):
    monkeypatch.setattr(real.cameras.camera, "SILENCE_S", 0.05)
    inside, answer, released = threading.Event(), threading.Event(), threading.Event()

    def blocks() -> None:
        inside.set()
        answer.wait(10)

    camera = GrabbedCamera("front", blocks, released.set)
    inside.wait(10)
    camera.close()
    assert not released.is_set()
    answer.set()
    assert released.wait(10)


def has_stopped(camera: Camera, line: str) -> bool:
    try:
        camera.latest()
    except RobotUnreachable as error:
        return line in str(error)
    return False


def test_an_unplugged_usb_camera_is_an_error_and_not_an_old_picture(cv2, monkeypatch):
    camera = UvcCamera("front", 0, 96, 96)
    camera.latest()
    monkeypatch.setattr(real.cameras.camera, "SILENCE_S", 0.2)
    cv2.opened[0].plugged = False
    wait_for(lambda: has_stopped(camera, "camera front has stopped"))
    camera.close()


def test_without_the_libraries_the_line_to_install_is_named():
    with pytest.raises(UserError, match="pip install opencv-python-headless|cannot be opened"):
        UvcCamera("front", 98, 96, 96)
    with pytest.raises(UserError, match="pip install pyrealsense2|cannot be opened"):
        RealsenseCamera("front", "", 96, 96)


def test_a_stamp_of_another_clock_is_not_believed():
    assert capture_time_s(99.9, 100.0) == 99.9
    assert capture_time_s(1.7e9, 100.0) == 100.0
    assert capture_time_s(3.0, 100.0) == 100.0


class Module:
    """A sensor of a RealSense device: its streams, its options, and what the metadata of its frames say."""

    def __init__(self, streams: tuple[str, ...], options: tuple[str, ...], most: int):
        self.streams, self._options, self._most = streams, options, most
        self.set: dict[str, float] = {}  # option -> value
        self.tells = True  # whether its frames carry metadata

    def get_stream_profiles(self):
        return [types.SimpleNamespace(stream_type=lambda one=one: one) for one in self.streams]

    def is_depth_sensor(self) -> bool:
        return "depth" in self.streams

    def supports(self, option: str) -> bool:
        return option in self._options

    def set_option(self, option: str, value: float) -> None:
        if option not in self._options:
            raise RuntimeError(f"object doesn't support option {option}")
        if option == "exposure" and not 1 <= value <= self._most:
            raise RuntimeError(f"{value} is out of bounds [1,{self._most}]")
        self.set[option] = value

    def actual_exposure(self) -> float:
        """The RGB module's is that of its option even while the automatic is on (librealsense #5035): 166 at first."""
        if not self.is_depth_sensor() or self.set.get("enable_auto_exposure") == 0:
            return self.set.get("exposure", 166)
        return AUTOMATIC_US


AUTOMATIC_US = 12_500.0  # what a stereo module settles on in this light
COMMON = ("global_time_enabled", "enable_auto_exposure", "exposure")


def d435() -> list[Module]:
    rgb = Module(("color",), (*COMMON, "enable_auto_white_balance"), 10_000)
    return [Module(("depth", "infrared"), COMMON, 165_000), rgb]


def d405() -> list[Module]:
    """The stereo module alone, without an option for the white balance (d400-nonmonochrome.cpp)."""
    return [Module(("depth", "infrared", "color"), COMMON, 165_000)]


class ColorFrame:
    def __init__(self, log):
        self._domain, self._from = log["domain"], log["device"][-1]

    def get_data(self):
        return np.full((480, 640, 3), 77, np.uint8)

    def get_timestamp(self):
        return 1000 * (time.time() - 0.05)

    def get_frame_timestamp_domain(self):
        return self._domain

    def supports_frame_metadata(self, name):
        return self._from.tells

    def get_frame_metadata(self, name):
        return self._from.actual_exposure()


@pytest.fixture
def realsense(monkeypatch):
    log = {"device": d435(), "serial": None, "stopped": False, "domain": "global", "plugged": True, "streams": []}

    def wait_for_frames(timeout_ms):
        time.sleep(0.005)
        if not log["plugged"]:
            raise RuntimeError("Frame didn't arrive within 200")
        return types.SimpleNamespace(get_color_frame=lambda: ColorFrame(log))

    def aligned(to):
        assert to == "color"
        depth = types.SimpleNamespace(get_data=lambda: log["depth"], get_units=lambda: 0.0001)
        both = types.SimpleNamespace(get_color_frame=lambda: ColorFrame(log), get_depth_frame=lambda: depth)
        return types.SimpleNamespace(process=lambda frames: both)

    device = types.SimpleNamespace(query_sensors=lambda: log["device"])
    pipeline = types.SimpleNamespace(
        start=lambda config: types.SimpleNamespace(get_device=lambda: device), wait_for_frames=wait_for_frames,
        stop=lambda: log.update(stopped=True),
    )  # fmt: skip
    config = types.SimpleNamespace(
        enable_device=lambda serial: log.update(serial=serial),
        enable_stream=lambda *what: log.update(stream=what, streams=[*log["streams"], what]),
    )
    option = types.SimpleNamespace(**{name: name for name in (*COMMON, "enable_auto_white_balance")})
    module = types.SimpleNamespace(
        pipeline=lambda: pipeline, config=lambda: config, option=option,
        stream=types.SimpleNamespace(color="color", depth="depth"), align=aligned,
        format=types.SimpleNamespace(rgb8="rgb8", z16="z16"),
        timestamp_domain=types.SimpleNamespace(hardware_clock="hardware"),
        frame_metadata_value=types.SimpleNamespace(actual_exposure="exposure"), log=log,
    )  # fmt: skip
    monkeypatch.setattr(real.cameras.realsense, "_library", lambda: module)
    monkeypatch.setattr(real.cameras.realsense, "SETTLE_S", 0.05)
    return log


def test_a_realsense_camera_by_serial_number(realsense, monkeypatch):
    both = {"front": "realsense:0123", "wrist": "realsense"}
    cameras = _cameras(RobotConnection(kind="hardware", cameras=both, exposure=16_640.0), (96, 96))
    assert realsense["serial"] == "0123"
    assert realsense["stream"] == ("color", 640, 480, "rgb8", 30)
    stereo, rgb = realsense["device"]
    assert rgb.set == {  # exposure counts 100 us
        "global_time_enabled": 1, "enable_auto_exposure": 0, "enable_auto_white_balance": 0, "exposure": 166,
    }  # fmt: skip
    assert stereo.set == {}
    frame = cameras["front"].latest()
    assert frame.image.shape == (96, 96, 3) and (frame.image == 77).all()
    assert 0.04 < time.monotonic() - frame.stamp_s < PATIENCE_S
    monkeypatch.setattr(real.cameras.camera, "SILENCE_S", 0.3)
    realsense["plugged"] = False
    wait_for(lambda: has_stopped(cameras["front"], "has stopped"))
    for camera in cameras.values():
        camera.close()
    assert realsense["stopped"]


@pytest.mark.parametrize(("given", "set_us"), [(None, AUTOMATIC_US), (20_000.0, 20_000.0)])
def test_a_realsense_camera_without_an_rgb_module_is_fixed_by_its_stereo_module(realsense, given, set_us):
    realsense["device"] = d405()
    RealsenseCamera("wrist", "", 96, 96, given).close()
    assert realsense["device"][0].set == {"global_time_enabled": 1, "enable_auto_exposure": 0, "exposure": set_us}


def test_the_automatic_is_asked_anew_by_each_program(realsense):
    (stereo,) = realsense["device"] = d405()
    for given in (5000.0, None):
        RealsenseCamera("wrist", "", 96, 96, given).close()
    assert stereo.set["exposure"] == AUTOMATIC_US  # not what the program before has left


@pytest.mark.parametrize("device", [d435, d405])
def test_an_exposure_that_the_camera_does_not_tell_has_to_be_given(realsense, device):
    realsense["device"] = device()
    realsense["device"][-1].tells = device is d435  # always 166; the other's frames without metadata
    with pytest.raises(UserError, match=r"^camera front: [^\n]*give it in us, e\.g\. robot\.exposure=16600$"):
        RealsenseCamera("front", "", 96, 96)
    assert realsense["stopped"]


def test_a_realsense_camera_with_depth_in_millimetres_of_the_images_pixels(realsense):
    tenths = np.full((480, 640), 6000, np.uint16)
    tenths[:, :80] = 9000  # cut off with the image's sides
    tenths[:240, 80:320], tenths[240:, 320:560] = 0, 45_000  # nothing measured; 4.5 m
    realsense["depth"] = tenths
    camera = RealsenseCamera("front", "", 96, 96, 16_600.0, depth=True)
    assert realsense["streams"] == [("color", 640, 480, "rgb8", 30), ("depth", 640, 480, "z16", 30)]
    frame = camera.latest()
    expected = np.full((96, 96), 600)
    expected[:48, :48] = expected[48:, 48:] = 0
    assert frame.depth is not None and frame.depth.dtype == np.uint16
    np.testing.assert_array_equal(frame.depth, expected)
    camera.close()


def test_a_realsense_camera_whose_light_cannot_be_fixed_is_closed_again(realsense):
    cause = r"camera front: exposure and white balance cannot be fixed \(20000 is out of bounds"
    with pytest.raises(UserError, match=cause):
        RealsenseCamera("front", "", 96, 96, 2e6)
    assert realsense["stopped"]


class Freezing:
    """A camera whose images stop coming, as a GrabbedCamera."""

    def __init__(self, fine: int):
        self.left = fine

    def __call__(self) -> Frame | None:
        time.sleep(0.02)
        self.left -= 1
        return Frame(np.full((8, 10, 3), 5, np.uint8), time.monotonic()) if self.left > 0 else None


def test_a_frozen_picture_latches_the_guard_before_the_camera_is_given_up(running, monkeypatch):
    running.world.task = types.SimpleNamespace(time_limit_s=30.0, settle_s=0.1)
    with running.env() as env:
        env.cameras["front"].close()
        freezing = Freezing(10**9)
        env.cameras["front"] = GrabbedCamera("front", freezing, lambda: None)
        guard = MotionGuard(FR3, max_age_s=0.6)

        class Watched(Swing):
            def act(self, observation):
                if self._step == 5:
                    freezing.left = 0
                return super().act(observation)

        result = run_episode(env, Watched(), guard, 0)
        assert result.guard.latched == "stale observation"
        wait_for(lambda: np.abs(running.world.joint_velocity_rad_s()).max() == 0)


def test_a_camera_port_that_closes_midway_stops_the_arm(running):
    running.world.task = types.SimpleNamespace(time_limit_s=30.0, settle_s=0.1)

    class Watched(Swing):
        def act(self, observation):
            if self._step == 5:
                server = running.emulator._cameras
                server.shutdown()
                server.server_close()
                for camera in env.cameras.values():  # the connections of a process that ended are gone too
                    camera.close()
            return super().act(observation)

    with running.env() as env:
        result = run_episode(env, Watched(), MotionGuard(FR3, max_age_s=5.0), 0)
        assert result.steps == 6
        assert "camera front" in str(env.fault)
        assert not running.controller.in_servo
        wait_for(lambda: np.abs(running.world.joint_velocity_rad_s()).max() == 0)
