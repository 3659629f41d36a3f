"""The emulator's UDP port 20007: ServoJ, ServoMoveStart and ServoMoveEnd as text, since V3.9.4.

Replies carry the call's code as content; the vendor does not document their form.
"""

import contextlib
import socket
import threading

import numpy as np

from real.emulator.accidents import Accidents, Chance
from real.emulator.controller import BAD_COUNT, BAD_VALUE, Controller
from real.fairino import text_frames

SERVO_J_ARGUMENTS = 16  # 6 joints, 4 external axes, acc, vel, cmdT, filterT, gain, id
WAKE_S = 0.2


class UdpServer:
    """Serves one socket in a thread of its own."""

    def __init__(self, address: tuple[str, int], controller: Controller, accidents: Accidents, seed: int = 0):
        self._controller = controller
        self.chance = Chance(accidents.amount, np.random.default_rng(seed))
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(WAKE_S)
        self.address = self._socket.getsockname()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="udp", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(2 * WAKE_S)
        self._socket.close()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                data, client = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            except OSError:
                return
            if self.chance.amount("power_loss") or self.chance.happens("lost_udp"):
                continue
            for _ in range(2 if self.chance.happens("doubled_udp") else 1):
                self._serve(data, client)

    def _serve(self, data: bytes, client: tuple[str, int]) -> None:
        for frame in text_frames.decode(data):
            reply = text_frames.encode(frame.count, frame.command, str(self._call(frame)))
            with contextlib.suppress(OSError):  # nobody has to listen
                self._socket.sendto(reply, client)

    def _call(self, frame: text_frames.TextFrame) -> int:
        try:
            name, arguments = text_frames.read_call(frame.content)
        except ValueError:
            return BAD_VALUE
        match frame.command, name:
            case text_frames.SERVO_J, "ServoJ":
                if len(arguments) != SERVO_J_ARGUMENTS:
                    return BAD_COUNT
                return self._controller.servo_j(arguments[:6], arguments[12], int(arguments[15]), waits=False)
            case text_frames.SERVO_START, "ServoMoveStart":
                return self._controller.servo_start()
            case text_frames.SERVO_END, "ServoMoveEnd":
                return self._controller.servo_end()
        return BAD_VALUE
