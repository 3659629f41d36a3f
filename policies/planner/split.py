"""An instruction of several steps to the sentences of its steps, by the words that join them.

"open the red drawer, then put the blue cube in it" -> "open the red drawer", "put the blue cube in the red drawer".
A sentence may hold such words itself ("take the red cube and put it on the blue plate"): the longest piece that a
task's grammar has is one step.
"""

import functools
import re

from policies.planner.understanding import Understood, named_in, nearest_form, understood_after
from sim.core.errors import UserError

THEN = r"(?:,? and then|[,;]? then|,? and after that|[,;]? after that|,? afterwards),? "
STRONG = rf"{THEN}|[.;] (?:then|after that|afterwards|next|finally)?,? ?"  # between steps, never inside of one
JOINT = re.compile(rf"{STRONG}|,? and |, ", re.IGNORECASE)
TURNED = (  # what says the other order, and how it is said in order
    (r"before you (?P<second>.+?), (?P<first>.+)", r"\g<first>, then \g<second>"),
    (r"after you (?P<first>.+?), (?P<second>.+)", r"\g<first>, then \g<second>"),
    (r"(?P<first>.+?),? before you (?P<second>.+)", r"\g<first>, then \g<second>"),
    (r"(?P<second>.+?),? after you (?P<first>.+)", r"\g<first>, then \g<second>"),
)
JOINTS_INSIDE = 2  # of one sentence, at most
LONGEST = 2000  # characters


def split(instruction: str) -> tuple[Understood, ...]:
    """Return the steps of an instruction in order, one that is a single step by itself.

    UserError names the part that no task's grammar has, and the sentence most like it.
    """
    text = _in_order(re.sub(r"\s+", " ", instruction).strip(" .!"))
    if not text or len(text) > LONGEST:
        raise UserError(f"an instruction of {len(text)} characters, expected a sentence of {LONGEST} at most")
    pieces = _Pieces(text)
    steps = pieces.steps(0)
    if steps is None:
        part = pieces.not_understood()
        raise UserError(
            f"{instruction!r}: {part!r} is not understood; expected a sentence of a task's, such as "
            f"{nearest_form(part)!r}"
        )
    return steps


def _in_order(text: str) -> str:
    """Return the text with its steps in the order in which they are to be done."""
    text = re.sub(r"^first,? ", "", text, flags=re.IGNORECASE)
    for other, in_order in TURNED:
        text = re.sub(rf"^{other}$", in_order, text, flags=re.IGNORECASE)
    return text


class _Pieces:
    """A text cut at every joint, of which neighbours may belong together."""

    def __init__(self, text: str):
        joints = list(JOINT.finditer(text))
        self._text = text
        self._starts = [0, *(joint.end() for joint in joints)]
        self._ends = [*(joint.start() for joint in joints), len(text)]
        self._farthest = 0
        self.steps = functools.cache(self._steps)

    def _steps(self, first: int) -> tuple[Understood, ...] | None:
        """Return the steps of the text from a piece on, the first one as long as it can be; None where it has none."""
        if first == len(self._starts):
            return ()
        self._farthest = max(self._farthest, first)
        named = named_in(self._text[: self._starts[first]])
        for last in reversed(range(first, min(first + JOINTS_INSIDE + 1, len(self._starts)))):
            step = understood_after(self._text[self._starts[first] : self._ends[last]], named)
            if step and (rest := self.steps(last + 1)) is not None:
                return (step, *rest)
        return None

    def not_understood(self) -> str:
        """Return the text from the farthest piece that could begin a step, up to the next word that parts steps."""
        rest = self._text[self._starts[self._farthest] :]
        return re.split(STRONG, rest, maxsplit=1, flags=re.IGNORECASE)[0]
