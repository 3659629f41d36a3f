"""The target as another look saw it, from where the arm is now: it stands still in the base's frame.

Shapes: B batch.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from policies.core.inputs import Inputs
from policies.core.spec import PolicySpec
from policies.core.target_memory import ERROR
from policies.eye.bench import Arm
from policies.eye.description import described_arm
from policies.eye.turn import from_tool
from policies.models.carried_points import tool_pose
from sim.core.contract import GROUNDING_COLUMNS, TURN_NAMES
from sim.robots.robot import RobotConfig

TARGET_W, TARGET_T = GROUNDING_COLUMNS[1], GROUNDING_COLUMNS[3]


class RememberedTarget(nn.Module):
    """Takes the target out of a look, and puts a kept one into another."""

    def __init__(self, spec: PolicySpec):
        super().__init__()
        self._seen_as = {spec.points.index(TARGET_W): TARGET_W, spec.points.index(TARGET_T): TARGET_T}
        self.arm: Arm = described_arm(RobotConfig(spec.robot).load())

    def keep(self, inputs: Inputs) -> Tensor:
        """Return (B, KEPT): where the target is, m, the error, m, and how it is turned, all from the base."""
        assert inputs.points is not None
        (in_base, _), turn = self._seen_as, inputs.turn
        _, rotation = tool_pose(self.arm, inputs.state)
        unknown = inputs.state.new_zeros(len(inputs), len(TURN_NAMES))
        turned = unknown if turn is None else from_tool(turn[:, 1], rotation)
        return torch.cat([inputs.points[:, in_base], turned], 1)

    def forward(self, inputs: Inputs, kept: Tensor) -> Inputs:
        """Return the look with the target that was kept, seen from the present state."""
        assert inputs.points is not None
        place, rotation = tool_pose(self.arm, inputs.state)
        in_base, error, turned = kept.split([ERROR, 1, len(TURN_NAMES)], 1)
        from_here = ((in_base - place)[:, None] @ rotation)[:, 0]
        target = {TARGET_W: torch.cat([in_base, error], 1), TARGET_T: torch.cat([from_here, error], 1)}
        points = [
            target[self._seen_as[i]] if i in self._seen_as else one for i, one in enumerate(inputs.points.unbind(1))
        ]
        turn = None if inputs.turn is None else torch.stack([inputs.turn[:, 0], from_tool(turned, rotation)], 1)
        return replace(inputs, points=torch.stack(points, 1), turn=turn)
