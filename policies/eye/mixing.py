"""From the views of all cameras to points in space with their own error: geometry, then a small network.

The network sees geometry and confidence alone. With features of the images it would know its scenes by heart.

Shapes: B observations, C cameras, R roles. Metres; the arm's base frame, then the tool's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import cast

import torch
from torch import Tensor, nn

from policies.eye.arrays import Array
from policies.eye.bench import FREE, Arm, Camera
from policies.eye.queries import Queries
from policies.eye.solve import CameraPrior, Measured, Solution, solve
from policies.eye.trunk import CELLS
from policies.eye.view import Heat, View

UNSEEN = 1e3  # deviation of a pixel that is not there
LOOSE_M = 0.2  # deviation of a height that is not known: of what may be held
WIDER = 1.4  # of a Laplace distribution: its deviation over its scale
DROPOUT = 0.1
FIRST_GUESS = 4.0  # logit of the first candidate, the least squares, before anything is learned
LARGEST_M = 0.03  # that the network adds
CANDIDATES = 5
FLAGS = 2  # the thing is held, the thing exists
Geometry = tuple[Tensor, Tensor, tuple[Tensor, Tensor]]


@dataclass
class Found:
    """Where the eye finds object and target."""

    points_b: Tensor  # (B, R, 3) m
    points_t: Tensor  # (B, R, 3) m
    log_error: Tensor  # (B, R, 4) logarithm of the usual error, m: along x, y and z of the base frame, horizontally
    flags: Tensor  # (B, R, FLAGS) logits: held, exists
    tool_rotation: Tensor  # (B, 3, 3) of the tool in the base frame
    turn: Tensor | None = None  # (B, R, 4) how things are turned, seen from the tool, as `policies.eye.turn` finds it


class Standardize(nn.Module):
    """Signs to mean 0 and deviation 1 of those that it was fitted to, bounded."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, signs: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(signs))
        self.register_buffer("deviation", torch.ones(signs))

    def fit(self, signs: Tensor) -> None:
        """signs (N, .)."""
        self.mean.copy_(signs.mean(0))
        self.deviation.copy_(signs.std(0) + 0.05)

    def forward(self, signs: Tensor) -> Tensor:
        return ((signs - self.mean) / self.deviation).clamp(-5, 5)


class Mixer(nn.Module):
    """Candidates from geometry, weighted by a small network that also tells how far off they are."""

    def __init__(self, cameras: Mapping[str, bool], joints: int, width: int = 128):
        """cameras: name -> whether it is on the tool."""
        super().__init__()
        self.names = tuple(cameras)
        self.arm = Arm(joints)
        self.cameras = nn.ModuleDict({name: Camera(on_tool=on_tool) for name, on_tool in cameras.items()})
        self.prior = CameraPrior(list(cameras.values()))
        self.height_scale = nn.Parameter(torch.zeros(()))
        inputs = 3 * (CANDIDATES - 1) + 6 + 6 + 10 * len(cameras) + 4
        self.scale = Standardize(inputs)
        self.net = nn.Sequential(
            nn.Linear(inputs, width), nn.SiLU(), nn.Dropout(DROPOUT), nn.Linear(width, width), nn.SiLU(),
            nn.Dropout(DROPOUT), nn.Linear(width, CANDIDATES + 3 + 4 + FLAGS),
        )  # fmt: skip
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        last.bias.data = torch.tensor([FIRST_GUESS] + [0.0] * (last.out_features - 1))

    def forward(self, views: Mapping[str, View], queries: Queries, state: Tensor) -> Found:
        with torch.no_grad():
            signs, candidates, tool = self.geometry(views, queries, state)
        return self.decide(signs, candidates, tool)

    def decide(self, signs: Tensor, candidates: Tensor, tool: tuple[Tensor, Tensor]) -> Found:
        """Return what follows from the results of `geometry`."""
        out = self.net(self.scale(signs))
        weights, moved, log_error, flags = out.split((CANDIDATES, 3, 4, FLAGS), -1)
        points = (weights.softmax(-1)[..., None] * candidates).sum(-2) + LARGEST_M * moved.tanh()
        seen_from_tool = (points - tool[0][:, None]) @ tool[1]
        return Found(points, seen_from_tool, log_error - 4.5, flags, tool[1])

    def geometry(
        self, views: Mapping[str, View], queries: Queries, state: Tensor
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Return signs (B, R, .) for the network, candidates (B, R, CANDIDATES, 3) m, tool point and rotation."""
        arm, rotation = self.arm(state)
        tool = arm[:, -1], rotation
        cameras = [cast(Camera, self.cameras[name]) for name in self.names]
        looks = [views[name] for name in self.names]
        height = queries.height.double()
        as_described = height.new_zeros(1, FREE)
        rays = [
            camera.onto_height(look.roles.pixel.double(), height[..., 0], as_described, tool)
            for camera, look in zip(cameras, looks, strict=True)
        ]
        start = torch.stack(rays, 2)  # (B, R, C, 3)
        presence = torch.stack([look.roles.presence for look in looks], 2).double()
        nearer = start.new_tensor([2.0 if camera.on_tool else 1.0 for camera in cameras])
        best = (presence * nearer).argmax(-1)[..., None, None].expand(-1, -1, 1, 3)
        solved = self._solved(cameras, looks, (arm, rotation), start.gather(2, best)[:, :, 0], height)
        held = tool[0][:, None].expand_as(rays[0])
        candidates = torch.stack([*(one.points for one in solved), rays[0], rays[-1], held], 2)
        signs = self._signs(looks, solved, candidates, tool, height, state)
        return signs.float(), candidates.float(), (tool[0].float(), tool[1].float())

    def _solved(
        self, cameras: Sequence, looks: Sequence[View], arm: tuple, begin: Tensor, height: Tensor
    ) -> list[Solution]:
        """Return what follows when the thing stands at its usual height, and when its height is not known."""
        array = torch.Tensor.double if torch.onnx.is_in_onnx_export() else torch.Tensor.numpy

        def both(values: Tensor) -> Array:
            return array(torch.cat([values, values]).double())

        def pixels(heats: Sequence[Heat]) -> tuple[Array, Array]:
            seen = torch.stack([heat.presence for heat in heats], 1).clamp(min=UNSEEN**-0.5)[..., None]
            spread = torch.stack([heat.spread for heat in heats], 1)
            return both(torch.stack([heat.pixel for heat in heats], 1)), both(WIDER * spread.exp() / seen.square())

        pixel, deviation = pixels([look.roles for look in looks])
        arm_pixel, arm_deviation = pixels([look.arm for look in looks])
        sure = (height[..., 1] + self.height_scale).exp()
        points, rotation = both(arm[0]), both(arm[1])
        measured = Measured(
            tool=(points[:, -1], rotation), arm=points, arm_pixel=arm_pixel, arm_deviation=arm_deviation,
            pixel=pixel, deviation=deviation, start=both(begin), height=both(height[..., 0]),
            height_deviation=array(torch.cat([sure, torch.full_like(sure, LOOSE_M)])),
        )  # fmt: skip
        found = solve(cameras, array(self.prior()), measured)
        parts = zip(*(torch.as_tensor(getattr(found, field.name)).chunk(2) for field in fields(found)), strict=True)
        return [Solution(*part) for part in parts]

    def _signs(
        self, looks: Sequence[View], solved: Sequence[Solution], candidates: Tensor, tool, height: Tensor, state: Tensor
    ) -> Tensor:
        anchor = candidates[:, :, :1]
        parts = [
            (10 * (candidates - anchor)).clamp(-5, 5)[:, :, 1:].flatten(2),
            4 * (candidates[:, :, 0] - candidates.new_tensor([-0.33, 0.0, 0.03])),
            5 * (candidates[:, :, 0] - tool[0][:, None]),
        ]
        for one in solved:
            variance = one.covariance.flatten(-2)[..., ::4].clip(1e-12, 1)  # the diagonals of (3, 3)
            parts.append(variance.log() / 2 + 5)
        for c, look in enumerate(looks):
            heat = look.roles
            best = heat.logits[..., :-1].amax(-1)
            shows = look.match.topk(4, -1).values.mean(-1)
            at = look.match.gather(-1, _cell(heat.pixel)[..., None])[..., 0]
            spread = heat.spread + 4
            parts += [
                torch.stack([heat.presence, best / 10, shows / 5, at / 5], -1),
                spread,
                heat.pixel - 0.5,
                *(one.misfit[:, c, :, None].clip(max=20).log1p() for one in solved),
            ]
        opening = state[:, None, -1:].expand(-1, 2, -1)
        which = torch.tensor([[0.0], [1.0]]).expand(len(state), 2, 1)
        return torch.cat([part.to(torch.float32) for part in (*parts, height, opening, which)], -1)


def _cell(pixel: Tensor) -> Tensor:
    """Return the number of the cell of each pixel."""
    at = (pixel.clamp(0, 0.999) * CELLS).long()
    return at[..., 1] * CELLS + at[..., 0]


def found_loss(found: Found, points_b: Tensor, held: Tensor, absent: Tensor) -> dict[str, Tensor]:
    """Return the losses: how unlikely the true points (B, R, 3) m are, and wrong flags.

    held (B,) bool: the object is held. absent (B, R) bool: the named thing is not there, its point counts for nothing.
    """
    away = (found.points_b - points_b).abs()
    flat = (found.points_b - points_b)[..., :2].norm(dim=-1, keepdim=True)
    away, log_error = torch.cat([away, flat], -1), found.log_error
    there = (~absent).float()[..., None]
    likely = (away.clamp(max=1.0) / log_error.exp() + log_error) * there
    is_held = torch.stack([held, torch.zeros_like(held)], 1).float()
    flags = nn.functional.binary_cross_entropy_with_logits(
        found.flags, torch.stack([is_held, (~absent).float()], -1), reduction="none"
    )
    return {"point": likely.sum() / there.sum().clamp(min=1), "flags": flags.mean()}
