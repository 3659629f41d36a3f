"""Which releases of the controller are emulated."""

import re

from real.fairino.protocol import OLDEST_RELEASE
from real.fairino.state_frame import parse_version
from sim.core.errors import UserError

NEWEST_RELEASE = (3, 9, 7)  # whose differences are known


class EmulatedRelease:
    """A check: the name of a release that is emulated, e.g. 3.9.6."""

    expected = "a release from " + " to ".join(".".join(map(str, end)) for end in (OLDEST_RELEASE, NEWEST_RELEASE))

    def __call__(self, name: str, value: str) -> None:
        release_of(value, name)


def release_of(firmware: str, name: str = "firmware") -> tuple[int, int, int]:
    """Return the release that the option `name` names. UserError for one that is not emulated."""
    if re.fullmatch(r"[vV]?\d+\.\d+\.\d+(\.\d+)*", firmware):
        release = parse_version(firmware)
        if OLDEST_RELEASE <= release <= NEWEST_RELEASE:
            return release
    raise UserError(f"{name}={firmware}, expected {EmulatedRelease.expected}, e.g. 3.8.2, 3.8.5 or 3.9.6")
