"""A scripted person: pushes and commands at given periods, as an operator's device would give them."""

import numpy as np

from sim.teleop.device import Command, twist_w
from sim.teleop.operator import Operator


class ScriptedOperator(Operator):
    """script: period -> commands pressed before it; pushes: period -> push (6,), held until the next entry.

    A period is one `twist_w` or one look for commands of the agent, whichever the test counts by `advance`.
    """

    def __init__(self, script: dict[int, list[Command]] | None = None, pushes: dict[int, list[float]] | None = None):
        super().__init__([])
        self._script, self._pushes, self._period = script or {}, pushes or {}, 0
        self._push = np.zeros(6)

    def twist_w(self) -> np.ndarray:
        return twist_w(self._push)

    def take(self, *wanted: Command) -> list[Command]:
        if Command.INTERVENE in wanted:  # the agent asks once a period
            for command in self._script.get(self._period, []):
                self.press(command)
            self._push = np.array(self._pushes.get(self._period, self._push), float)
            self._period += 1
        return super().take(*wanted)
