"""A pretrained eye, or another pretrained fusion, as a policy that only sees."""

import json
from pathlib import Path

from policies.core.parts import FusionConfig
from policies.core.spec import PolicySpec
from policies.eye.trunk import SIDE
from policies.fusion.eye import EyeFusionConfig
from policies.fusion.grounded_points import GroundedPointsConfig
from policies.fusion.pretrained_fusion import CARD
from policies.models.vla import Vla, VlaConfig
from policies.vision.pixels import PixelsConfig
from sim.core.contract import GROUNDING_COLUMNS
from sim.core.errors import UserError
from sim.core.paths import find_asset
from sim.core.structured import typed
from sim.robots.robot import Robot
from sim.scene.build import RenderConfig


def eye_policy(robot: Robot, finder: FusionConfig) -> Vla:
    """Return an untrained policy that finds points by this fusion."""
    is_eye = isinstance(finder, EyeFusionConfig)
    size = (SIDE, SIDE) if is_eye else (RenderConfig.height, RenderConfig.width)
    dims = (robot.action_dim, robot.action_dim)
    spec = PolicySpec(robot.name, robot.camera_names, size, *dims, GROUNDING_COLUMNS, robot.control_hz)
    fusion = GroundedPointsConfig(finder=finder)
    return (
        VlaConfig(vision=PixelsConfig(), fusion=fusion).build(spec) if is_eye else VlaConfig(fusion=fusion).build(spec)
    )


def load_eye(folder: str | Path, robot: Robot) -> Vla:
    """Return the policy of a folder of pretrained weights. UserError where there is none."""
    root = find_asset(folder)
    try:
        stated = json.loads((root / CARD).read_text())["fusion"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"no pretrained eye in {root}; make one with python -m policies.pretrain_eye") from error
    finder = typed(FusionConfig, stated if "name" in stated else {"name": "keypoints"}, "fusion.")
    policy = eye_policy(robot, finder)
    policy.load_pretrained(root)
    return policy.eval()
