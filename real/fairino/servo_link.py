"""Transport of ServoJ to the controller: XML-RPC, or UDP 20007 since V3.9.4."""

import contextlib
import select
import socket
import time
from collections.abc import Callable
from typing import Protocol

from real.core.faults import RobotUnreachable
from real.fairino import text_frames
from real.fairino.fault_codes import ControllerFault
from real.fairino.protocol import SERVOJ_ID_SINCE, UDP_SINCE
from real.fairino.xmlrpc import RpcLink
from sim.core.errors import UserError
from sim.robots.fairino_fr3 import SERVO_PERIOD_S

SERVO_WAYS = ("auto", "rpc", "udp")
COUNTED_S = 0.25  # the controller's counter follows within this time


class ServoLink(Protocol):
    """name: for messages. `begin` determines, with the present position, the form that the controller accepts."""

    name: str

    def begin(self, joint_deg: list[float]) -> None: ...
    def send(self, joint_deg: list[float]) -> None: ...
    def close(self) -> None: ...


class RpcServo:
    """Each call is answered by a code. 7 arguments, 8 since V3.8.3."""

    name = "XML-RPC 20003"

    def __init__(self, link: RpcLink, version: tuple[int, int, int]):
        self._link = link
        self._has_id = version >= SERVOJ_ID_SINCE
        self._number = 0

    def begin(self, joint_deg: list[float]) -> None:
        self.send(joint_deg)

    def send(self, joint_deg: list[float]) -> None:
        """Send a target. RobotFault with the controller's code, RobotUnreachable without an answer."""
        self._number += 1
        tail = (self._number,) if self._has_id else ()
        # exaxis, then acc, vel, cmdT, filterT, gain: all but cmdT "not open yet" in the manual.
        self._link.act("ServoJ", joint_deg, [0.0] * 4, 0.0, 0.0, SERVO_PERIOD_S, 0.0, 0.0, *tail)

    def close(self) -> None:
        """Do nothing: the link belongs to the driver."""


class UdpServo:
    """Sends without waiting; arrival shows in the controller's counter in the state.

    read_count: that counter, None while the state has none.
    """

    name = "UDP 20007"

    def __init__(self, address: tuple[str, int], read_count: Callable[[], int | None]):
        self.address = address
        self._read_count = read_count
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(address)
        self._socket.setblocking(False)
        self._form = "flat"
        self._number = 0
        self._seen: int | None = None
        self._seen_at_s = 0.0

    def begin(self, joint_deg: list[float]) -> None:
        """Find the text form that the controller counts. RobotFault when it counts neither."""
        for self._form in text_frames.DECIMALS:
            before, ends_s = self._read_count(), time.monotonic() + COUNTED_S
            while time.monotonic() < ends_s:
                self._transmit(joint_deg)
                time.sleep(SERVO_PERIOD_S)
                if (count := self._read_count()) is not None and before is not None and count > before:
                    self._seen, self._seen_at_s = count, time.monotonic()
                    return
        where = f"{self.address[0]}:{self.address[1]}"
        raise ControllerFault(
            f"the controller does not accept ServoJ by UDP at {where}; robot.servo=rpc streams by XML-RPC"
        )

    def send(self, joint_deg: list[float]) -> None:
        """Send a target. RobotUnreachable when the controller has not counted for COUNTED_S."""
        now = time.monotonic()
        if (count := self._read_count()) != self._seen:
            self._seen, self._seen_at_s = count, now
        if now - self._seen_at_s > COUNTED_S:
            raise RobotUnreachable(f"ServoJ by UDP does not arrive: not counted for {now - self._seen_at_s:.2f} s")
        self._transmit(joint_deg)

    def _transmit(self, joint_deg: list[float]) -> None:
        self._number += 1
        content = text_frames.servo_j(self._form, joint_deg, SERVO_PERIOD_S, self._number)
        # A full buffer or an unreachable host shows in the controller's counter.
        with contextlib.suppress(OSError):
            self._drain()
            self._socket.send(text_frames.encode(self._number, text_frames.SERVO_J, content))

    def _drain(self) -> None:
        while select.select([self._socket], [], [], 0.0)[0]:
            self._socket.recv(4096)

    def close(self) -> None:
        self._socket.close()


def choose_servo(
    servo: str, link: RpcLink, version: tuple[int, int, int], address: tuple[str, int],
    read_count: Callable[[], int | None],
) -> ServoLink:  # fmt: skip
    """Return the transport that `servo` names; auto: UDP where the release has it. UserError where it has none."""
    if servo == "udp" and version < UDP_SINCE:
        release = f"V{'.'.join(map(str, version))}"
        raise UserError(f"robot.servo=udp: release {release} takes ServoJ by XML-RPC only (robot.servo=rpc)")
    return RpcServo(link, version) if servo == "rpc" or version < UDP_SINCE else UdpServo(address, read_count)
