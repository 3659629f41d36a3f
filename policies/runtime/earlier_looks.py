"""The last looks of an episode, for a policy with a memory."""

from collections import deque
from dataclasses import replace

from policies.core.inputs import Inputs
from policies.core.interface import Policy


class EarlierLooks:
    """Keeps the inputs of as many looks as a policy remembers, images encoded; of a policy without a memory none."""

    def __init__(self, policy: Policy):
        self._looks: deque[Inputs] = deque(maxlen=policy.memory)

    def clear(self) -> None:
        """Begin an episode."""
        self._looks.clear()

    def join(self, inputs: Inputs) -> Inputs:
        """Return a new look with those before it, an episode's first one for what would lie before that; keep it."""
        if not self._looks.maxlen:
            return inputs
        known = [*self._looks] or [inputs]
        missing = [known[0]] * (self._looks.maxlen - len(known))
        self._looks.append(inputs)
        return replace(inputs, before=(*missing, *known))
