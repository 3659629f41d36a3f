"""The emulator's UDP port 20007: ServoJ, ServoMoveStart and ServoMoveEnd as text, since V3.9.4.

Replies carry the call's code as content; the vendor does not document their form.
"""

import contextlib
import math
import socket
import threading

import numpy as np

from real.emulator.controller import Controller
from real.emulator.fault_injection import FaultInjector, RandomFaults
from real.fairino import text_frames
from real.fairino.fault_codes import Code

SERVO_J_ARGUMENTS = 16  # 6 joints, 4 external axes, acc, vel, cmdT, filterT, gain, id
POLL_S = 0.2


class UdpServer:
    """Serves one socket in a thread of its own."""

    def __init__(self, address: tuple[str, int], controller: Controller, injector: FaultInjector, seed: int = 0):
        self._controller = controller
        self.faults = RandomFaults(injector.amount, np.random.default_rng(seed))
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(POLL_S)
        self.address = self._socket.getsockname()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="udp", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(2 * POLL_S)
        self._socket.close()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                data, client = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            except OSError:
                return
            if self.faults.amount("power_loss") or self.faults.occurs("lost_udp"):
                continue
            for _ in range(2 if self.faults.occurs("doubled_udp") else 1):
                self._serve(data, client)

    def _serve(self, data: bytes, client: tuple[str, int]) -> None:
        for frame in text_frames.decode(data):
            reply = text_frames.encode(frame.count, frame.command, str(int(self._call(frame))))
            with contextlib.suppress(OSError):  # the client may have gone
                self._socket.sendto(reply, client)

    def _call(self, frame: text_frames.TextFrame) -> int:
        try:
            return self._answer(frame.command, *text_frames.read_call(frame.content))
        except (TypeError, ValueError, LookupError, ArithmeticError):  # as of XML-RPC; the thread serves on
            return Code.WRONG_VALUE

    def _answer(self, command: int, name: str, arguments: list[float]) -> int:
        match command, name:
            case text_frames.SERVO_J, "ServoJ":
                return self._servo_j(arguments)
            case text_frames.SERVO_START, "ServoMoveStart":
                return self._controller.servo_start()
            case text_frames.SERVO_END, "ServoMoveEnd":
                return self._controller.servo_end()
        return Code.WRONG_VALUE

    def _servo_j(self, arguments: list[float]) -> int:
        if len(arguments) != SERVO_J_ARGUMENTS:
            return Code.WRONG_COUNT
        if not all(map(math.isfinite, arguments)):
            return Code.WRONG_VALUE
        return self._controller.servo_j(arguments[:6], arguments[12], int(arguments[15]), waits=False)
