"""`python -m real.emulator [key=value ...]`: the FR3's controller on this machine, around a MuJoCo twin.

Serves what the controller of a release serves: XML-RPC on 20003, state on 20004 and, since V3.9.5,
by CNDE on 20005, ServoJ by UDP on 20007 since V3.9.4; beside that camera pictures and the bench on
two ports of our own. Real time: 125 cycles a second by absolute deadlines; a cycle that was missed
is caught up, so that the arm does not run slow on a loaded machine.

firmware=3.8.2|3.8.5|3.9.6 chooses the release, faults=FILE a script of accidents (accidents.py), randomize=NAME
and dynamics=NAME what dynamics, delays and looks the seed is drawn from, board=true lays a calibration board on the
table.
"""

import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from real.cameras.board import WithBoard
from real.core.clock import Ticker
from real.core.json_lines import LineServer, check_ports
from real.core.priority import raise_priority
from real.emulator.accidents import Accidents, read_script
from real.emulator.bench_server import Bench, CameraRoom
from real.emulator.controller import Controller
from real.emulator.methods import Methods
from real.emulator.rpc_server import RpcServer
from real.emulator.state_server import CndeClient, StateClient, StateServer
from real.emulator.twin import Twin
from real.emulator.udp_server import UdpServer
from real.fairino import cnde
from real.fairino.driver import CNDE_PORT, LEGACY_PORT, RPC_PORT, UDP_PORT, UDP_SINCE
from real.fairino.state_frame import frame_bytes
from sim.core.errors import UserError
from sim.envs.simulation import Simulation, SimulationConfig
from sim.randomize.ranges import RandomizeConfig
from sim.robots.fairino_fr3 import SERVO_PERIOD_S
from sim.scene.build import RenderConfig
from sim.tasks.base import TASKS, Task

CAMERA_PORT, BENCH_PORT = 20100, 20101
MAX_CATCH_UP = 25  # cycles, 0.2 s; a longer pause (the machine slept) is not replayed


@dataclass(frozen=True)
class EmulatorConfig:
    """Options of the program. Port 0 takes a free one."""

    host: str = "127.0.0.1"  # loopback: nothing of this is meant for a network
    rpc_port: int = RPC_PORT
    state_port: int = LEGACY_PORT
    cnde_port: int = CNDE_PORT
    servo_port: int = UDP_PORT
    camera_port: int = CAMERA_PORT
    bench_port: int = BENCH_PORT
    firmware: str = "3.9.6"
    faults: str | None = None
    task: str = "pick_place"
    randomize: RandomizeConfig = RandomizeConfig()
    render: RenderConfig = RenderConfig()
    board: bool = False  # a calibration board lies on the table
    seed: int = 0
    end_with_stdin: bool = False  # end when standard input closes, that is, with the parent process

    def __post_init__(self) -> None:
        check_ports(self)


class Emulator:
    """The servers around one controller. `world`: a sim.envs.simulation.Simulation or what behaves like it."""

    def __init__(self, config: EmulatorConfig, world: Simulation):
        script = read_script(Path(config.faults)) if config.faults else []
        self.controller = Controller(Twin(world, config.seed), config.firmware)
        self.ending = threading.Event()
        self.ticker = Ticker(SERVO_PERIOD_S)
        self.accidents = Accidents(self._once(), script)
        self.states: list[StateServer] = []
        self.udp: UdpServer | None = None
        self._dark = False
        with contextlib.ExitStack() as opened:
            self._serve_state(config, opened)
            methods = Methods(self.controller, config.host, self.states[0]).table()
            self.rpc = RpcServer((config.host, config.rpc_port), methods, self.accidents)
            opened.callback(self.rpc.server_close)
            if self.controller.version >= UDP_SINCE:
                self.udp = UdpServer((config.host, config.servo_port), self.controller, self.accidents)
                opened.callback(self.udp.close)
            self._room = CameraRoom(self.controller.twin)
            opened.callback(self._room.close)
            self._cameras = LineServer((config.host, config.camera_port), self._room.handle)
            opened.callback(self._cameras.server_close)
            bench = Bench(self.controller, self.accidents, self.tally)
            self._bench = LineServer((config.host, config.bench_port), bench.handle)
            opened.callback(self._bench.server_close)
            self._opened = opened.pop_all()

    def _serve_state(self, config: EmulatorConfig, opened: contextlib.ExitStack) -> None:
        size = frame_bytes(self.controller.version)
        offers = [(config.state_port, lambda connection, noise: StateClient(connection, noise, size))]
        if self.controller.version >= cnde.SINCE:
            offers.append((config.cnde_port, CndeClient))
        for port, new_client in offers:
            server = StateServer((config.host, port), SERVO_PERIOD_S, self.accidents, new_client, port)
            opened.callback(server.close)
            self.states.append(server)

    def _once(self) -> dict[str, Callable[[], object]]:
        c = self.controller
        return {
            "emergency_stop": c.press_emergency_stop,
            "release": c.release_emergency_stop,
            "safety_stop": lambda: c.set_safety_stop(active=True),
            "safety_clear": lambda: c.set_safety_stop(active=False),
            "collision": c.collide,
            "disable": lambda: c.set_enabled(0),
            "reset_errors": c.reset_errors,
            "drop_state": lambda: [server.drop_clients() for server in self.states],
        }

    @property
    def ports(self) -> dict[str, int]:
        """By name; 0 for what this release does not serve."""
        return {
            "rpc_port": self.rpc.server_address[1],
            "state_port": self.states[0].address[1],
            "cnde_port": self.states[1].address[1] if len(self.states) > 1 else 0,
            "servo_port": self.udp.address[1] if self.udp else 0,
            "camera_port": self._cameras.server_address[1],
            "bench_port": self._bench.server_address[1],
        }

    def tally(self) -> dict:
        """What was injected so far, and how many state frames left undamaged."""
        lines = [line for server in self.states for line in server.lines]
        injected: dict[str, int] = {}
        for chance in (self.rpc.chance, *(line.chance for line in lines), *([self.udp.chance] if self.udp else [])):
            for kind, count in list(chance.injected.items()):
                injected[kind] = injected.get(kind, 0) + count
        return {"injected": injected, "whole_frames": sum(line.whole for line in lines)}

    def run(self) -> None:
        """Serve until `ending` is set."""
        threading.Thread(target=self.rpc.serve_forever, args=(0.1,), daemon=True).start()
        self._cameras.start()
        self._bench.start()
        if self.udp:
            self.udp.start()
        self.ticker.restart()
        periods = 1
        try:
            while not self.ending.is_set():
                self._cycle(min(periods, MAX_CATCH_UP))
                self.ticker.period_s = SERVO_PERIOD_S * (1 + 1e-6 * self.accidents.amount("drift"))
                periods = self.ticker.wait()
        finally:
            for server in (self.rpc, self._cameras, self._bench):
                server.shutdown()
            self._opened.close()

    def _cycle(self, periods: int) -> None:
        self.accidents.play_script()
        dark = bool(self.accidents.amount("power_loss"))
        if dark != self._dark:
            self._switch_power(dark=dark)
        self.controller.tick(periods)
        read_values = functools.cache(self.controller.readings)  # once a cycle, if anyone listens
        for server in self.states:
            server.push(read_values)

    def _switch_power(self, *, dark: bool) -> None:
        self._dark = dark
        if dark:
            self.controller.power_off()
            return
        for server in self.states:  # nobody remembers the old connections
            server.drop_clients()


def _watch_stdin(ending: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1):  # no buffer: its lock would outlive the program's end
        pass
    ending.set()


def build_world(config: EmulatorConfig) -> Simulation:
    """The simulated bench that the arm stands on. UserError for an unknown task."""
    world = SimulationConfig(task=config.task, randomize=config.randomize, render=config.render)
    return Simulation(world, task=cast(Task, WithBoard(TASKS.get(config.task))) if config.board else None)


def _open(config: EmulatorConfig) -> Emulator:
    try:
        return Emulator(config, build_world(config))
    except OSError as error:
        raise UserError(f"cannot serve on {config.host}: {error}; is another emulator running?") from error


def main(config: EmulatorConfig) -> None:
    """Serve until a signal, or the end of standard input where that is asked for."""
    raise_priority()
    emulator = _open(config)
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: emulator.ending.set())
    if config.end_with_stdin:
        threading.Thread(target=_watch_stdin, args=(emulator.ending,), daemon=True).start()
    ports = " ".join(f"{name}={port}" for name, port in emulator.ports.items())
    print(f"FR3 emulator {emulator.controller.firmware} ready on {config.host} {ports}", flush=True)
    emulator.run()
    print(f"emulator: {emulator.ticker.overruns} cycles late, worst {emulator.ticker.worst_late_s * 1e3:.1f} ms")
