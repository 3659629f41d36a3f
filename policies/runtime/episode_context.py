"""What a policy decides on besides the present look: earlier looks, the best one of the target, the step that was due,
its goal's picture."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from torch import Tensor

from policies.core.inputs import Inputs
from policies.core.interface import Policy
from policies.core.target_memory import TargetMemory
from policies.processing.steps import StepMemory

GoalPicture = Callable[[int], np.ndarray]  # seed of an episode -> what its end looks like, uint8 RGB (H, W, 3)


class EpisodeContext:
    """Keeps the inputs of as many looks as a policy remembers, images encoded; of a policy without a memory none."""

    def __init__(self, policy: Policy):
        self.target = TargetMemory(policy) if policy.remembers_target else None
        self._looks: deque[Inputs] = deque(maxlen=policy.memory)
        self.begin()

    def begin(self, goal: tuple[Tensor, ...] = ()) -> None:
        """Begin an episode. goal: feature maps of its goal's picture, for a policy that needs one."""
        if self.target:
            self.target.begin()
        self._looks.clear()
        self.step = StepMemory()
        self._goal = goal

    def join(self, inputs: Inputs) -> Inputs:
        """Return a new look with those before it, an episode's first one for what would lie before that; keep it."""
        inputs = replace(inputs, goal=self._goal)
        if not self._looks.maxlen:
            return inputs
        known = [*self._looks] or [inputs]
        missing = [known[0]] * (self._looks.maxlen - len(known))
        self._looks.append(inputs)
        return replace(inputs, before=(*missing, *known))
