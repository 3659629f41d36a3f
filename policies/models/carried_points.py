"""Points of an earlier look as they are seen now: things stay where they were, but what was held moved with the tool.

Shapes: B batch, G grounded points, D state dimension.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from policies.core.inputs import Inputs
from policies.core.spec import PolicySpec
from policies.eye.bench import Arm
from policies.eye.description import described_arm
from policies.eye.turn import from_tool
from sim.core.contract import HOLDING_OPENING, IN_HAND_M
from sim.robots.robot import RobotConfig

OBJECT, WORLD, TOOL = "grounding.object", "_pos_w", "_pos_t"  # columns begin with what can be held, end with the frame


class CarriedPoints(nn.Module):
    """Re-expresses the points of a look by the arm's forward kinematics."""

    def __init__(self, spec: PolicySpec):
        super().__init__()
        names = {name.removesuffix(WORLD): i for i, name in enumerate(spec.points) if name.endswith(WORLD)}
        self._pairs = [
            (name == OBJECT, i, spec.points.index(name + TOOL))
            for name, i in names.items() if name + TOOL in spec.points
        ]  # fmt: skip
        self.arm: Arm = described_arm(RobotConfig(spec.robot).load())

    def forward(self, inputs: Inputs) -> Inputs:
        """Return the inputs with points as seen from the present state, where they were seen from an earlier one."""
        if inputs.points is None or inputs.looked_from is None:
            return inputs
        points = inputs.points.clone()
        place, rotation = tool_pose(self.arm, inputs.state)
        closed = torch.maximum(inputs.looked_from[:, -1], inputs.state[:, -1]) < HOLDING_OPENING
        in_hand = torch.zeros_like(closed)
        for can_be_held, world, tool in self._pairs:
            in_tool = inputs.points[:, tool, :3]
            held = closed & (in_tool.norm(dim=-1) < IN_HAND_M) if can_be_held else torch.zeros_like(closed)
            carried = place + (rotation @ in_tool[..., None])[..., 0]
            points[:, world, :3] = torch.where(held[:, None], carried, inputs.points[:, world, :3])
            seen_t = ((points[:, world, :3] - place)[:, None] @ rotation)[:, 0]
            points[:, tool, :3] = torch.where(held[:, None], in_tool, seen_t)
            in_hand = in_hand | held
        return replace(inputs, points=points, turn=self._turn(inputs, rotation, in_hand))

    def _turn(self, inputs: Inputs, rotation: Tensor, in_hand: Tensor) -> Tensor | None:
        """Return the turns from the tool as it is turned now, `rotation` (B, 3, 3), by way of the base, which stands.

        in_hand: (B,) the object turns with the tool.
        """
        if inputs.turn is None or inputs.looked_from is None:
            return None
        _, rotation_then = tool_pose(self.arm, inputs.looked_from)
        now = from_tool(from_tool(inputs.turn, rotation_then), rotation)
        now[:, 0] = torch.where(in_hand[:, None], inputs.turn[:, 0], now[:, 0])
        return now


def tool_pose(arm: Arm, state: Tensor) -> tuple[Tensor, Tensor]:
    """state (B, D) -> the tool point (B, 3) m and rotation (B, 3, 3) in the base's frame."""
    landmarks, rotation = arm(state)
    return landmarks[:, -1].float(), rotation.float()
