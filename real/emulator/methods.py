"""The methods that the emulated controller serves: by wire name, with the release's argument counts.

Arguments, order and what changed in which release: the vendor's Python SDK 2.1.2 (V3.8.2) to 2.2.6
(V3.9.6) and its change list. What a later release has is unknown to an earlier one.
"""

from collections.abc import Callable

import numpy as np

from real.emulator.controller import BAD_VALUE, FAILED, OK, Controller
from real.emulator.moves import Moves
from real.emulator.state_server import StateServer
from real.emulator.tooling import WRONG_TOOL

MODEL = "FR3-V1-001(V6.0)"
SERVOJ_ID, FLAT_MOVEL, LOAD_NUMBER, QUEUE_CLEAR = (3, 8, 3), (3, 8, 5), (3, 8, 6), (3, 8, 7)
MIN_PERIOD_MS, MAX_PERIOD_MS = 1, 1000
WRONG_PERCENT = 40
Table = dict[str, tuple[int, Callable]]


class Methods:
    """Builds the table of one controller."""

    def __init__(self, controller: Controller, ip: str, states: StateServer):
        self._c, self._ip, self._states = controller, ip, states
        self._moves = Moves(controller)

    def table(self) -> Table:
        """name -> (number of arguments, function)."""
        return {**self._setup(), **self._motion(), **self._reading_back(), **self._tools(), **self._gripper()}

    def _setup(self) -> Table:
        c = self._c
        return {
            "GetControllerIP": (0, lambda: [OK, self._ip]),
            "GetSoftwareVersion": (0, lambda: [OK, MODEL, "emulator", c.firmware]),
            "Mode": (1, c.set_mode),
            "RobotEnable": (1, c.set_enabled),
            "SetSpeed": (1, self._set_speed),
            "ResetAllError": (0, c.reset_errors),
            "SetRobotRealtimeStateSamplePeriod": (1, self._set_period),
            "GetRobotRealtimeStateSamplePeriod": (0, lambda: [OK, round(1000 * self._states.period_s)]),
            "SetAnticollision": (3, lambda mode, levels, save: c.collision.set_levels(mode, levels)),
            "SetCollisionStrategy": (5, lambda strategy, *rest: c.collision.set_strategy(strategy)),
        }

    def _motion(self) -> Table:
        c, since = self._c, self._c.version
        methods: Table = {
            "ServoMoveStart": (0, c.servo_start),
            "ServoMoveEnd": (0, c.servo_end),
            "ServoJ": (8, self._servo_j) if since >= SERVOJ_ID else (7, self._servo_j),
            "StopMotion": (0, c.stop_motion),
            "DragTeachSwitch": (1, c.drag_teach),
            "IsInDragTeach": (0, lambda: [OK, int(c.dragged)]),
            "MoveJ": (11, self._move_j),
            "MoveL": (1, self._move_l_flat) if since >= FLAT_MOVEL else (13, self._move_l),
            "MoveCart": (8, self._move_cart),
        }
        if since >= QUEUE_CLEAR:
            methods["MotionQueueClear"] = (0, c.stop_motion)
        return methods

    def _reading_back(self) -> Table:
        c, moves = self._c, self._moves
        return {
            "GetRobotErrorCode": (0, lambda: [OK, c.main_code, c.sub_code]),
            "GetRobotMotionDone": (0, lambda: [OK, int(not c.in_motion())]),
            "GetActualJointPosDegree": (1, lambda flag: self._answer(lambda: c.measured_deg().tolist())),
            "GetActualTCPPose": (1, lambda flag: self._answer(lambda: moves.forward(c.measured_deg().tolist()))),
            "GetActualToolFlangePose": (1, lambda flag: self._answer(lambda: c.readings()["flange_pose"].tolist())),
            "GetForwardKin": (1, lambda joints: self._answer(lambda: moves.forward(joints))),
            "GetInverseKin": (3, lambda kind, pose, config: self._inverse(kind, pose, c.drives.end_deg)),
            "GetInverseKinRef": (3, lambda kind, pose, near: self._inverse(kind, pose, np.array(near, float))),
            "GetInverseKinHasSolution": (3, self._has_inverse),
            "GetJointSoftLimitDeg": (1, lambda flag: self._answer(self._soft_limits)),
        }

    def _tools(self) -> Table:
        tooling = self._c.tooling
        centre = (4, self._set_load_centre) if self._c.version >= LOAD_NUMBER else (3, tooling.set_load_centre)
        return {
            "SetToolCoord": (6, lambda number, pose, *rest: tooling.set_tool(number, pose, active=True)),
            "SetToolList": (5, lambda number, pose, *rest: tooling.set_tool(number, pose, active=False)),
            "SetLoadWeight": (2, lambda number, kg: tooling.set_load(kg)),
            "SetLoadCoord": centre,
            "GetTCPOffset": (1, lambda flag: self._answer(lambda: tooling.tools[tooling.tool])),
            "GetTargetPayload": (1, lambda flag: self._answer(lambda: [tooling.load_kg])),
            "GetTargetPayloadCog": (1, lambda flag: self._answer(lambda: tooling.load_mm)),
        }

    def _gripper(self) -> Table:
        c = self._c
        return {
            "SetGripperConfig": (4, lambda company, device, software, bus: OK),
            "ActGripper": (2, c.activate_gripper),
            "MoveGripper": (10, lambda index, percent, speed, *rest: c.move_gripper(percent, speed)),
            "GetGripperMotionDone": (0, lambda: self._answer(lambda: [0, int(not c.gripper_moving())])),
        }

    def _answer(self, read: Callable[[], list]) -> list | int:
        """Getters answer 14 while the controller is faulted, as seen on hardware."""
        return FAILED if self._c.main_code else [OK, *read()]

    def _soft_limits(self) -> list[float]:
        return np.column_stack([self._c.low_deg, self._c.high_deg]).ravel().tolist()

    def _servo_j(self, joints: list, exaxis: list, acc: float, vel: float, cmd_period_s: float, *rest) -> int:
        number = rest[2] if len(rest) > 2 else None  # after filterT and gain
        return self._c.servo_j(joints, cmd_period_s, number)

    def _move_j(self, joints, pose, tool, user, vel, acc, ovl, exaxis, blend, offset_flag, offset) -> int:  # noqa: PLR0913
        return BAD_VALUE if offset_flag else self._moves.move_j(joints, tool, user, vel * ovl / 100, blend)

    def _move_l(self, joints, pose, tool, user, vel, acc, ovl, blend, *rest) -> int:  # noqa: PLR0913
        offset_flag = rest[3]  # after blendMode, exaxis and search
        return BAD_VALUE if offset_flag else self._moves.move_l(joints, pose, tool, user, vel * ovl / 100, blend)

    def _move_l_flat(self, values: list) -> int:
        """33 numbers in one list, since V3.8.5. A wrong layout once moved an arm 300 mm astray."""
        if len(values) != 33:
            return BAD_VALUE
        joints, pose, (tool, user, vel, acc, ovl, blend, mode) = values[:6], values[6:12], values[12:19]
        return self._move_l(joints, pose, tool, user, vel, acc, ovl, blend, mode, values[19:23], *values[23:25])

    def _move_cart(self, pose, tool, user, vel, acc, ovl, blend, config) -> int:  # noqa: PLR0913
        return self._moves.move_cart(pose, tool, user, vel * ovl / 100, blend)

    def _inverse(self, kind: int, pose: list, near_deg: np.ndarray) -> list | int:
        found = FAILED if self._c.main_code else self._moves.inverse(kind, pose, near_deg)
        return [found] if isinstance(found, int) else [OK, *found]

    def _has_inverse(self, kind: int, pose: list, near: list) -> list | int:
        return self._answer(lambda: [not isinstance(self._moves.inverse(kind, pose, np.array(near, float)), int)])

    def _set_load_centre(self, x_mm: float, y_mm: float, z_mm: float, number: int) -> int:
        return self._c.tooling.set_load_centre(x_mm, y_mm, z_mm) if number >= 0 else WRONG_TOOL

    def _set_speed(self, percent: int) -> int:
        if not 0 < percent <= 100:
            return WRONG_PERCENT
        self._c.speed_percent = percent
        return OK

    def _set_period(self, period_ms: int) -> int:
        if not MIN_PERIOD_MS <= period_ms <= MAX_PERIOD_MS:
            return BAD_VALUE
        self._states.period_s = period_ms / 1000
        return OK
