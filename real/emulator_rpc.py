"""The emulator's XML-RPC side: method names, argument counts and return shapes of the controller."""

import xmlrpc.client
from collections.abc import Callable
from socketserver import ThreadingMixIn
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

import numpy as np

from real.controller import FAILED, OK, Controller
from real.rpc import UNKNOWN_METHOD, WRONG_ARITY

MODEL = "FR3-V1-001(V6.0)"
SERVOJ_ID_SINCE = (3, 8, 3)
MIN_PERIOD_MS, MAX_PERIOD_MS = 1, 1000

# DH table of the arm (manual table 2.4-1): a mm, d mm, alpha rad.
_DH = ((0, 140, np.pi / 2), (-280, 0, 0), (-240, 0, 0), (0, 102, np.pi / 2), (0, 102, -np.pi / 2), (0, 100, 0))


def forward_deg(joint_deg: list) -> list[float]:
    """[x, y, z mm, rx, ry, rz deg] of the flange in the base frame; R = Rz Ry Rx."""
    pose = np.eye(4)
    for angle, (a, d, alpha) in zip(np.deg2rad(joint_deg), _DH, strict=True):
        c, s, ca, sa = np.cos(angle), np.sin(angle), np.cos(alpha), np.sin(alpha)
        link = [[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0, sa, ca, d], [0, 0, 0, 1]]
        pose = pose @ np.array(link)
    r = pose[:3, :3]
    angles = [
        np.arctan2(r[2, 1], r[2, 2]),
        np.arctan2(-r[2, 0], np.hypot(r[0, 0], r[1, 0])),
        np.arctan2(r[1, 0], r[0, 0]),
    ]
    return [*map(float, pose[:3, 3]), *map(float, np.rad2deg(angles))]


class Methods:
    """The methods by wire name, each with the number of arguments it takes on this release."""

    def __init__(self, controller: Controller, ip: str, set_state_period: Callable[[float], None]):
        self._controller, self._ip, self._set_state_period = controller, ip, set_state_period
        c = controller
        self._table: dict[str, tuple[int, Callable]] = {
            "GetControllerIP": (0, lambda: [OK, ip]),
            "GetSoftwareVersion": (0, lambda: [OK, MODEL, "emulator", c.firmware]),
            "Mode": (1, c.set_mode),
            "RobotEnable": (1, c.set_enabled),
            "SetSpeed": (1, self._set_speed),
            "ServoMoveStart": (0, c.servo_start),
            "ServoMoveEnd": (0, c.servo_end),
            "ServoJ": (8 if c.version >= SERVOJ_ID_SINCE else 7, self._servo_j),
            "StopMotion": (0, c.stop_motion),
            "ResetAllError": (0, c.reset_errors),
            "GetRobotErrorCode": (0, lambda: [OK, c.main_code, c.sub_code]),
            "GetRobotMotionDone": (0, lambda: [OK, int(not c.in_servo)]),
            "GetActualJointPosDegree": (1, lambda flag: self._reading(lambda: self._joint_deg())),
            "GetForwardKin": (1, lambda joints: self._reading(lambda: forward_deg(joints))),
            "GetJointSoftLimitDeg": (1, lambda flag: self._reading(self._soft_limits)),
            "SetGripperConfig": (4, lambda company, device, software, bus: OK),
            "ActGripper": (2, self._act_gripper),
            "MoveGripper": (10, lambda index, percent, speed, *rest: c.move_gripper(percent, speed)),
            "GetGripperMotionDone": (0, lambda: self._reading(lambda: [0, int(not c.gripper_moving())])),
            "SetRobotRealtimeStateSamplePeriod": (1, self._set_period),
        }

    def _dispatch(self, method: str, params: tuple):
        """Called by the server for every request."""
        if method not in self._table:
            raise xmlrpc.client.Fault(UNKNOWN_METHOD, f"unknown method {method}")
        count, function = self._table[method]
        if len(params) != count:
            raise xmlrpc.client.Fault(WRONG_ARITY, f"{method} takes {count} arguments, got {len(params)}")
        return function(*params)

    def _reading(self, read: Callable[[], list]) -> list | int:
        """Getters of the arm answer 14 while it is faulted, as seen on hardware."""
        return FAILED if self._controller.main_code else [OK, *read()]

    def _joint_deg(self) -> list[float]:
        return np.rad2deg(self._controller.twin.state()[:-1].astype(float)).tolist()

    def _soft_limits(self) -> list[float]:
        robot = self._controller.twin.robot
        pairs = np.column_stack([robot.position_min_rad, robot.position_max_rad])
        return np.rad2deg(pairs).ravel().tolist()

    def _servo_j(self, joints: list, exaxis: list, acc: float, vel: float, cmd_period_s: float, *rest) -> int:
        return self._controller.servo_j(joints, cmd_period_s)

    def _act_gripper(self, index: int, action: int) -> int:
        self._controller.gripper_active = action == 1
        return OK

    def _set_speed(self, percent: int) -> int:
        if not 0 < percent <= 100:
            return 40
        self._controller.speed_percent = percent
        return OK

    def _set_period(self, period_ms: int) -> int:
        if not MIN_PERIOD_MS <= period_ms <= MAX_PERIOD_MS:
            return 4
        self._set_state_period(period_ms / 1000)
        return OK


class _Handler(SimpleXMLRPCRequestHandler):
    rpc_paths = ("/RPC2", "/")
    protocol_version = "HTTP/1.1"  # keeps the connection
    disable_nagle_algorithm = True


class RpcServer(ThreadingMixIn, SimpleXMLRPCServer):
    """A thread a connection; a blocked ServoJ holds up nobody else."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], methods: Methods):
        super().__init__(address, requestHandler=_Handler, logRequests=False)
        self.register_instance(methods)

    def handle_error(self, request, client_address) -> None:
        """A client that hung up is no news."""
