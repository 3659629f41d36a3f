"""The eye as the part of a policy that finds the named things: images, words and joints to grounded points.

It gives points and no tokens: `grounded_points` makes one token of them, and keeps the eye frozen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from policies.core.inputs import Inputs
from policies.core.parts import (
    NOWHERE_M,
    Fusion,
    FusionConfig,
    LanguageConfig,
    Prefix,
    VisionConfig,
    check_reads_words,
)
from policies.core.registry import FUSIONS
from policies.core.spec import Needs, PolicySpec
from policies.eye.mixing import Found, Mixer
from policies.eye.network import EyeConfig, EyeNetwork
from policies.eye.pixel import PixelFinder
from policies.eye.queries import Queries
from policies.eye.trunk import SIDE, as_patches
from policies.eye.turn import NUMBERS, TurnFinder
from policies.eye.view import View
from policies.fusion.pretrained_fusion import read_fusion
from sim.core.errors import UserError
from sim.core.options import block, option
from sim.robots.robot import ROBOTS, WristCamera

EXISTS = 1  # of the flags
OBJECT, TARGET = 0, 1  # of the roles


@FUSIONS.register("eye")
@dataclass(frozen=True)
class EyeFusionConfig(FusionConfig):
    """Sizes of the eye."""

    name: str = "eye"
    network: EyeConfig = block(EyeConfig, "sizes of the network")
    turn: bool = option(True, "it looks closer at how the target is turned")  # noqa: FBT003
    object_turn: bool = option(True, "and at how the object is")  # noqa: FBT003
    closer: bool = option(True, "it looks closer for the pixels of what it found")  # noqa: FBT003

    def build(self, spec: PolicySpec, vision: VisionConfig | None, language: LanguageConfig | None) -> "Eye":
        if vision is None or vision.name != "pixels" or language is None:
            raise UserError("fusion 'eye' needs policy.vision.name=pixels and a language part; policy=eye has both")
        check_reads_words(self, language)
        if tuple(spec.image_size) != (SIDE, SIDE):
            raise UserError(
                f"images are {spec.image_size[0]}x{spec.image_size[1]}, the eye needs {SIDE}x{SIDE}: collect with "
                f"render.height={SIDE} render.width={SIDE}"
            )
        return Eye(self, spec, language.width)


class Eye(Fusion):
    """Network and geometry of the eye."""

    needs = Needs(images=True, instruction=True)
    gives = frozenset({"points", "errors"})
    requires_pretrained = True
    prefix_tokens, width = 0, 1
    radius: Tensor

    def __init__(self, config: EyeFusionConfig, spec: PolicySpec, text_width: int):
        super().__init__()
        self.config = config
        robot = ROBOTS.get(spec.robot)()
        on_tool = {one.name: isinstance(one, WristCamera) for one in robot.cameras}
        self.mixer = Mixer(on_tool, robot.joints)
        cameras = {name: on_tool[name] for name in spec.cameras}
        self.network = EyeNetwork(config.network, cameras, self.mixer.arm.landmarks, text_width)
        vector, arm_points = 2 * config.network.words, self.mixer.arm.landmarks
        self.closer = PixelFinder(cameras, vector, arm_points) if config.closer else None
        self.object_turn = TurnFinder(cameras) if config.object_turn else None
        self.turn = TurnFinder(cameras) if config.turn else None  # of the target
        self.register_buffer("radius", torch.tensor(3.0))  # of the region that holds 95 %, in usual errors

    def find(self, images: Mapping[str, Tensor], words: Tensor, mask: Tensor, state: Tensor) -> Found:
        """images: camera -> uint8 (B, SIDE, SIDE, 3), or one for all; words (B, L, W), mask (B, L), state (B, D)."""
        queries = self.network.read(words, mask)
        views = self.views(images, queries)
        found = self.mixer(views, queries, state)
        if self.turn or self.object_turn:
            found.turn = torch.stack(
                [self._turn(role, images, views, found.tool_rotation) for role in (OBJECT, TARGET)], 1
            )
        return found

    def turn_finder(self, role: int) -> TurnFinder | None:
        """Return what finds how the object or the target, a role, is turned, None for nothing."""
        return self.turn if role == TARGET else self.object_turn

    def views(self, images: Mapping[str, Tensor], queries: Queries) -> dict[str, View]:
        """Return what each camera shows of the queries; images as in `find`."""
        looked = self.network.look({camera: as_patches(one) for camera, one in images.items()})
        looked = {camera: _for_each(features, len(queries.vector)) for camera, features in looked.items()}
        views = self.network.compare(looked, queries)
        return self.closer(_repeated(images, len(queries.vector)), views, queries) if self.closer else views

    def _turn(self, role: int, images: Mapping[str, Tensor], views: Mapping[str, View], rotation: Tensor) -> Tensor:
        """Return how object or target is turned, (B, 4), by a closer look at where it was found."""
        finder = self.turn_finder(role)
        if finder is None:
            return rotation.new_zeros(len(rotation), NUMBERS)
        pixels = {camera: views[camera].roles.pixel[:, role] for camera in images}
        presence = {camera: views[camera].roles.presence[:, role] for camera in images}
        return finder(_repeated(images, len(rotation)), pixels, presence, rotation)

    def forward(self, inputs: Inputs) -> Prefix:
        """Return points (B, 4, 3) m as `sim.core.contract.GROUNDING_COLUMNS` has them, and errors (B, 4) m."""
        assert inputs.words is not None and inputs.word_mask is not None
        images = {camera: maps[0] for camera, maps in inputs.maps.items()}
        found = self.find(images, inputs.words, inputs.word_mask, inputs.state)
        points, error = torch.cat([found.points_b, found.points_t], 1), self.error_m(found)
        none = points.new_zeros(len(points), 0, self.width)
        return Prefix(none, points, errors=torch.cat([error, error], 1), turn=found.turn)

    def error_m(self, found: Found) -> Tensor:
        """Return the radius (B, R) m within which the thing lies horizontally in 95 of 100 cases."""
        error = self.radius * found.log_error[..., 3].exp()
        return torch.where(found.flags[..., EXISTS] > 0, error, error.clamp(min=NOWHERE_M))

    def load_pretrained(self, root: Path) -> dict:
        """Load a folder's weights. UserError for another robot or other cameras."""
        weights, card = read_fusion(root, self.config)
        try:
            self.load_state_dict(weights)
        except RuntimeError as error:
            raise UserError(f"{root} was made for another robot or other cameras") from error
        return card


def _repeated(images: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return one image of a camera for each of `count` sentences; as many as they are."""
    return {camera: _for_each((one,), count)[0] for camera, one in images.items()}


def _for_each(features: tuple[Tensor, ...], count: int) -> tuple[Tensor, ...]:
    """Return what one image showed for each of `count` sentences; what as many images showed as it is."""
    return tuple(one.expand(count, *one.shape[1:]) for one in features)
