"""The two ports that a real controller does not have: camera images, and the bench that a person sets up.

Camera port: the request {"camera": "front"} is answered by a JSON line {"shape": [H, W, 3], "age_s": s since
the image was taken, "bytes": n} and n bytes: RGB, and with "depth": true the millimetres of every pixel behind it, two
bytes each, the lower one first. Bench port: requests {"do": name, ...}.
"""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np

from real.core.json_lines import Answer
from real.emulator.controller import Controller
from real.emulator.fault_injection import FOREVER, FaultInjector
from real.emulator.twin import Twin
from sim.core.errors import UserError, nearest

RENDER_TIMEOUT_S = 20.0  # the first image on a loaded machine
MAX_SEED = 2**63 - 1


class CameraRenderer:
    """One thread that owns the OpenGL context and renders the requested images."""

    def __init__(self, twin: Twin):
        self._twin = twin
        self._requests: queue.Queue[tuple[str, bool, Future] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="cameras", daemon=True)
        self._thread.start()
        for camera in twin.robot.camera_names:  # creating the context takes half a second: before any client is served
            self.handle({"camera": camera})

    def handle(self, request: dict) -> Answer:
        camera = request["camera"]
        if camera not in self._twin.robot.camera_names:
            raise UserError(nearest(camera, self._twin.robot.camera_names, "camera"))
        wants_depth, rendered = request.get("depth", False) is True, Future()
        if wants_depth and not self._twin.measures_depth:
            raise UserError(f"camera {camera} measures no depth; start the emulator with render.depth=true")
        self._requests.put((camera, wants_depth, rendered))
        try:
            image, depth, stamp_s = rendered.result(RENDER_TIMEOUT_S)
        except TimeoutError as error:
            raise RuntimeError(f"{camera} was not rendered within {RENDER_TIMEOUT_S:g} s") from error
        return {"shape": list(image.shape), "age_s": time.monotonic() - stamp_s}, image.tobytes() + depth

    def close(self) -> None:
        self._requests.put(None)
        self._thread.join(RENDER_TIMEOUT_S)

    def _run(self) -> None:
        while (item := self._requests.get()) is not None:
            camera, wants_depth, rendered = item
            try:
                rendered.set_result(self._twin.render(camera, depth=wants_depth))
            except UserError as error:  # of a machine that has nothing to draw with
                rendered.set_exception(error)
            # Whatever OpenGL raises is an answer to the client, not the end of this thread.
            except Exception as error:  # noqa: BLE001
                rendered.set_exception(RuntimeError(f"cannot render {camera}: {error}"))
        self._twin.close()


class BenchCommands:
    """What a person does at a real bench, the simulator's ground truth, and faults to inject."""

    def __init__(self, controller: Controller, injector: FaultInjector, fault_counts: Callable[[], dict]):
        self._controller, self._twin, self._injector = controller, controller.twin, injector
        self._commands = {
            "reset": self._reset,
            "task": lambda request: {"task": self._twin.task},
            "success": lambda request: {"success": self._twin.success()},
            "ground_truth": lambda request: {name: value.tolist() for name, value in self._twin.ground_truth().items()},
            "episode_record": lambda request: self._twin.episode_record(),
            "inject": self._inject,
            "guide": self._guide,
            "monitor": self._monitor,
            "fault_counts": lambda request: fault_counts(),
        }

    def handle(self, request: dict) -> Answer:
        name = request.get("do", "")
        if not isinstance(name, str) or name not in self._commands:
            raise UserError(nearest(str(name), self._commands, "bench command"))
        return self._commands[name](request)

    def _reset(self, request: dict) -> dict:
        seed = request["seed"]
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= MAX_SEED:
            raise UserError(f"seed={seed!r}: expected a whole number from 0 on")
        self._controller.place(seed)
        return self._twin.episode()

    def _monitor(self, request: dict) -> dict:
        speed_rad_s = float(np.abs(self._twin.speed_rad_s()).max())
        return {
            **self._controller.monitor.report(),
            "in_servo": self._controller.in_servo,
            "speed_rad_s": speed_rad_s,
        }

    def _guide(self, request: dict) -> dict:
        self._controller.guide(request["joint_deg"])
        return {}

    def _inject(self, request: dict) -> dict:
        for_s = request.get("for_s")
        self._injector.inject(request["what"], request.get("amount"), FOREVER if for_s is None else for_s)
        return {}
