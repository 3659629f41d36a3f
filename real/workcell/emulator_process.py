"""The emulator as a child process on free ports."""

import re
import subprocess
import sys
import threading
from typing import IO

from real.core.faults import RobotUnreachable
from sim.core.paths import CHECKOUT

START_S = 300.0  # a process that lives is waited for: importing alone may take over a minute on a loaded machine
END_S = 5.0
PORTS = ("rpc_port", "state_port", "cnde_port", "servo_port", "camera_port", "bench_port")


def _close(pipe: IO | None) -> None:
    if pipe is not None:
        pipe.close()


class EmulatorProcess:
    """`python -m real.emulator` on free ports of this machine. `ports` by name; ends with this process.

    image_size: (height, width) of its cameras. options: as on the program's command line.
    """

    def __init__(self, image_size: tuple[int, int], **options):
        shown = dict(zip(("render.height", "render.width"), image_size, strict=True))
        given = {**dict.fromkeys((*PORTS, "text_port"), 0), **shown, **options}
        arguments = [f"{name}={value}" for name, value in given.items()]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "real.emulator", "end_with_stdin=true", *arguments],
            cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,  # Ctrl-C reaches this program alone: it stops the arm first
        )  # fmt: skip
        self.host = str(options.get("host", "127.0.0.1"))
        self.output: list[str] = []
        self._errors: list[str] = []
        self._ready = threading.Event()
        self._readers = [
            threading.Thread(target=self._read, args=(pipe, lines), daemon=True)
            for pipe, lines in ((self._process.stdout, self.output), (self._process.stderr, self._errors))
        ]
        for reader in self._readers:
            reader.start()
        late = not self._ready.wait(START_S)
        served = dict(re.findall(r"(\w+_port)=(\d+)", "".join(self.output)))
        self.ports = {name: int(served[name]) for name in PORTS if name in served}
        if set(self.ports) != set(PORTS):
            self.stop()
            why = "".join(self._errors).strip() or (f"still busy after {START_S:g} s" if late else "it just ended")
            raise RobotUnreachable(f"the emulator did not start: {why}")

    def _read(self, stream, into: list[str]) -> None:
        for line in stream:
            into.append(line)
            if " ready on " in line:
                self._ready.set()
        self._ready.set()  # it ended

    def stop(self) -> None:
        """End the process; kill it when it does not end by itself."""
        _close(self._process.stdin)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join(END_S)
        _close(self._process.stdout)
        _close(self._process.stderr)

    def __enter__(self) -> "EmulatorProcess":
        return self

    def __exit__(self, *_) -> None:
        self.stop()
