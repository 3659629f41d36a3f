"""The token that lets a client in: who needs one, and how it is sent."""

import os
import socket

from sim.core.errors import UserError
from sim.core.loopback import is_loopback

VARIABLE = "FR3_SERVER_TOKEN"  # of the environment: what a program is started with is seen by every user of a machine
LETTERS = 16
EXPECTED = f"{LETTERS} or more letters and digits"


def authorization(token: str) -> str:
    """Return the value of the Authorization header that carries a token, as openpi-client sends it."""
    return f"Api-Key {token}"


def sent_token() -> str | None:
    """Return the token that a client sends, None for none. UserError for one that cannot be sent, without showing it.

    Servers of others may have another form of token than `check_token` asks for.
    """
    token = os.environ.get(VARIABLE)
    if token and not (token.isascii() and token.isprintable()):
        raise UserError(f"{VARIABLE}={'*' * len(token)}, expected printable ASCII without a line's end")
    return token


def check_token(host: str, token: str | None) -> None:
    """UserError for a token that is too short or cannot be sent, and without one beyond this machine."""
    if token is None and not is_loopback(host):
        _check_known(host)
        raise UserError(f"host={host} lets other machines in: give token=TEXT or set {VARIABLE}, {EXPECTED}")
    if token is not None and not (len(token) >= LETTERS and token.isascii() and token.isalnum()):
        raise UserError(f"token={'*' * len(token)}, expected {EXPECTED}")


def _check_known(host: str) -> None:
    """UserError for a name that no address belongs to: a slip, not an invitation."""
    if ":" in host:  # an IPv6 address, no name
        return
    try:
        socket.gethostbyname(host)
    except (OSError, UnicodeError) as error:
        raise UserError(f"host={host}: cannot be resolved ({error}); expected an address of this machine") from error
