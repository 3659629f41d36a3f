"""What a server of this project says of itself on connect, under the key `OURS`; openpi's servers say no such thing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policies.remote.protocol import OURS, PROTOCOL
from policies.runtime.chunk_agent import ChunkSpec
from sim.core.contract import CONTRACT_VERSION
from sim.core.errors import UserError
from sim.core.provenance import plain
from sim.core.structured import typed


@dataclass(frozen=True)
class ServerMetadata:
    """The policy that is served."""

    robot: str
    control_hz: int
    cameras: tuple[str, ...]  # whose images a request needs
    image_size: tuple[int, ...]  # height and width, px
    action_dim: int
    chunk: int
    execute: int
    given_steps: int
    tasks: tuple[str, ...]  # that it was trained on; () where it is not known
    indicator: str
    guidance: float
    weights: str  # sha256, "" where it is not known
    seeds: list  # of the episodes that it was trained on, as a checkpoint's provenance has them
    splits: list
    looks: int = 1  # that it decides on, one a step: a request carries those before its own
    ensemble: float | None = None  # see `policies.runtime.chunk_agent.ChunkSpec`, as the next
    memory: int = 0

    @property
    def chunks(self) -> ChunkSpec:
        return ChunkSpec(
            self.chunk, self.action_dim, self.control_hz, self.given_steps, self.execute, self.ensemble, self.memory
        )

    def message(self) -> dict[str, Any]:
        """Return the metadata as they are sent."""
        return {OURS: {"protocol": PROTOCOL, "contract": CONTRACT_VERSION, **plain(self)}}


def read_metadata(message: Any, url: str) -> ServerMetadata | None:
    """Return what a server of this project says of itself, None of another's. UserError for another version."""
    if not isinstance(message, Mapping):
        raise UserError(f"server={url}: its metadata are a {type(message).__name__}, expected a map: no openpi server")
    if OURS not in message:
        return None
    values = dict(message[OURS]) if isinstance(message[OURS], Mapping) else {}
    versions = values.pop("protocol", None), values.pop("contract", None)
    if versions != (PROTOCOL, CONTRACT_VERSION):
        raise UserError(
            f"server={url} speaks protocol {versions[0]} with contract {versions[1]}, expected {PROTOCOL} with "
            f"{CONTRACT_VERSION}: run the same version of this project on both sides"
        )
    try:
        return typed(ServerMetadata, values, f"{OURS}.")
    except (UserError, TypeError) as error:
        raise UserError(f"server={url}: its metadata are not understood ({error})") from error
