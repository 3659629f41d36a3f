"""Where a controller listens."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass

from real.core.faults import RobotUnreachable
from real.fairino.protocol import CNDE_PORT, LEGACY_PORT, RPC_PORT, UDP_PORT


@dataclass(frozen=True)
class Ports:
    """Where one controller listens."""

    rpc: int = RPC_PORT
    state: int = LEGACY_PORT
    cnde: int = CNDE_PORT
    servo: int = UDP_PORT

    @classmethod
    def of(cls, ports: Mapping[str, int]) -> "Ports":
        """Return them from `rpc_port`, `state_port`, `cnde_port` and `servo_port`, as an emulator names them."""
        return cls(*(ports[f"{name}_port"] for name in ("rpc", "state", "cnde", "servo")))


def address_of(name: str) -> str:
    """Return the address of a host. Asked once: a lookup has no deadline, and no stop may wait for one."""
    try:
        return socket.gethostbyname(name)
    except (OSError, UnicodeError) as error:
        raise RobotUnreachable(f"the controller at {name} has no address ({error}); check robot.ip") from error
