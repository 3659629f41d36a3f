"""What it takes to bring the tool to points: how far each joint moves, how things are turned; a part of a token.

Given points in metres alone, a head learns the arm's inverse kinematics from demonstrations, and from a hundred of them
to a centimetre: enough to grasp, not to insert. The moves are told however unsure the eye is of a point: weighed by its
error, kinds of things that it does not know were grasped less often (EXPERIMENTS.md, "Told as far as the eye is sure").

Shapes: B observations, P points, J joints, D state dimension, W token width.
"""

import torch
from torch import Tensor, nn

from policies.eye.arrays import solve_linear
from policies.eye.bench import link_poses
from policies.eye.description import described_arm
from sim.core.contract import TURN_NAMES
from sim.robots.robot import Robot

SCALE_RAD, LARGEST = 0.2, 10.0  # joint moves are learned in units of this; of what is out of reach no more than this
STEPS, DAMPING, LONGEST_M = 3, 0.02, 0.25  # of Gauss and Newton's method: sub-millimetre within reach
LEVER_M = 0.2  # a turn of 1 rad counts as so much way


class Aim(nn.Module):
    """Moves of the joints and the turns of object and target to what is added to a token."""

    dh: Tensor
    mount: Tensor
    tool: Tensor

    def __init__(self, robot: Robot, points: int, width: int):
        """points: P, the object's first, the target's last. The robot's constants are no weights."""
        super().__init__()
        arm = described_arm(robot)
        for name in ("dh", "mount", "tool"):
            self.register_buffer(name, getattr(arm, name), persistent=False)
        turns = 2 * len(TURN_NAMES)
        self.linear = nn.Linear(points * len(arm.dh) + turns, width, bias=False)
        nn.init.zeros_(self.linear.weight[:, -turns:])  # so that what a dataset does not know stays without effect

    def forward(self, state: Tensor, points_t: Tensor, turn: Tensor | None) -> Tensor:
        """state (B, D), points (B, P, 3) m seen from the tool, turn (B, 2, 4), nan or None: not known -> (B, W)."""
        moves = self.moves(state[:, : len(self.dh)].double(), points_t.double().nan_to_num()) / SCALE_RAD
        moves = moves.clamp(-LARGEST, LARGEST).to(state)
        turn = state.new_zeros(len(state), 2, len(TURN_NAMES)) if turn is None else turn.nan_to_num()
        return self.linear(torch.cat([moves.flatten(1), turn.flatten(1)], 1))

    @torch.no_grad()
    def moves(self, joints: Tensor, points_t: Tensor) -> Tensor:
        """joints (B, J) rad, points (B, P, 3) m -> (B, P, J) rad by which the joints move the tool there.

        It is not turned. By damped least squares; for a point out of reach, towards it.
        """
        solve = solve_linear if torch.onnx.is_in_onnx_export() else torch.linalg.solve  # the slower one can be exported
        batch, points = points_t.shape[:2]
        start, _ = self.pose(joints)
        goal = (points_t @ start[:, :3, :3].mT + start[:, None, :3, 3]).flatten(0, 1)
        upright = start[:, :3, :3].repeat_interleave(points, 0)
        begin = q = joints.repeat_interleave(points, 0)
        for _ in range(STEPS):
            pose, jacobian = self.pose(q)
            way = goal - pose[:, :3, 3]
            way = way * (LONGEST_M / way.norm(dim=1, keepdim=True).clamp(min=LONGEST_M))
            turned = torch.linalg.cross(pose[:, :3, :3].mT, upright.mT).sum(1) / 2
            twist = torch.cat([way, LEVER_M * turned], 1)[..., None]
            normal = jacobian @ jacobian.mT + DAMPING**2 * torch.eye(6).to(jacobian)
            q = q + (jacobian.mT @ solve(normal, twist))[..., 0]
        return (q - begin).unflatten(0, (batch, points))

    def pose(self, joints: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tool's pose (B, 4, 4) in the base frame, and its Jacobian (B, 6, J): m, then LEVER_M times rad."""
        pose, axes, origins = self.mount.expand(len(joints), 4, 4), [], []
        for link in link_poses(joints, self.dh).unbind(1):
            axes.append(pose[:, :3, 2])
            origins.append(pose[:, :3, 3])
            pose = pose @ link
        pose, axis = pose @ self.tool, torch.stack(axes, 1)
        arm = pose[:, None, :3, 3] - torch.stack(origins, 1)
        return pose, torch.cat([torch.linalg.cross(axis, arm), LEVER_M * axis], -1).mT
