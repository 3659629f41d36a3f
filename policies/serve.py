"""`python -m policies.serve checkpoint=CKPT [host=127.0.0.1] [port=8000] [token=TEXT]`

Serves a policy to other programs and machines by openpi's websocket protocol: `policies.evaluate server=ws://HOST:PORT`
and `real.rollout server=ws://HOST:PORT` play it, and so does openpi-client. A request carries
observation/images/CAMERA, observation/state and prompt; the answer holds actions, absolute joint targets in rad, then
the gripper. Beyond this machine (host=0.0.0.0) a token is needed, which clients take from FR3_SERVER_TOKEN.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from policies.core.indicator import INDICATORS
from policies.remote.listen import ListenConfig, serve_until_ended
from sim.core.options import at_least, one_of, option
from sim.core.program import run_program


@dataclass(frozen=True, kw_only=True)
class ServeConfig(ListenConfig):
    """Options of the program."""

    checkpoint: str = option("runs/policy", "the policy")
    indicator: str = option("positive", "advantage that the policy is conditioned on", one_of(*INDICATORS))
    guidance: float | None = option(None, "RECAP's beta; null: the checkpoint's own", at_least(0.0))


def main(config: ServeConfig) -> None:
    """Serve until Ctrl-C or SIGTERM; clients are told."""
    from policies.models import checkpoint
    from policies.remote.policy_session import PolicySession, check_served, metadata_of
    from policies.runtime.agent import load_decider

    decider, metadata = load_decider(config.checkpoint, config.indicator, config.guidance)
    check_served(decider.policy)
    weights = hashlib.sha256((Path(config.checkpoint) / checkpoint.WEIGHTS).read_bytes()).hexdigest()
    said = metadata_of(decider, metadata, weights)
    serve_until_ended(config.checkpoint, said, lambda: PolicySession(decider), config)


if __name__ == "__main__":
    run_program("serve", ServeConfig, main, __doc__)
