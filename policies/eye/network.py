"""The eye's network: what each camera shows of what a sentence asks for.

    words -> Reader -> queries \
    image -> Trunk -> places   -> heat maps -> pixels, presence, likeness

Shapes: B observations, R = 2 roles (object, target), K arm points.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from policies.eye.queries import HEADS, Queries, Reader
from policies.eye.view import CameraView, View, nothing_seen
from sim.core.errors import UserError
from sim.core.options import at_least, multiple_of, option, shown


class _Four:
    """A check: a number for each size of the maps."""

    expected = "four numbers"

    def __call__(self, name: str, value: Any) -> None:
        if len(value) != 4:
            raise UserError(f"{name}={shown(value)}, expected {self.expected}")


@dataclass(frozen=True)
class EyeConfig:
    """Sizes of the network."""

    widths: tuple[int, ...] = option(
        (40, 64, 96, 128), "channels at 48, 24, 12 and 6 cells a side", _Four(), at_least(1)
    )
    point: int = option(40, "features that a point is found by", at_least(1))
    match: int = option(24, "features that a thing is known by", at_least(1))
    words: int = option(128, "width of the reader", multiple_of(HEADS, HEADS, 4096))


class EyeNetwork(nn.Module):
    """Patches and words to views."""

    def __init__(self, config: EyeConfig, cameras: Mapping[str, bool], arm_points: int, text_width: int):
        """cameras: name -> whether it is on the tool."""
        super().__init__()
        self.config, self.landmarks = config, arm_points
        self.reader = Reader(text_width, config.words, config.point, config.match)
        sizes = (config.widths, config.point, config.match, arm_points, 2 * config.words)
        self.views = nn.ModuleDict(
            {camera: CameraView(*sizes, sees_arm=not on_tool) for camera, on_tool in cameras.items()}
        )

    def look(self, patches: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, ...]]:
        """Return what the places of each image are like, whatever is asked for; cameras may be missing."""
        return {camera: self.view(camera).look(one) for camera, one in patches.items()}

    def compare(self, looked: Mapping[str, tuple[Tensor, ...]], queries: Queries) -> dict[str, View]:
        """Return what each camera shows of the queries."""
        batch, roles = queries.point.shape[:2]
        unseen = nothing_seen(batch, roles, self.landmarks)
        return {
            camera: self.view(camera).compare(looked[camera], queries) if camera in looked else unseen
            for camera in self.views
        }

    def view(self, camera: str) -> CameraView:
        """Return what looks through a camera."""
        return cast(CameraView, self.views[camera])

    def read(self, words: Tensor, mask: Tensor) -> Queries:
        """words (B, L, W), mask (B, L) -> queries."""
        return self.reader(words, mask)
