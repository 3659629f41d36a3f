"""`python -m policies.serve checkpoint=CKPT [host=127.0.0.1] [port=8000] [token=TEXT]`

Serves a policy to other programs and machines by openpi's websocket protocol: `policies.evaluate server=ws://HOST:PORT`
and `real.rollout server=ws://HOST:PORT` play it, and so does openpi-client. A request carries
observation/images/CAMERA, observation/state and prompt; the answer holds actions, absolute joint targets in rad, then
the gripper. Beyond this machine (host=0.0.0.0) a token is needed, which clients take from FR3_SERVER_TOKEN.
"""

import contextlib
import hashlib
import logging
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from policies.core.indicator import INDICATORS
from policies.remote.token import VARIABLE, check_token
from sim.core.console import event
from sim.core.options import PORT, Options, at_least, one_of, option
from sim.core.program import run_program

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServeConfig(Options):
    """Options of the program."""

    checkpoint: str = option("runs/policy", "the policy")
    host: str = option("127.0.0.1", "address to listen on; 0.0.0.0: every one of this machine")
    port: int = option(8000, "to listen on", PORT)
    token: str | None = option(None, "that clients must send; null: FR3_SERVER_TOKEN, if that is set")
    indicator: str = option("positive", "advantage that the policy is conditioned on", one_of(*INDICATORS))
    guidance: float | None = option(None, "RECAP's beta; null: the checkpoint's own", at_least(0.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_token(self.host, self.secret)

    @property
    def secret(self) -> str | None:
        """The token that clients must send, None where there is none."""
        return self.token or os.environ.get(VARIABLE)


def main(config: ServeConfig) -> None:
    """Serve until Ctrl-C or SIGTERM; clients are told."""
    from policies.models import checkpoint
    from policies.remote.policy_session import PolicySession, metadata_of
    from policies.remote.server import PolicyServer
    from policies.runtime.agent import load_decider

    decider, metadata = load_decider(config.checkpoint, config.indicator, config.guidance)
    weights = hashlib.sha256((Path(config.checkpoint) / checkpoint.WEIGHTS).read_bytes()).hexdigest()
    server = PolicyServer(
        metadata_of(decider, metadata, weights).message(), lambda: PolicySession(decider), config.host, config.port,
        config.secret,
    )  # fmt: skip
    url = f"ws://{config.host}:{server.port}"
    _log.info("serving %s on %s; Ctrl-C ends it", config.checkpoint, url, extra=event("serving", url=url))
    for name in (signal.SIGINT, signal.SIGTERM):  # also where a shell's background ignores the first
        signal.signal(name, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()


if __name__ == "__main__":
    run_program("serve", ServeConfig, main, __doc__)
