"""The emulator's TCP port 8080: text frames that pause, resume and stop planned motion.

Each is answered by a frame of the same form whose content is 1 for done and 0 otherwise, as the vendor's SDK reads it.
"""

import socketserver
import threading

from real.emulator.controller import Controller
from real.fairino import text_frames

PAUSE, RESUME, STOP = 103, 104, 102
MAX_BYTES = 1 << 16


class TextServer(socketserver.ThreadingTCPServer):
    """Serves the commands of one controller."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], controller: Controller):
        self._commands = {
            PAUSE: controller.drives.pause,
            RESUME: controller.drives.resume,
            STOP: lambda: not controller.stop_motion(),
        }
        self._lock = controller.lock
        super().__init__(address, _TextHandler)

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def answer(self, frame: text_frames.TextFrame) -> bytes:
        with self._lock:
            done = self._commands.get(frame.command, bool)()
        return text_frames.encode(frame.count, frame.command, str(int(done)))

    def handle_error(self, request, client_address) -> None:
        """Ignore a client that hung up."""


class _TextHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        server: TextServer = self.server  # pyright: ignore[reportAssignmentType]
        received = b""
        while len(received) < MAX_BYTES and (data := self.request.recv(4096)):
            received += data
            if frames := text_frames.decode(received):
                for frame in frames:
                    self.request.sendall(server.answer(frame))
                received = b""
