"""`python -m real.emulator [key=value ...]`: the FR3's controller on this machine, around a MuJoCo twin.

Serves XML-RPC on 20003 and the state stream on 20004 as the controller does, camera pictures and
the bench on two ports of our own. Real time: 125 cycles a second by absolute deadlines; a cycle
that was missed is caught up, so that the arm does not run slow on a loaded machine.
"""

import contextlib
import signal
import sys
import threading
from dataclasses import dataclass

from real.clock import Ticker
from real.controller import Controller
from real.driver import RPC_PORT, STATE_PORT
from real.emulator_bench import Bench, CameraRoom
from real.emulator_rpc import Methods, RpcServer
from real.emulator_state import StateServer
from real.lines import LineServer
from real.options import parse_options
from real.priority import raise_priority
from real.twin import Twin
from sim.contract import SERVO_PERIOD_S
from sim.errors import UserError, nearest
from sim.world import TASKS, RenderConfig, World, WorldConfig

CAMERA_PORT, BENCH_PORT = 20100, 20101
MAX_CATCH_UP = 25  # cycles, 0.2 s; a longer pause (the machine slept) is not replayed


@dataclass(frozen=True)
class EmulatorConfig:
    """Port 0 takes a free one. Pictures are height x width pixels."""

    host: str = "127.0.0.1"  # loopback: nothing of this is meant for a network
    rpc_port: int = RPC_PORT
    state_port: int = STATE_PORT
    camera_port: int = CAMERA_PORT
    bench_port: int = BENCH_PORT
    firmware: str = "V3.8.7"
    task: str = "pick_place"
    seed: int = 0
    height: int = 96
    width: int = 96
    end_with_stdin: bool = False  # end when standard input closes, that is, with the parent process


class Emulator:
    """The servers around one controller. `world`: a sim.world.World or what behaves like it."""

    def __init__(self, config: EmulatorConfig, world: World):
        self.controller = Controller(Twin(world, config.seed), config.firmware)
        self.ending = threading.Event()
        self.ticker = Ticker(SERVO_PERIOD_S)
        with contextlib.ExitStack() as opened:
            self._states = StateServer((config.host, config.state_port), SERVO_PERIOD_S)
            opened.callback(self._states.close)
            methods = Methods(self.controller, config.host, lambda s: setattr(self._states, "period_s", s))
            self._rpc = RpcServer((config.host, config.rpc_port), methods)
            opened.callback(self._rpc.server_close)
            self._room = CameraRoom(self.controller.twin)
            opened.callback(self._room.close)
            self._cameras = LineServer((config.host, config.camera_port), self._room.handle)
            opened.callback(self._cameras.server_close)
            self._bench = LineServer((config.host, config.bench_port), Bench(self.controller, self._states).handle)
            opened.callback(self._bench.server_close)
            self._opened = opened.pop_all()

    @property
    def ports(self) -> dict[str, int]:
        return {
            "rpc_port": self._rpc.server_address[1],
            "state_port": self._states.address[1],
            "camera_port": self._cameras.server_address[1],
            "bench_port": self._bench.server_address[1],
        }

    def run(self) -> None:
        """Serve until `ending` is set."""
        threading.Thread(target=self._rpc.serve_forever, args=(0.1,), daemon=True).start()
        self._cameras.start()
        self._bench.start()
        self.ticker.restart()
        periods = 1
        try:
            while not self.ending.is_set():
                self.controller.tick(min(periods, MAX_CATCH_UP))
                self._states.push(self.controller.frame)
                periods = self.ticker.wait()
        finally:
            for server in (self._rpc, self._cameras, self._bench):
                server.shutdown()
            self._opened.close()


def _watch_stdin(ending: threading.Event) -> None:
    while sys.stdin.buffer.read(1):
        pass
    ending.set()


def build_world(config: EmulatorConfig) -> World:
    """The simulated bench that the arm stands on. UserError for an unknown task."""
    if config.task not in TASKS:
        raise UserError(nearest(config.task, TASKS, "task"))
    return World(WorldConfig(task=config.task, render=RenderConfig(height=config.height, width=config.width)))


def _open(config: EmulatorConfig) -> Emulator:
    try:
        return Emulator(config, build_world(config))
    except OSError as error:
        raise UserError(f"cannot serve on {config.host}: {error}; is another emulator running?") from error


def main(arguments: list[str]) -> int:
    raise_priority()
    try:
        config = parse_options(EmulatorConfig, arguments)
        emulator = _open(config)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    sys.setswitchinterval(0.0005)  # the cycle must not wait 5 ms for a thread that parses XML
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: emulator.ending.set())
    if config.end_with_stdin:
        threading.Thread(target=_watch_stdin, args=(emulator.ending,), daemon=True).start()
    ports = " ".join(f"{name}={port}" for name, port in emulator.ports.items())
    print(f"FR3 emulator {config.firmware} ready on {config.host} {ports}", flush=True)
    emulator.run()
    print(f"emulator: {emulator.ticker.overruns} cycles late, worst {emulator.ticker.worst_late_s * 1e3:.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
