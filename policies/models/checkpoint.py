"""A checkpoint directory is self-sufficient: weights, normalization, configuration, what it was made of.

model.safetensors   the averaged weights with the normalization constants
config.json         policy configuration and dimensions, contract and encoder versions, provenance
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor

from policies.core.interface import Policy, PolicyConfig
from policies.core.migrate import migrate_checkpoint
from policies.core.spec import PolicySpec
from policies.core.weight_files import SHA256, as_bytes, read_weights
from sim.core.contract import CONTRACT_VERSION
from sim.core.errors import UserError, found_beside, reason
from sim.core.files import write_together
from sim.core.provenance import plain
from sim.core.structured import typed
from sim.robots.robot import Robot

WEIGHTS, CONFIG = "model.safetensors", "config.json"


@dataclass(frozen=True)
class CheckpointMetadata:
    """What a checkpoint holds besides the policy."""

    vision: str  # fingerprints of the frozen encoders, "" where the policy uses none
    text: str
    tasks: tuple[str, ...]  # that it was trained on; () where it is not known
    provenance: dict
    guidance: float = 1.0  # beta that it is played with by default

    def check_task(self, task: str, whose: Path | str) -> None:
        """UserError when the policy was trained on other tasks than `task`."""
        if self.tasks and task not in self.tasks:
            raise UserError(f"task={task}, expected {' or '.join(self.tasks)}, which {whose} was trained on")


def save(out: Path, policy: Policy, metadata: CheckpointMetadata) -> None:
    """Write weights and configuration, both or neither; the weights last. UserError for weights that are no numbers, a
    full disk and the like."""
    made_for = {"policy": plain(policy.config), "spec": plain(policy.spec)}
    check_finite(policy.state_dict(), f"the policy for {out}")
    weights, checksum = as_bytes(policy.state_dict())
    content = {"contract": CONTRACT_VERSION, **made_for, **plain(metadata), **checksum}
    write_together({out / CONFIG: json.dumps(content, indent=1).encode(), out / WEIGHTS: weights})


def check_new(out: Path) -> None:
    """UserError when there is a checkpoint already."""
    if (out / WEIGHTS).is_file():
        raise UserError(f"{out} holds a finished checkpoint; name another out=DIR")


def check_ours(root: Path, content: dict) -> None:
    """UserError when config.json is another program's."""
    if "contract" not in content and "type" in content:
        raise UserError(
            f"{root} is a checkpoint of LeRobot, of policy {content['type']!r}: in LeRobot's environment, python -m "
            f"lerobot_robot_fairino_fr3.serve checkpoint={root} serves it, and server=ws://localhost:8000 plays it here"
        )


def check_finite(weights: Mapping[str, Tensor], whose: str) -> None:
    """UserError when a weight is not a finite number: such a policy decides nothing."""
    for name, value in weights.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise UserError(f"{whose} has weights that are no finite numbers, {name}; expected finite ones: train anew")


def load(root: Path | str) -> tuple[Policy, CheckpointMetadata]:
    """Return the policy in evaluation mode. UserError when there is none, it is broken or of another contract."""
    root = Path(root)
    if not (root / WEIGHTS).is_file() or not (root / CONFIG).is_file():
        raise UserError(f"{root} is no checkpoint: {WEIGHTS} and {CONFIG} expected there{found_beside(root, WEIGHTS)}")
    try:
        content = json.loads((root / CONFIG).read_text())
        check_ours(root, content)
        contract = content.pop("contract")
        if contract != CONTRACT_VERSION:
            remedy = "take a newer version of this code" if int(contract) > int(CONTRACT_VERSION) else "train again"
            raise UserError(f"{root} has contract version {contract}, this code has {CONTRACT_VERSION}; {remedy}")
        content, weights = migrate_checkpoint(content, read_weights(root / WEIGHTS, content.pop(SHA256, None)))
        policy, metadata = _made_of(content, root)
        policy.load_state_dict(weights)
        check_finite(weights, f"checkpoint {root}")
        return policy.eval(), metadata
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise UserError(f"checkpoint {root} is broken: {reason(error)}") from error


def card(root: Path | str) -> dict:
    """Return what a checkpoint's config.json says, {} where there is none that can be read."""
    try:
        return json.loads((Path(root) / CONFIG).read_text())
    except (OSError, ValueError):
        return {}


def load_for(root: str, task: str, robot: Robot) -> tuple[Policy, CheckpointMetadata]:
    """Return as `load`. UserError also for a policy of other tasks, another robot or another rate."""
    policy, metadata = load(root)
    metadata.check_task(task, root)
    robot.check_same(policy.spec.robot, policy.spec.control_hz, root)
    return policy, metadata


def _made_of(content: dict, root: Path) -> tuple[Policy, CheckpointMetadata]:
    """UserError names the checkpoint: it may be of a newer version, or of a plug-in that was not named."""
    try:
        config = typed(PolicyConfig, content.pop("policy"), "policy.")
        policy = config.build(typed(PolicySpec, content.pop("spec"), "spec."))
        return policy, typed(CheckpointMetadata, content)
    except UserError as error:
        raise UserError(f"checkpoint {root} is of a newer version, or needs plugins=[MODULE]: {error}") from error
