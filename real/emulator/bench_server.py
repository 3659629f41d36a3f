"""The two ports a real controller does not have: camera pictures, and the bench an operator tends.

Camera port: asked {"camera": "front"}, answers a JSON line {"shape": [H, W, 3], "age_s": s since
the picture was taken, "bytes": n} and n bytes of RGB. Bench port: asked {"do": name, ...}.
"""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np

from real.core.json_lines import Answer
from real.emulator.accidents import ALWAYS, Accidents
from real.emulator.controller import Controller
from real.emulator.twin import Twin
from sim.core.errors import UserError, nearest

RENDER_TIMEOUT_S = 20.0  # the first picture on a loaded machine


class CameraRoom:
    """One thread that owns the OpenGL context and draws what it is asked for."""

    def __init__(self, twin: Twin):
        self._twin = twin
        self._wanted: queue.Queue[tuple[str, Future] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="cameras", daemon=True)
        self._thread.start()
        for camera in twin.robot.camera_names:  # the context takes half a second: before anyone is served
            self.handle({"camera": camera})

    def handle(self, request: dict) -> Answer:
        camera = request["camera"]
        if camera not in self._twin.robot.camera_names:
            raise UserError(nearest(camera, self._twin.robot.camera_names, "camera"))
        drawn: Future = Future()
        self._wanted.put((camera, drawn))
        try:
            image, stamp_s = drawn.result(RENDER_TIMEOUT_S)
        except TimeoutError as error:
            raise RuntimeError(f"{camera} was not drawn within {RENDER_TIMEOUT_S:g} s") from error
        return {"shape": list(image.shape), "age_s": time.monotonic() - stamp_s}, image.tobytes()

    def close(self) -> None:
        self._wanted.put(None)
        self._thread.join(RENDER_TIMEOUT_S)

    def _run(self) -> None:
        while (item := self._wanted.get()) is not None:
            camera, drawn = item
            try:
                drawn.set_result(self._twin.render(camera))
            # Whatever OpenGL raises belongs to the client who asked, not to this thread.
            except Exception as error:  # noqa: BLE001
                drawn.set_exception(RuntimeError(f"cannot draw {camera}: {error}"))
        self._twin.close()


class Bench:
    """What hands and eyes do on a real bench, and the accidents that can be rehearsed."""

    def __init__(self, controller: Controller, accidents: Accidents, tally: Callable[[], dict]):
        self._controller, self._twin, self._accidents = controller, controller.twin, accidents
        self._commands = {
            "reset": self._reset,
            "success": lambda request: {"success": self._twin.success()},
            "ground_truth": lambda request: {name: value.tolist() for name, value in self._twin.ground_truth().items()},
            "draws": lambda request: {"draws": self._twin.draws()},
            "accident": self._accident,
            "lead": self._lead,
            "witness": self._witness,
            "tally": lambda request: tally(),
        }

    def handle(self, request: dict) -> Answer:
        name = request.get("do", "")
        if name not in self._commands:
            raise UserError(nearest(name, self._commands, "bench command"))
        return self._commands[name](request)

    def _reset(self, request: dict) -> dict:
        self._controller.place(int(request["seed"]))
        return self._twin.episode()

    def _witness(self, request: dict) -> dict:
        speed_rad_s = float(np.abs(self._twin.speed_rad_s()).max())
        about = {"in_servo": self._controller.in_servo, "speed_rad_s": speed_rad_s}
        return {**self._controller.witness.report(), **about}

    def _lead(self, request: dict) -> dict:
        self._controller.lead(request["joint_deg"])
        return {}

    def _accident(self, request: dict) -> dict:
        for_s = request.get("for_s")
        self._accidents.cause(request["what"], request.get("amount"), ALWAYS if for_s is None else float(for_s))
        return {}
