"""A pretrained eye, or another pretrained fusion, as a policy that only sees."""

from pathlib import Path

from policies.core.interface import Policy
from policies.core.parts import FusionConfig
from policies.core.spec import PolicySpec
from policies.eye.network import EyeConfig
from policies.eye.trunk import SIDE
from policies.fusion.eye import EyeFusionConfig
from policies.fusion.grounded_points import GroundedPointsConfig
from policies.fusion.pretrained_fusion import CARD, WEIGHTS, read_pretrained
from policies.models import checkpoint
from policies.models.vla import Vla, VlaConfig
from policies.vision.pixels import PixelsConfig
from sim.core.errors import UserError
from sim.core.paths import find_asset
from sim.core.provenance import plain
from sim.dataset.info import first_difference
from sim.robots.robot import Robot
from sim.scene.build import RenderConfig


def eye_policy(robot: Robot, finder: FusionConfig) -> Vla:
    """Return an untrained policy that finds points by this fusion."""
    is_eye = isinstance(finder, EyeFusionConfig)
    size = (SIDE, SIDE) if is_eye else (RenderConfig.height, RenderConfig.width)
    spec, fusion = PolicySpec.of(robot, size), GroundedPointsConfig(finder=finder)
    return (
        VlaConfig(vision=PixelsConfig(), fusion=fusion).build(spec) if is_eye else VlaConfig(fusion=fusion).build(spec)
    )


def read_config(root: Path) -> FusionConfig:
    """Return what a folder of pretrained weights was made for. UserError where there are none."""
    if not all((root / name).is_file() for name in (CARD, WEIGHTS)):
        raise UserError(f"no pretrained eye in {root}; make one with python -m policies.pretrain_eye")
    return read_pretrained(root)[0]


def begun_from(init: str, network: EyeConfig) -> EyeFusionConfig:
    """Return what the eye that training goes on from was made for. UserError for another fusion or other sizes."""
    has = read_config(find_asset(init))
    if not isinstance(has, EyeFusionConfig):
        raise UserError(f"init={init} is of fusion {has.name!r}, expected a pretrained eye")
    if different := first_difference(plain(has.network), plain(network)):
        name, made_with, given = different
        raise UserError(f"network.{name}={given}, expected {made_with}, which init={init} was made with")
    return has


def load_eye(folder: str | Path, robot: Robot) -> Vla:
    """Return the policy of a folder of pretrained weights. UserError where there is none."""
    root = find_asset(folder)
    policy = eye_policy(robot, read_config(root))
    policy.load_pretrained(root)
    return policy.eval()


def policy_or_eye(root: str | None, folder: str, robot: Robot) -> Policy:
    """Return the policy of a checkpoint; without one, that of a folder of pretrained weights.

    UserError for one of another robot, or that finds no points in what it sees.
    """
    if not root:
        return load_eye(folder, robot)
    policy, _ = checkpoint.load(root)
    robot.check_same(policy.spec.robot, policy.spec.control_hz, root)
    fusion = getattr(policy, "fusion", None)
    if policy.needs.ground_truth or policy.needs.goal or "points" not in getattr(fusion, "gives", ()):
        raise UserError(f"checkpoint={root} finds no points in images by a sentence; expected a policy that does")
    return policy
