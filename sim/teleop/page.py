"""The operator's live view: a page on this machine's loopback with images, state, instruction, sub-task and guard.

Over ssh, forward the port (`ssh -L 8080:127.0.0.1:8080 ...`). Images are encoded only while a browser
is connected; the episode's loop only stores the newest step here.
"""

import io
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

import numpy as np
from PIL import Image

from sim.core.errors import UserError
from sim.core.estimate import Estimate
from sim.episode.loop import Step
from sim.guard.motion_guard import MotionGuard
from sim.teleop.live_view import HTML

HOST = "127.0.0.1"
IMAGE_S = 0.05
QUALITY = 80


class LivePage:
    """Serves from construction to `close`; satisfies `sim.episode.loop.Recorder`. Port 0 takes a free one."""

    def __init__(self, port: int = 0):
        self.guard: MotionGuard | None = None
        self.estimates: Callable[[], list[Estimate]] = list  # where the agent believes that things are
        self.subtasks: Callable[[], list[str]] = list  # that it named in the episode; the last is under way
        self._now: dict = {"instruction": "nothing is played yet", "cameras": []}
        self._images: dict[str, np.ndarray] = {}
        self.ending = threading.Event()
        try:
            self._server = _Server((HOST, port), _Handler)
        except OSError as error:
            raise UserError(
                f"page_port={port} cannot be used ({error.strerror}); give another, or 0 for a free one"
            ) from error
        self._server.page = self
        self.url = f"http://{HOST}:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="page", daemon=True).start()

    def add(self, step: Step) -> None:
        observation = step.observation
        self._images = dict(observation.images.items())  # rendered here, in the renderer's thread
        change_deg = np.rad2deg((step.requested - step.executed)[:-1].astype(float))
        change_deg = np.nan_to_num(change_deg, posinf=0.0, neginf=0.0)  # JSON knows neither nan nor infinity
        report = self.guard.report if self.guard else None
        self._now = {
            "instruction": observation.instruction,
            "cameras": list(self._images),
            "subtask": "".join(self.subtasks()[-1:]),
            "actor": "the operator" if step.flags.get("intervention") else "the policy",
            "joints_deg": np.rad2deg(observation.state[:-1]).round(1).tolist(),
            "gripper_open": round(float(observation.state[-1]), 2),
            "requested_minus_executed_deg": change_deg.round(2).tolist(),
            "found": {
                one.name: {"pos_m": np.round(one.pos_w, 3).tolist(), "within_mm_95": round(1e3 * one.within_m)}
                for one in self.estimates()
            },
            "age_s": round(observation.age_s, 3),
            "guard": dict(report.counts) if report else {},
            "guard_latched": report.latched if report else "",
            "success": step.feedback.success,
        }

    def now(self) -> dict:
        """Return what the page shows beside the images."""
        return self._now

    def jpeg(self, camera: str) -> bytes:
        """Return the newest image of a camera. KeyError for an unknown one."""
        out = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(self._images[camera])).save(out, "JPEG", quality=QUALITY)
        return out.getvalue()

    def close(self) -> None:
        self.ending.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> "LivePage":
        return self

    def __exit__(self, *_) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    page: LivePage


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # noqa: N802
        page = cast(_Server, self.server).page
        try:
            if self.path == "/":
                self._answer(HTML.encode(), "text/html; charset=utf-8")
            elif self.path == "/now":
                self._answer(json.dumps(page.now()).encode(), "application/json")
            elif self.path.startswith("/image/"):
                self._stream(page, self.path.removeprefix("/image/"))
            else:
                self.send_error(404)
        except KeyError:
            self.send_error(404)
        except OSError:
            self.close_connection = True  # the browser disconnected

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, page: LivePage, camera: str) -> None:
        """Send motion JPEG: image after image in one response."""
        image = page.jpeg(camera)
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=image")
        self.end_headers()
        while not page.ending.wait(IMAGE_S):
            head = f"--image\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image)}\r\n\r\n"
            self.wfile.write(head.encode() + image + b"\r\n")
            image = page.jpeg(camera)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep the operator's terminal free of request logs."""
