"""What this project adds to openpi's protocol, and how a server knows of another version of that."""

from sim.core.errors import UserError

PROTOCOL = 2
OURS = "fr3_vla"  # the key of what is added, in metadata, requests and answers
HEADER = "FR3-VLA-Protocol"  # carries PROTOCOL when a client of this project connects


def check_server_decides(server: str | None, indicator: str, guidance: float | None, *, watch: bool) -> None:
    """UserError where a server decides and what is its own to choose is given too, or what needs the policy here."""
    if server and (indicator != "positive" or guidance is not None):
        raise UserError(f"server={server} decides: indicator and guidance are options of policies.serve there")
    if server and watch:
        raise UserError(f"server={server} and watch=true, expected a checkpoint: the watch sees what its policy does")
