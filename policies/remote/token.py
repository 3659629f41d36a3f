"""The token that lets a client in: who needs one, and how it is sent."""

import ipaddress

from sim.core.errors import UserError

VARIABLE = "FR3_SERVER_TOKEN"  # of the environment: what a program is started with is seen by every user of a machine
LETTERS = 16
EXPECTED = f"{LETTERS} or more letters and digits"


def authorization(token: str) -> str:
    """Return the value of the Authorization header that carries a token, as openpi-client sends it."""
    return f"Api-Key {token}"


def check_token(host: str, token: str | None) -> None:
    """UserError for a token that is too short or cannot be sent, and without one beyond this machine."""
    if token is None and not is_loopback(host):
        raise UserError(f"host={host} lets other machines in: give token=TEXT or set {VARIABLE}, {EXPECTED}")
    if token is not None and not (len(token) >= LETTERS and token.isascii() and token.isalnum()):
        raise UserError(f"token={'*' * len(token)}, expected {EXPECTED}")


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches the address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
