"""The target as another look saw it, from where the arm is now. Shapes: B batch."""

from dataclasses import replace

from torch import nn

from policies.core.inputs import Inputs
from policies.core.spec import PolicySpec
from policies.models.carried_points import CarriedPoints

TARGET = "grounding.target"  # the columns of its points begin with it


class RememberedTarget(nn.Module):
    """Puts the target of an earlier look in place of the present look's."""

    def __init__(self, spec: PolicySpec):
        super().__init__()
        self._columns = [i for i, name in enumerate(spec.points) if name.startswith(TARGET)]
        self._carried = CarriedPoints(spec)

    def forward(self, inputs: Inputs, best: Inputs) -> Inputs:
        """Return the inputs (B) with the target's points, their errors and its turn from `best` (B)."""
        carried = self._carried(Inputs(inputs.state).on(best))
        assert inputs.points is not None and carried.points is not None
        points = inputs.points.clone()
        points[:, self._columns] = carried.points[:, self._columns]
        return replace(inputs, points=points, turn=carried.turn)
