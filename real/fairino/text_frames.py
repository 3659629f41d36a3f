"""The controller's text frames: `/f/bIII<count>III<id>III<length>III<content>III/b/f` (UDP 20007).

The vendor's SDKs write the arguments of ServoJ in two ways: the Python SDK as one flat list with 4
decimals, the C++ SDK with braces around each array and 3 decimals. Which of them a release reads is
not documented, so both are here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

SERVO_J, SERVO_START, SERVO_END = 376, 689, 690
COUNTS = 65536
DECIMALS = {"flat": 4, "braces": 3}
_FRAME = re.compile(r"/f/bIII(\d+)III(\d+)III(\d+)III(.*?)III/b/f", re.DOTALL)
_CALL = re.compile(r"\s*(\w+)\s*\((.*)\)\s*", re.DOTALL)


@dataclass(frozen=True)
class TextFrame:
    """One frame taken apart."""

    count: int
    command: int
    content: str


def encode(count: int, command: int, content: str) -> bytes:
    """Return one frame; counts go round at 65536."""
    return f"/f/bIII{count % COUNTS}III{command}III{len(content)}III{content}III/b/f".encode()


def decode(data: bytes) -> list[TextFrame]:
    """Return the whole frames in `data` whose length is right."""
    return [
        TextFrame(int(count), int(command), content)
        for count, command, size, content in _FRAME.findall(data.decode("ascii", errors="replace"))
        if int(size) == len(content)
    ]


def servo_j(form: str, joint_deg: Sequence[float], cmd_period_s: float, number: int) -> str:
    """Return ServoJ as text, `form` of DECIMALS. exaxis, acc, vel, filterT, gain are 0 ("not open yet" in
    the manual)."""
    arrays = ",".join(_array(form, values) for values in (joint_deg, (0.0,) * 4))
    scalars = ",".join(f"{value:.{DECIMALS[form]}f}" for value in (0.0, 0.0, cmd_period_s, 0.0, 0.0))
    return f"ServoJ({arrays},{scalars},{number})"


def _array(form: str, values: Sequence[float]) -> str:
    flat = ",".join(f"{value:.{DECIMALS[form]}f}" for value in values)
    return f"{{{flat}}}" if form == "braces" else flat


def read_call(content: str) -> tuple[str, list[float]]:
    """Name and arguments of a call in either form, arrays flattened. ValueError when it is none."""
    found = _CALL.fullmatch(content)
    if not found:
        raise ValueError(f"{content!r} is not a call")
    arguments = found[2].replace("{", "").replace("}", "")
    return found[1], [float(word) for word in arguments.split(",")] if arguments.strip() else []
