"""`python -m real.emulator [key=value ...]`: emulate the FR3's controller on this machine, around a MuJoCo twin.

Serves what the controller of a release serves: XML-RPC on 20003, state on 20004 and, since V3.9.5,
by CNDE on 20005, ServoJ by UDP on 20007 since V3.9.4, text commands on 8080; beside that camera images and the bench
on two ports of our own. Real time: 125 cycles a second by absolute deadlines; a cycle that was missed
is caught up, so that the arm does not run slow on a loaded machine.

firmware=3.8.2|3.8.5|3.9.6 chooses the release, faults=FILE a script of faults (fault_injection.py), randomize=NAME
and dynamics=NAME what dynamics, delays and looks the seed is drawn from, board=true lays a calibration board on the
table.
"""

import contextlib
import functools
import ipaddress
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from real.core.json_lines import JsonLineServer
from real.core.priority import raise_priority, without_long_collections
from real.core.rate import Rate
from real.emulator.bench_server import BenchCommands, CameraRenderer
from real.emulator.board_scene import WithBoard
from real.emulator.controller import Controller
from real.emulator.fault_injection import FaultInjector, read_script
from real.emulator.rpc_methods import rpc_methods
from real.emulator.rpc_server import RpcServer
from real.emulator.state_server import CndeClient, StateClient, StateServer
from real.emulator.state_values import state_values
from real.emulator.text_server import TextServer
from real.emulator.twin import Twin
from real.emulator.udp_server import UdpServer
from real.fairino.protocol import CNDE_PORT, CNDE_SINCE, LEGACY_PORT, RPC_PORT, TEXT_PORT, UDP_PORT, UDP_SINCE
from real.fairino.releases import EmulatedRelease
from real.fairino.state_frame import frame_bytes
from sim.core.console import event
from sim.core.errors import UserError
from sim.core.options import PORT, SEED, Options, Registered, block, option
from sim.envs.simulation import Simulation, SimulationConfig
from sim.randomize.ranges import RandomizeConfig
from sim.robots.fairino_fr3 import SERVO_PERIOD_S
from sim.scene.build import RenderConfig
from sim.tasks.base import TASKS, Task

Server = TypeVar("Server")
CAMERA_PORT, BENCH_PORT = 20100, 20101
MAX_CATCH_UP = 25  # cycles, 0.2 s; a longer pause (the machine slept) is not replayed

_log = logging.getLogger(__name__)


class Loopback:
    """A check: no other machine reaches the host. Any client of the ports may move the arm and inject faults."""

    expected = "127.0.0.1 or another 127.*"

    def __call__(self, name: str, value: str) -> None:
        if ":" in value:
            raise UserError(f"{name}={value}: the emulator serves IPv4, as controllers do; expected {self.expected}")
        try:
            address = ipaddress.ip_address(socket.gethostbyname(value) if value else "0.0.0.0")
        except (OSError, UnicodeError) as error:
            raise UserError(f"{name}={value}: cannot be resolved ({error}); expected {self.expected}") from error
        if not address.is_loopback:
            raise UserError(
                f"{name}={value}: other machines would reach the emulator, whose ports ask for no password; "
                f"expected {self.expected} (from another machine: ssh -L)"
            )


@dataclass(frozen=True)
class EmulatorConfig(Options):
    """Options of the program. Port 0 takes a free one."""

    host: str = option("127.0.0.1", "what is served on", Loopback())
    rpc_port: int = option(RPC_PORT, "commands by XML-RPC", PORT)
    state_port: int = option(LEGACY_PORT, "state frames", PORT)
    cnde_port: int = option(CNDE_PORT, "configurable state frames, since V3.9.5", PORT)
    servo_port: int = option(UDP_PORT, "ServoJ by UDP, since V3.9.4", PORT)
    text_port: int = option(TEXT_PORT, "text commands: pause and resume", PORT)
    camera_port: int = option(CAMERA_PORT, "camera images", PORT)
    bench_port: int = option(BENCH_PORT, "set-up of the bench, ground truth, fault injection", PORT)
    firmware: str = option("3.9.6", "of the controller; 3.8.2, 3.8.5 and 3.9.6 are tested", EmulatedRelease())
    faults: str | None = option(None, "a script of faults; null: none")
    task: str = option("pick_place", "the scene on the bench", Registered(TASKS))
    randomize: RandomizeConfig = block(RandomizeConfig, "how episodes differ")
    render: RenderConfig = block(RenderConfig, "how images are drawn")
    board: bool = option(False, "a calibration board lies on the table")
    force_sensor: bool = option(False, "between flange and gripper; its readings are in the state frames")
    seed: int = option(0, "of the first episode", SEED)
    end_with_stdin: bool = option(False, "end when standard input closes, that is, with the parent process")


class Emulator:
    """The servers around one controller. `world`: a sim.envs.simulation.Simulation or what behaves like it."""

    def __init__(self, config: EmulatorConfig, world: Simulation):
        script = read_script(Path(config.faults)) if config.faults else []
        self.controller = Controller(Twin(world, config.seed), config.firmware, force_sensor=config.force_sensor)
        self.ending = threading.Event()
        self.rate = Rate(SERVO_PERIOD_S)
        self.injector = FaultInjector(self._faults_at_once(), script)
        self.states: list[StateServer] = []
        self.udp: UdpServer | None = None
        self._powered_off = False
        with contextlib.ExitStack() as opened:
            self._serve_state(config, opened)
            methods = rpc_methods(self.controller, config.host, self.states[0])
            self.rpc = _bind(config, "rpc_port", lambda at: RpcServer(at, methods, self.injector))
            opened.callback(self.rpc.server_close)
            if self.controller.version >= UDP_SINCE:
                self.udp = _bind(config, "servo_port", lambda at: UdpServer(at, self.controller, self.injector))
                opened.callback(self.udp.close)
            self.text = _bind(config, "text_port", lambda at: TextServer(at, self.controller))
            opened.callback(self.text.server_close)
            self._renderer = CameraRenderer(self.controller.twin)
            opened.callback(self._renderer.close)
            self._cameras = _bind(config, "camera_port", lambda at: JsonLineServer(at, self._renderer.handle))
            opened.callback(self._cameras.server_close)
            commands = BenchCommands(self.controller, self.injector, self.fault_counts)
            self._bench = _bind(config, "bench_port", lambda at: JsonLineServer(at, commands.handle))
            opened.callback(self._bench.server_close)
            self._opened = opened.pop_all()

    def _serve_state(self, config: EmulatorConfig, opened: contextlib.ExitStack) -> None:
        size = frame_bytes(self.controller.version)
        offers = {"state_port": lambda connection, line: StateClient(connection, line, size)}
        if self.controller.version >= CNDE_SINCE:
            offers["cnde_port"] = CndeClient
        for name, new_client in offers.items():
            seed = getattr(config, name)
            server = _bind(
                config,
                name,
                lambda at: StateServer(at, SERVO_PERIOD_S, self.injector, new_client, seed),  # noqa: B023
            )
            opened.callback(server.close)
            self.states.append(server)

    def _faults_at_once(self) -> dict[str, Callable[[], object]]:
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
            "text_port": self.text.server_address[1],
            "camera_port": self._cameras.server_address[1],
            "bench_port": self._bench.server_address[1],
        }

    def fault_counts(self) -> dict:
        """Return what was injected so far, and how many state frames were sent undamaged."""
        lines = [line for server in self.states for line in list(server.lines)]
        injected: dict[str, int] = {}
        for faults in (self.rpc.faults, *(line.faults for line in lines), *([self.udp.faults] if self.udp else [])):
            for kind, count in faults.counts().items():
                injected[kind] = injected.get(kind, 0) + count
        return {"injected": injected, "whole_frames": sum(line.whole for line in lines)}

    def run(self) -> None:
        """Serve until `ending` is set."""
        threading.Thread(target=self.rpc.serve_forever, args=(0.1,), daemon=True).start()
        for server in (self.text, self._cameras, self._bench, *([self.udp] if self.udp else [])):
            server.start()
        self.rate.reset()
        periods = 1
        try:
            while not self.ending.is_set():
                self._cycle(min(periods, MAX_CATCH_UP))
                self.rate.period_s = SERVO_PERIOD_S * (1 + 1e-6 * self.injector.amount("drift"))
                periods = self.rate.sleep()
        finally:
            for server in (self.rpc, self.text, self._cameras, self._bench):
                server.shutdown()
            self._opened.close()

    def _cycle(self, periods: int) -> None:
        self.injector.run_script()
        powered_off = bool(self.injector.amount("power_loss"))
        if powered_off != self._powered_off:
            self._switch_power(off=powered_off)
        self.controller.tick(periods)
        read_values = functools.cache(lambda: state_values(self.controller))  # once a cycle, for all clients
        for server in self.states:
            server.push(read_values)
        self.controller.reports += 1

    def _switch_power(self, *, off: bool) -> None:
        self._powered_off = off
        if off:
            self.controller.power_off()
            return
        for server in self.states:  # connections do not survive a loss of power
            server.drop_clients()


def _watch_stdin(ending: threading.Event) -> None:
    with contextlib.suppress(OSError):  # of a terminal that is gone
        while os.read(sys.stdin.fileno(), 1):  # no buffer: its lock would outlive the program's end
            pass
    ending.set()


def build_world(config: EmulatorConfig) -> Simulation:
    """Return the simulated bench around the arm. UserError for an unknown task."""
    world = SimulationConfig(task=config.task, randomize=config.randomize, render=config.render)
    return Simulation(world, task=cast(Task, WithBoard(TASKS.get(config.task))) if config.board else None)


def _bind(config: EmulatorConfig, name: str, make: Callable[[tuple[str, int]], Server]) -> Server:
    """Return a server on the port of the option `name`. UserError when it is not free."""
    port = getattr(config, name)
    try:
        return make((config.host, port))
    except OSError as error:
        raise UserError(
            f"{name}={port}: cannot be served on {config.host} ({os.strerror(error.errno) if error.errno else error}); "
            f"is another emulator running? {name}=0 takes a free port"
        ) from error


def main(config: EmulatorConfig) -> None:
    """Serve until a signal, or the end of standard input with end_with_stdin=true."""
    raise_priority()
    emulator = Emulator(config, build_world(config))
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: emulator.ending.set())
    if config.end_with_stdin:
        threading.Thread(target=_watch_stdin, args=(emulator.ending,), daemon=True).start()
    ports = " ".join(f"{name}={port}" for name, port in emulator.ports.items())
    _log.info(
        "FR3 emulator %s ready on %s %s", emulator.controller.firmware, config.host, ports,
        extra=event("ready", host=config.host, **emulator.ports),
    )  # fmt: skip
    with without_long_collections():
        emulator.run()
    _log.info("emulator: %d cycles late, worst %.1f ms", emulator.rate.overruns, emulator.rate.max_lateness_s * 1e3)
