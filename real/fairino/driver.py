"""Driver of the FAIRINO controller: joints in rad, gripper 0 (closed) .. 1 (open).

Implements the wire protocols (xmlrpc.py, state_link.py, servo_link.py). Reads mode, enable, fault and stop
state back before servo mode begins, never clears a fault, and has a deadline on every call. The
controller holds the last ServoJ target when the stream stops and has no watchdog of its own: a client that
streams must also stop (real.control does).
"""

import logging
import threading
import time
from collections.abc import Callable

import numpy as np

from real.core.checks import Check
from real.core.faults import RobotFault, RobotUnreachable
from real.fairino.checks import await_first_state, await_steady, controller_checks, load_checks, outside, state_checks
from real.fairino.controller_state import ControllerState
from real.fairino.fault_codes import Code, ControllerFault, fault_in, readiness_fault
from real.fairino.gripper import GripperWorker
from real.fairino.ports import Ports, address_of
from real.fairino.protocol import AUTOMATIC, MANUAL
from real.fairino.servo_link import SERVO_WAYS, choose_servo
from real.fairino.state_frame import parse_version
from real.fairino.state_link import StateLink
from real.fairino.state_ports import CndePort, LegacyPort
from real.fairino.stop_link import StopLink
from real.fairino.touch import touch_of
from real.fairino.xmlrpc import RpcLink
from sim.core.errors import UserError, nearest
from sim.robots.fairino_fr3 import SERVO_PERIOD_S, fairino_fr3
from sim.robots.robot import Robot

CONNECT_S = 3.0
MAX_STATE_AGE_S = 0.25
READ_BACK_S = 3.0
DISAGREE_DEG = 2.0  # between the two ways of reading the joints
SETTLE_S, STILL_DEG_S, STILL_APART_DEG = 3.0, 1.0, 0.3
LIMIT_TOLERANCE_RAD = 1e-4
LAST_SERVOJ_S = 0.1  # how long a stop waits for a ServoJ in progress
_log = logging.getLogger(__name__)


class FairinoDriver:
    """One controller, owned by one program.

    Constructing connects: RobotUnreachable when nothing answers within CONNECT_S. servo: how ServoJ is
    sent; auto is UDP where the release has it. The state comes from CNDE where it is offered.
    """

    def __init__(
        self, ip: str, ports: Ports = Ports(), *,
        robot: Robot | None = None, deadline_s: float = 1.0, gripper_index: int = 1, servo: str = "auto",
    ):  # fmt: skip
        if servo not in SERVO_WAYS:
            raise UserError(nearest(servo, SERVO_WAYS, "robot.servo"))
        self.robot = robot = robot or fairino_fr3()
        ip = address_of(ip)
        rpc = (ip, ports.rpc)
        # One connection per purpose: a stop never waits for the answer of another call.
        self._query, self._motion = RpcLink(rpc, deadline_s), RpcLink(rpc, deadline_s)
        self._stopper = StopLink(RpcLink(rpc, deadline_s))
        self._sending = threading.Lock()
        self._streaming = threading.Event()
        self._last_sent_rad = np.zeros(robot.joints)
        self._query("GetControllerIP")  # the cheapest call; a fault may make it answer 14
        self._on_fault: Callable[[RobotFault, float], None] | None = None
        self.states = StateLink([CndePort(ip, ports.cnde), LegacyPort(ip, ports.state)])
        self.states.listeners.append(self._tell_fault)
        try:
            await_first_state(self.states, self._query, CONNECT_S)
            self.model, self.firmware, self.core = self._read_version()
            self.version = parse_version(self.firmware)
            udp = (ip, ports.servo), self.states.servo_count
            self.servo_link = choose_servo(servo, self._motion, self.version, *udp)
        except UserError:
            self.states.close()
            raise
        self.gripper = GripperWorker(RpcLink(rpc, deadline_s), gripper_index)

    def _read_version(self) -> tuple[str, str, str]:
        """Return model, release and the core's own number. While faulted queries answer 14: raises the fault."""
        try:
            model, release, core, *_ = self._query.query("GetSoftwareVersion", least=3)
        except RobotFault:
            self._raise_controller_fault()
            raise
        return str(model), str(release), str(core)

    # ---- reading -------------------------------------------------------------------------------

    def controller_state(self, at_s: float | None = None) -> ControllerState:
        """Return the newest state, or the nearest to `at_s`. RobotUnreachable: none within MAX_STATE_AGE_S."""
        state, age_s = self.states.latest(), self.states.age_s
        if state is None or age_s > MAX_STATE_AGE_S:
            raise RobotUnreachable(
                f"the last state of the controller is {age_s:.2f} s old, limit {MAX_STATE_AGE_S:g} s"
                f"{self.states.rejection}"
            )
        return state if at_s is None else self.states.nearest(at_s)

    def state(self, at_s: float | None = None) -> tuple[np.ndarray, float]:
        """Return (D,) float32 joints in rad and gripper opening, and when it was received (monotonic s)."""
        state = self.controller_state(at_s)
        joints = np.deg2rad(state.joint_deg)
        return np.array([*joints, state.gripper_percent / 100], np.float32), state.stamp_s

    def touch(self, at_s: float | None = None) -> np.ndarray | None:  # as `RobotDriver` says
        return touch_of(self.controller_state(at_s), self.robot.gripper_force_n)

    @property
    def links(self) -> str:  # as `RobotDriver` says
        return f"state from {self.states.protocol}, ServoJ by {self.servo_link.name}"

    @property
    def state_age_s(self) -> float:
        return self.states.age_s

    @property
    def powered(self) -> bool:
        return self.controller_state().enabled

    @property
    def manual(self) -> bool:
        return self.controller_state().robot_mode == MANUAL

    def watch(self, on_fault: Callable[[RobotFault, float], None] | None) -> None:
        """Call `on_fault(fault, stamp_s)` at a state in which a streamed arm is faulted or not ready; None: no more."""
        self._on_fault = on_fault

    def _tell_fault(self, state: ControllerState) -> None:
        on_fault = self._on_fault
        if on_fault is not None and (fault := fault_in(state) or readiness_fault(state)):
            on_fault(fault, state.stamp_s)

    def raise_fault(self) -> None:
        """Raise RobotFault when the controller or the gripper reports a fault or a stop. Clears nothing."""
        self._raise_controller_fault()
        self.gripper.raise_fault()

    def _raise_controller_fault(self) -> None:
        if fault := fault_in(self.controller_state()):
            raise fault

    def checks(self) -> list[Check]:  # as `RobotDriver` says
        try:
            self.raise_fault()
            fault = None
        except UserError as error:
            fault = error
        known, load = controller_checks(self.model, self.firmware, self.version), load_checks(self._query, self.robot)
        return [*known, *state_checks(self.controller_state(), fault, self.robot), *load]

    def check_ready(self) -> None:
        """Raise RobotFault or RobotUnreachable, with the remedy, when servo mode must not begin."""
        self.raise_fault()
        state = self.controller_state()
        if state.robot_mode != AUTOMATIC:
            raise ControllerFault("the controller is in manual mode; switch it to automatic")
        if not state.enabled:
            raise ControllerFault("the drives are off", Code.NOT_ENABLED)
        self._check_position(state)

    def _check_position(self, state: ControllerState) -> None:
        if why := self._disagreement(state, DISAGREE_DEG):
            raise ControllerFault(why)
        if names := outside(state.joint_deg, self.robot):
            raise ControllerFault(f"{names} outside the soft limits; jog the arm inside", Code.OUTSIDE_AT_START)

    def _disagreement(self, state: ControllerState, limit_deg: float) -> str:
        """Return how the two readings of the joints differ; empty when they agree."""
        n = self.robot.joints
        queried_deg = np.array(self._query.query("GetActualJointPosDegree", 1, least=n)[:n], float)
        apart_deg = float(np.abs(queried_deg - state.joint_deg).max())
        if apart_deg <= limit_deg:
            return ""
        return (
            f"state stream and GetActualJointPosDegree differ by {apart_deg:.1f} deg (limit {limit_deg:g}); "
            "the arm is moving or the stream is damaged"
        )

    # ---- moving --------------------------------------------------------------------------------

    def power_on(self, speed_percent: int = 100) -> None:
        """Switch to automatic mode, enabled and still, by the state. RobotFault when it does not follow."""
        self.raise_fault()
        self._query.act("Mode", AUTOMATIC)
        self._query.act("RobotEnable", 1)
        if not await_steady(self.states, READ_BACK_S, MAX_STATE_AGE_S):
            self.check_ready()
        self._query.act("SetSpeed", int(speed_percent))  # acts on the present mode, which enabling leaves for a moment
        self._end_previous_motion()

    def _end_previous_motion(self) -> None:
        """End what a client that was killed has left, servo mode or a planned motion. An arm that rests in servo mode
        need not report a motion; a refusal counts only where one is reported."""
        if moving := not self.controller_state().motion_done:
            _log.warning("a motion or servo session of another client is active: ending it (StopMotion, ServoMoveEnd)")
        try:
            self.stop()
        except RobotFault:
            if moving:
                raise

    def activate_gripper(self) -> None:
        """Activate the gripper if it is not: it may travel its whole stroke."""
        self.gripper.activate(self.controller_state())

    def set_mode(self, mode: int) -> None:
        """Set AUTOMATIC or MANUAL and read it back: the controller may ignore it silently. RobotFault then."""
        self._query.act("Mode", mode)
        ends_s = time.monotonic() + READ_BACK_S
        while self.states.wait_newer(time.monotonic(), MAX_STATE_AGE_S).robot_mode != mode:
            if time.monotonic() > ends_s:
                raise ControllerFault(f"the controller did not go to {'manual' if mode else 'automatic'} mode")

    def set_manual(self, *, on: bool) -> None:
        self.set_mode(MANUAL if on else AUTOMATIC)

    def drag_teach(self, *, on: bool) -> None:
        """Release the arm to be guided by hand, or hold it again. RobotFault where that is refused."""
        self._query.act("DragTeachSwitch", int(on))

    def settle(self) -> None:
        """Wait until the arm is at rest, by a state that agrees with the queried position: a state just received may
        have been sent before it moved. RobotFault when the arm keeps moving or the two keep differing."""
        ends_s = time.monotonic() + SETTLE_S
        while why := self._unsettled(self.states.wait_newer(time.monotonic(), MAX_STATE_AGE_S)):
            if time.monotonic() > ends_s:
                raise ControllerFault(why)

    def _unsettled(self, state: ControllerState) -> str:
        speed_deg_s = float(np.abs(state.joint_deg_s).max())
        if speed_deg_s >= STILL_DEG_S:
            return f"the arm still moves after {SETTLE_S:g} s ({speed_deg_s:.1f} deg/s)"
        return self._disagreement(state, STILL_APART_DEG)

    def start_servo(self) -> np.ndarray:
        """Enter servo mode at the present position; (joints,) rad, where the stream must begin."""
        self.check_ready()
        self._stopper.connect()
        try:
            self._motion.act("ServoMoveStart")
            present = np.deg2rad(self.states.wait_newer(time.monotonic(), MAX_STATE_AGE_S).joint_deg)
            self._last_sent_rad = present
            self._streaming.set()
            with self._sending:
                self._refuse_unsafe(present)
                self.servo_link.begin(np.rad2deg(present).tolist())
        except BaseException as error:  # Ctrl-C too leaves no arm in servo mode
            self._try_stop(error)
            raise
        return present

    def servo(self, joints_rad: np.ndarray) -> None:
        """Send one ServoJ, to be called every SERVO_PERIOD_S.

        The last check before the wire: raises RobotFault for a target outside the soft limits or
        further from the last one than the arm can move, and sends nothing then.
        """
        joints_rad = np.asarray(joints_rad, float)
        with self._sending:
            self._refuse_unsafe(joints_rad)
            self.servo_link.send(np.rad2deg(joints_rad).tolist())
            self._last_sent_rad = joints_rad

    def _refuse_unsafe(self, joints_rad: np.ndarray) -> None:
        if not self._streaming.is_set():
            raise ControllerFault("ServoJ outside servo mode: before start_servo or after a stop")
        if joints_rad.shape != self._last_sent_rad.shape or not np.isfinite(joints_rad).all():
            raise ControllerFault(f"ServoJ target {joints_rad} is not {self.robot.joints} finite angles")
        low, high = np.array(self.robot.position_min_rad), np.array(self.robot.position_max_rad)
        if ((joints_rad < low - LIMIT_TOLERANCE_RAD) | (joints_rad > high + LIMIT_TOLERANCE_RAD)).any():
            raise ControllerFault(f"ServoJ target {np.rad2deg(joints_rad).round(1)} deg not sent", Code.BEYOND_LIMIT)
        step = np.abs(joints_rad - self._last_sent_rad)
        if (step > np.array(self.robot.max_speed_rad_s) * SERVO_PERIOD_S).any():
            raise ControllerFault(f"ServoJ step of {np.rad2deg(step.max()):.2f} deg not sent", Code.SERVOJ_OVERRUN)

    def stop(self) -> None:
        """Send StopMotion, then ServoMoveEnd; from any thread, also while a ServoJ hangs. Raises the first error."""
        self._streaming.clear()  # from here on `servo` refuses
        self.gripper.drop()  # nor do the fingers move after a stop
        self._stopper.stop(self._await_last_servo_j)

    def _await_last_servo_j(self) -> None:
        """Wait for the last ServoJ: one after ServoMoveEnd would block the controller for 20 s."""
        if self._sending.acquire(timeout=LAST_SERVOJ_S):
            self._sending.release()

    @property
    def stop_sent_s(self) -> float:
        """When the last StopMotion was sent, monotonic."""
        return self._stopper.sent_s

    def _try_stop(self, reason: BaseException) -> None:
        try:
            self.stop()
        except UserError as error:  # the first error is the one to raise
            reason.add_note(f"and the stop itself failed: {error}")

    @property
    def slowest_call_s(self) -> float:
        """The longest XML-RPC call so far, answered or given up."""
        return max(link.slowest_s for link in (self._query, self._motion, self._stopper.link))

    def close(self) -> None:
        """End threads and connections; nothing is sent."""
        self.gripper.close()
        self.states.close()
        self.servo_link.close()
        for link in (self._query, self._motion, self._stopper.link):
            link.close()

    def __enter__(self) -> "FairinoDriver":
        return self

    def __exit__(self, *_) -> None:
        self.close()
