"""Options of the robot, `--robot.type=fairino_fr3 --robot.NAME=VALUE`."""

from dataclasses import dataclass, field

from lerobot.robots import RobotConfig  # pyright: ignore[reportMissingImports]

from real.workcell.connect import EMULATOR
from real.workcell.connect import RobotConnection as Session
from sim.guard.workspace import Workspace


@RobotConfig.register_subclass("fairino_fr3")
@dataclass(kw_only=True)
class FairinoFR3Config(RobotConfig):
    """One arm or emulator; kind, ip and ports as in conf/robot/. Cameras: number or path of the device (hardware)."""

    kind: str = "emulator"  # or "hardware"
    ip: str = "127.0.0.1"
    rpc_port: int = Session.rpc_port
    state_port: int = Session.state_port
    cnde_port: int = Session.cnde_port
    servo_port: int = Session.servo_port
    camera_port: int = Session.camera_port  # of the emulator, as the next
    bench_port: int = Session.bench_port
    start: str = "if_absent"
    servo: str = Session.servo
    deadline_s: float = Session.deadline_s
    gripper_index: int = 1
    speed_percent: int = 100
    workspace: Workspace = field(default_factory=Workspace)  # base frame, m; what the motion guard keeps the arm to
    front_camera: str = "0"
    wrist_camera: str = "2"
    exposure: float | None = None  # of every camera, us; a D435 needs it
    max_answer_s: float = 5.0  # an action later than this after what it answers is not played; the arm rests meanwhile
    image_height: int = 96
    image_width: int = 96

    def session(self) -> Session:
        """Return the same as the project's own programs are told. UserError for a value that is not allowed."""
        cameras = {"front": self.front_camera, "wrist": self.wrist_camera}
        return Session(
            kind=self.kind,
            ip=self.ip,
            rpc_port=self.rpc_port,
            state_port=self.state_port,
            cnde_port=self.cnde_port,
            servo_port=self.servo_port,
            camera_port=self.camera_port,
            bench_port=self.bench_port,
            start=self.start if self.kind == EMULATOR else "never",
            servo=self.servo,
            deadline_s=self.deadline_s,
            gripper_index=self.gripper_index,
            speed_percent=self.speed_percent,
            workspace=self.workspace,
            exposure=self.exposure,
            cameras={name: int(device) if device.isdigit() else device for name, device in cameras.items()},
        )
