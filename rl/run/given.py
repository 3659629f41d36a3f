"""What a run is given is checked before anything is collected or trained: demonstrations, weights, a checkpoint."""

from pathlib import Path

from policies.core.interface import Policy
from policies.models import checkpoint
from policies.processing.resize import policy_image_size
from policies.train import check_same_policy, check_start
from rl.run.options import RecapConfig
from sim.core.errors import UserError
from sim.dataset.reader import Dataset, check_no_other
from sim.dataset.schema import INFO_PATH


def check_given(config: RecapConfig) -> Policy:
    """Return the policy that a run begins with, of random weights where it is yet to be trained.

    UserError where what is there already is of another task, robot, image size or policy, or weights are not.
    """
    if config.recorded and config.pretrained is None and not config.is_trained:
        raise UserError(
            f"rollouts=[{','.join(config.recorded)}] without the policy that acted in them; give pretrained=DIR, its "
            "checkpoint, and demos=DIR, its demonstrations"
        )
    check_no_other(config.demos_root)
    if (config.demos_root / INFO_PATH).is_file():
        recorded = Dataset(config.demos_root)
        _check_demonstrations(config, recorded)
        if recorded.features.cameras and not config.is_trained and config.needs_images:
            size = policy_image_size(recorded.features.image_size)
            _check_size(config, size, f"demos={config.demos_root}: the images to train on")
    if config.is_trained:
        return _check_policy(config, config.pretrained_root)
    policy = config.build_policy()
    check_start(policy, config.init_fusion)
    return policy


def _check_demonstrations(config: RecapConfig, recorded: Dataset) -> None:
    root = recorded.root
    config.robot.load().check_same(recorded.info["robot_type"], recorded.fps, str(root))
    task = recorded.provenance.get("world", {}).get("task")
    if task not in (None, config.task):
        raise UserError(f"task={config.task}, expected {task}, which the demonstrations in {root} show")


def _check_policy(config: RecapConfig, root: Path) -> Policy:
    policy, metadata = checkpoint.load(root)
    config.robot.load().check_same(policy.spec.robot, policy.spec.control_hz, f"checkpoint {root}")
    metadata.check_task(config.task, f"pretrained={root}")
    check_same_policy(f"pretrained={root}", policy.config, config.policy)
    if policy.needs.images:
        _check_size(config, policy.spec.image_size, f"pretrained={root}: the images it looks at")
    return policy


def _check_size(config: RecapConfig, size: tuple[int, int], whose: str) -> None:
    if config.recorded:  # the run renders nothing for itself
        return
    wanted = (config.render.height, config.render.width)
    if tuple(size) != wanted:
        found, expected = (f"{height} x {width}" for height, width in (size, wanted))
        raise UserError(
            f"{whose} are {found} pixels, expected {expected}; give render.height={size[0]} render.width={size[1]}"
        )
