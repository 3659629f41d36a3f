"""Where a program that serves a policy listens, and how it ends."""

import contextlib
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.remote.metadata import ServerMetadata
from policies.remote.token import VARIABLE, check_token
from sim.core.console import event
from sim.core.options import PORT, Options, option

if TYPE_CHECKING:
    from policies.remote.server import Session

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ListenConfig(Options):
    """Options of a program that serves."""

    host: str = option("127.0.0.1", "address to listen on; 0.0.0.0: every one of this machine")
    port: int = option(8000, "to listen on", PORT)
    token: str | None = option(None, "that clients must send; null: FR3_SERVER_TOKEN, if that is set")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_token(self.host, self.secret)

    @property
    def secret(self) -> str | None:
        """The token that clients must send, None where there is none."""
        return self.token or os.environ.get(VARIABLE)


def serve_until_ended(
    checkpoint: str, metadata: ServerMetadata, session: Callable[[], "Session"], config: ListenConfig
) -> None:
    """Serve a checkpoint until Ctrl-C or SIGTERM; clients are told. session: called for every client."""
    from policies.remote.server import PolicyServer  # needs the extra `serve`

    server = PolicyServer(metadata.message(), session, config.host, config.port, config.secret)
    url = f"ws://{config.host}:{server.port}"
    _log.info("serving %s on %s; Ctrl-C ends it", checkpoint, url, extra=event("serving", url=url))
    for name in (signal.SIGINT, signal.SIGTERM):  # also where a shell's background ignores the first
        signal.signal(name, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
