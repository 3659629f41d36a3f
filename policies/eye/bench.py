"""The arm and its cameras as they are described: what geometry starts from. The real cameras are somewhat elsewhere.

Shapes: B observations, D state dimension, K landmarks of the arm, whose places follow from the joints. Metres, the
arm's base frame; pixels as in `policies.eye.view`. All in float64: the solver takes differences.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

FOOT_M = ((0.0, 0.0, 0.0), (0.0, 0.07, 0.0), (0.0, -0.07, 0.0))  # in the frame of the mount
TOOL_M = ((0.0, 0.04, -0.03), (0.0, -0.04, -0.03), (0.0, 0.0, -0.09), (0.0, 0.0, 0.0))  # in the tool's
FREE = 7  # numbers by which a camera may differ: place, aim, field of view


class Arm(nn.Module):
    """Forward kinematics, a DH row (a, d, alpha) a joint; see `sim.control.dh`."""

    dh: Tensor
    mount: Tensor
    tool: Tensor

    def __init__(self, joints: int):
        super().__init__()
        self.register_buffer("dh", torch.zeros(joints, 3, dtype=torch.float64))
        self.register_buffer("mount", torch.eye(4, dtype=torch.float64))
        self.register_buffer("tool", torch.eye(4, dtype=torch.float64))  # pose of the tool in the last link's frame

    @property
    def landmarks(self) -> int:
        """K: at the foot, the links' origins, the middles between them but the first, at the tool."""
        return len(FOOT_M) + 2 * len(self.dh) - 2 + len(TOOL_M)

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """state (B, D) -> landmarks (B, K, 3) m, the last one the tool point, and the tool's rotation (B, 3, 3).

        An origin lies on the next joint's axis, so that the middle between two is fixed to the link between them.
        """
        pose = self.mount.expand(len(state), 4, 4)
        foot, origins = _fixed_to(pose, FOOT_M), []
        for link in link_poses(state.double()[:, : len(self.dh)], self.dh).unbind(1):
            pose = pose @ link
            origins.append(pose[:, :3, 3])
        pose, links = pose @ self.tool, torch.stack(origins, 1)
        middles = (links[:, :-2] + links[:, 1:-1]) / 2
        return torch.cat([foot, links, middles, _fixed_to(pose, TOOL_M)], 1), pose[:, :3, :3]


def _fixed_to(pose: Tensor, points: tuple) -> Tensor:
    """Points in the frame of pose (B, 4, 4) -> (B, n, 3)."""
    return pose.new_tensor(points) @ pose[:, :3, :3].mT + pose[:, None, :3, 3]


def link_poses(q: Tensor, dh: Tensor) -> Tensor:
    """q (B, J) rad, dh (J, 3) -> the pose of each link in the one before, (B, J, 4, 4)."""
    a, d, alpha = (one.expand_as(q) for one in dh.unbind(1))
    c, s, ca, sa = q.cos(), q.sin(), alpha.cos(), alpha.sin()
    zero, one = torch.zeros_like(q), torch.ones_like(q)
    rows = [c, -s * ca, s * sa, a * c, s, c * ca, -c * sa, a * s, zero, sa, ca, d, zero, zero, zero, one]
    return torch.stack(rows, -1).unflatten(-1, (4, 4))


class Camera(nn.Module):
    """A camera that stands on the bench, or on the tool, and may differ a little from its description."""

    place: Tensor
    aim: Tensor
    up: Tensor
    fovy: Tensor

    def __init__(self, *, on_tool: bool):
        super().__init__()
        self.on_tool = on_tool
        for name, value in (("place", [0.0, 0.0, 1.0]), ("aim", [0.0, 0.0, 0.0]), ("up", [0.0, 1.0, 0.0])):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64))  # m; aim: a point that it looks at
        self.register_buffer("fovy", torch.tensor(0.8, dtype=torch.float64))  # rad

    def axes(self, free: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """free (..., FREE) -> place (..., 3), rotation (..., 3, 3) and focal length in images; base or tool frame."""
        place, aim = self.place + free[..., :3], self.aim + free[..., 3:6]
        if self.on_tool:  # a mount that is off moves the camera, it does not turn it
            aim = aim + free[..., :3]
        z = nn.functional.normalize(place - aim, dim=-1)
        x = nn.functional.normalize(torch.linalg.cross(self.up.expand_as(z), z), dim=-1)
        rotation = torch.stack([x, torch.linalg.cross(z, x), z], -1)
        half = (self.fovy + free[..., 6]) / 2
        return place, rotation, 0.5 * half.cos() / half.sin()

    def onto_height(self, pixel: Tensor, height: Tensor, free: Tensor, tool: tuple[Tensor, Tensor]) -> Tensor:
        """pixel (..., N, 2), height (..., N) m -> where its ray is so high, (..., N, 3); bounded where it never is."""
        place, rotation, focal = self.axes(free)
        flat = (pixel - 0.5) / focal[..., None, None] * pixel.new_tensor([1.0, -1.0])
        ray = torch.cat([flat, -torch.ones_like(flat[..., :1])], -1) @ rotation.mT
        if self.on_tool:
            place, ray = tool[0] + (tool[1] @ place[..., None])[..., 0], ray @ tool[1].mT
        away = (height - place[..., None, 2]) / ray[..., 2].clamp(max=-0.05)
        return place[..., None, :] + away.clamp(0.0, 2.0)[..., None] * ray


def set_buffers(module: nn.Module, **values: Sequence | np.ndarray | float) -> None:
    """Set constants of an `Arm` or `Camera` by name."""
    for name, value in values.items():
        getattr(module, name).copy_(torch.as_tensor(np.array(value)))
