"""From a robot's configuration to a connected `RobotEnv`, the emulator started where that is asked for."""

import contextlib
import dataclasses
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from real.cameras.camera import AbsentCamera, Camera, EmulatorCamera
from real.cameras.realsense import PREFIX, RealsenseCamera
from real.cameras.usb import UvcCamera
from real.core.faults import RobotFault
from real.core.robot_driver import DRIVERS
from real.fairino.releases import EmulatedRelease
from real.fairino.servo_link import SERVO_WAYS
from real.workcell.emulator_process import EmulatorProcess
from real.workcell.env import RobotEnv
from real.workcell.episode_setup import EmulatedBench, OperatorBench
from sim.core import deprecated
from sim.core.errors import UserError, nearest
from sim.core.loopback import is_loopback
from sim.core.options import NOT_EMPTY, PORT, OneOf, above, between, block, one_of, option
from sim.guard.workspace import Workspace
from sim.robots.robot import RobotConfig

EMULATOR, HARDWARE = "emulator", "hardware"
KIND = OneOf((EMULATOR, HARDWARE), renamed=tuple(deprecated.ROBOT_KINDS))
MODES = ("dry", "confirm", "auto")
STARTS = ("if_absent", "always", "never")
EMULATED = ("start", "firmware", "force_sensor")  # what an arm does not have
PROBE_S = 1.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RobotConnection(RobotConfig):
    """One robot; `conf/robot/` holds the choices."""

    kind: str = option(EMULATOR, "hardware: nothing moves before mode=confirm or mode=auto", KIND)
    ip: str = option("127.0.0.1", "address or name of the controller", NOT_EMPTY)
    rpc_port: int = option(20003, "commands; this and the next three as FAIRINO's controllers have them", PORT)
    state_port: int = option(20004, "state frames", PORT)
    cnde_port: int = option(20005, "configurable state frames", PORT)
    servo_port: int = option(20007, "ServoJ by UDP", PORT)
    camera_port: int = option(20100, "images of the emulator's cameras", PORT)
    bench_port: int = option(20101, "set-up of the emulator's bench", PORT)
    start: str = option("never", "when an emulator is started for this program", one_of(*STARTS))
    firmware: str = option("3.9.6", "release of the emulator that is started", EmulatedRelease())
    force_sensor: bool = option(False, "the emulator that is started has one; a policy.touch=true needs it")
    servo: str = option("auto", "how ServoJ is sent; auto: udp where the release has it", one_of(*SERVO_WAYS))
    deadline_s: float = option(2.0, "of each call to the controller", between(0.01, 60.0))
    gripper_index: int = option(1, "of the gripper at the controller", between(1, 8))
    speed_percent: int = option(
        100, "of what is streamed, homing and the controller's own motions, not of the gripper", between(1, 100)
    )
    workspace: Workspace = block(Workspace, "what the motion guard keeps the arm to")
    instruction: str | None = option(None, "what the arm is to do, on hardware", NOT_EMPTY)
    time_limit_s: float = option(30.0, "of an episode on hardware", between(0.1, 3600.0))
    cameras: dict[str, int | str] = block(dict, "by name: number or path of the video device, or realsense:SERIAL")
    exposure: float | None = option(
        None, "of every camera, us; null: what automatic exposure found, not for a D435", above(0.0)
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", deprecated.current("robot.kind", self.kind, deprecated.ROBOT_KINDS))
        if self.name not in DRIVERS:
            raise UserError(
                f"robot.name={self.name}: it has no driver, expected one of {', '.join(DRIVERS.names())}; "
                "programs of sim, policies and rl take it"
            )
        if not self.is_hardware and not is_loopback(self.ip):
            raise UserError(
                f"robot.ip={self.ip}: emulators are on this machine, expected 127.0.0.1 or another 127.*; robot=fr3 "
                "drives an arm"
            )
        for one in dataclasses.fields(self):
            value = getattr(self, one.name)
            if self.is_hardware and one.name in EMULATED and value != one.default:
                raise UserError(
                    f"robot.{one.name}={value}, expected {one.default}: it is an emulator's, and this is an arm; "
                    "robot=emulator"
                )
        check_devices(self.cameras, self.load().camera_names)
        super().__post_init__()

    @property
    def is_hardware(self) -> bool:
        return self.kind == HARDWARE

    @property
    def default_mode(self) -> str:
        """Return how a program moves the arm unless `mode` says so: the emulator by itself, hardware not at all."""
        return "dry" if self.is_hardware else "auto"


def mode_option(confirm: str, auto: str) -> Any:
    """Return the option `mode` of a program that moves the arm: what it does in two of the modes."""
    about = (
        f"dry: check and move nothing; confirm: {confirm}; auto: {auto}. null: auto on the emulator, dry on hardware"
    )
    return option(None, about, one_of(*MODES))


def emulator_of_our_own() -> RobotConnection:
    """Return the robot where none is configured: an emulator that the program starts."""
    return RobotConnection(start="always")


def ask_at_terminal(text: str) -> None:
    """Print `text` and wait for Enter. UserError when standard input is closed."""
    sys.stderr.write(f"{text}\n")
    if not sys.stdin.readline():
        raise UserError("nobody can confirm: standard input is closed; run in a terminal")


@contextlib.contextmanager
def open_robot(
    config: RobotConnection,
    image_size: tuple[int, int],
    ask: Callable[[str], None] = ask_at_terminal,
    *,
    board: bool = False,
    task: str = "",
    depth: bool = False,
) -> Iterator[RobotEnv]:
    """Open the connected robot, its drives untouched. image_size: (height, width) that the policy needs.

    ask: how a person is asked, on hardware, to lay out the task and to let the arm move; returns when they agree.
    board, task: a calibration board on the table of an emulator that is started, and the task on its bench.
    depth: every camera is asked for it; one that measures none is told by `real.parity.preflight`.
    RobotUnreachable or RobotFault when robot or camera does not answer, or the arm does not acknowledge its stop at the
    end; whatever was opened is closed.
    """
    from sim.guard.clearance import Clearance  # MuJoCo, only where an arm is to move

    robot = config.load()
    clearance = Clearance(robot, config.workspace)  # takes a while: before states arrive
    with contextlib.ExitStack() as opened:
        if not config.is_hardware and (why := _start_reason(config)):
            _log.info("%s: starting the emulated %s on this machine", why, robot.name)
            options = {"firmware": config.firmware, "board": board, "force_sensor": config.force_sensor}
            options |= ({"task": task} if task else {}) | ({"render.depth": True} if depth else {})
            process = opened.enter_context(EmulatorProcess(image_size, **options))
            config = dataclasses.replace(config, ip=process.host, **process.ports)
        driver = opened.enter_context(contextlib.closing(DRIVERS.get(robot.name)(config)))
        _log.info("connected to %s %s at %s: %s", driver.model, driver.firmware, config.ip, driver.links)
        if not config.is_hardware:
            cameras, bench = _emulated_cameras(config, depth=depth), EmulatedBench((config.ip, config.bench_port))
        else:
            cameras = _cameras(config, image_size, depth=depth)
            bench = OperatorBench(config.instruction or "", config.time_limit_s, ask)
        env = opened.enter_context(RobotEnv(driver, cameras, bench, clearance))
        with raise_unless_stopped(env):
            yield env


@contextlib.contextmanager
def raise_unless_stopped(env: RobotEnv) -> Iterator[None]:
    """Make sure at the end of the block that the arm is at rest, or raise why it may not be.

    RobotFault after an end without an error, a note on any other error.
    """
    try:
        yield
    except BaseException as error:
        if why := env.stop_failure():
            error.add_note(why)
        raise
    if why := env.stop_failure():
        raise RobotFault(why)


def _start_reason(config: RobotConnection) -> str:
    """Return why an emulator must be started; "" when a running one is to be used. UserError where that one is not
    whole."""
    if config.start == "always":
        return "no robot is configured"
    if config.start == "never" or not is_loopback(config.ip):
        return ""
    if not _answers(config, "rpc_port"):
        return f"no emulator answers at {config.ip}:{config.rpc_port}"
    for port in ("camera_port", "bench_port"):
        if not _answers(config, port):
            raise UserError(
                f"an emulator answers at {config.ip}:{config.rpc_port}, but not at robot.{port}={getattr(config, port)}"
                "; it is another program's, or has other ports: robot.start=always starts one of this program's own"
            )
    return ""


def _answers(config: RobotConnection, port: str) -> bool:
    try:
        socket.create_connection((config.ip, getattr(config, port)), PROBE_S).close()
    except OSError:
        return False
    return True


def _emulated_cameras(config: RobotConnection, *, depth: bool) -> dict[str, Camera]:
    address = config.ip, config.camera_port
    return {name: EmulatorCamera(name, address, depth=depth) for name in config.load().camera_names}


def _cameras(config: RobotConnection, image_size: tuple[int, int], *, depth: bool = False) -> dict[str, Camera]:
    """Return the cameras by name; one that cannot be opened is an `AbsentCamera`, which the preflight checks report."""
    cameras: dict[str, Camera] = {}
    for name in config.load().camera_names:
        try:
            cameras[name] = _camera(name, config.cameras.get(name), image_size, config.exposure, depth=depth)
        except UserError as error:
            cameras[name] = AbsentCamera(error)
    return cameras


def check_devices(cameras: Mapping[str, int | str], known_cameras: Sequence[str]) -> None:
    """Raise UserError for a camera that the robot does not have, and when two name one device."""
    owners: dict[str, str] = {}
    for name, device in cameras.items():
        if name not in known_cameras:
            raise UserError(nearest(name, known_cameras, "camera in robot.cameras"))
        number = str(device).isdigit()
        known = f"/dev/video{device}" if number else os.path.realpath(str(device))
        if known in owners:
            raise UserError(
                f"robot.cameras.{name}={device}: robot.cameras.{owners[known]} is the same device; expected another one"
            )
        owners[known] = name


def _camera(
    name: str, device: int | str | None, image_size: tuple[int, int], exposure: float | None, *, depth: bool
) -> Camera:
    if device is None:
        raise UserError(f"no device for camera {name}: give robot.cameras.{name}=NUMBER, or realsense:SERIAL")
    library, _, serial = str(device).partition(":")
    if library == PREFIX:
        return RealsenseCamera(name, serial, *image_size, exposure, depth=depth)
    return UvcCamera(name, device, *image_size, exposure)
