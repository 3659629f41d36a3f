"""Where a controller listens."""

from collections.abc import Mapping
from dataclasses import dataclass

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
