"""A checkpoint directory is self-sufficient: weights, normalization, configuration, what it was made of.

model.safetensors   the averaged weights with the normalization constants
config.json         policy configuration and dimensions, contract and encoder versions, provenance
"""

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from policies.core.interface import Policy, PolicyConfig
from policies.core.migrate import migrate_checkpoint
from policies.core.spec import PolicySpec
from sim.core.contract import CONTRACT_VERSION
from sim.core.errors import UserError, found_beside
from sim.core.provenance import plain
from sim.core.structured import typed
from sim.dataset.files import write_atomic

WEIGHTS, CONFIG = "model.safetensors", "config.json"


@dataclass(frozen=True)
class CheckpointMetadata:
    """What a checkpoint holds besides the policy."""

    vision: str  # fingerprints of the frozen encoders, "" where the policy uses none
    text: str
    task: str
    provenance: dict
    guidance: float = 1.0  # beta that it is played with by default


def save(out: Path, policy: Policy, metadata: CheckpointMetadata) -> None:
    """Write weights and configuration, each whole or not at all; the weights last."""
    made_for = {"policy": plain(policy.config), "spec": plain(policy.spec)}
    content = {"contract": CONTRACT_VERSION, **made_for, **plain(metadata)}
    write_atomic(out / CONFIG, json.dumps(content, indent=1).encode())
    write_atomic(out / WEIGHTS, to_bytes({name: value.contiguous() for name, value in policy.state_dict().items()}))


def load(root: Path | str) -> tuple[Policy, CheckpointMetadata]:
    """Return the policy in evaluation mode. UserError when there is none, it is broken or of another contract."""
    root = Path(root)
    if not (root / WEIGHTS).is_file() or not (root / CONFIG).is_file():
        raise UserError(f"{root} is no checkpoint: {WEIGHTS} and {CONFIG} expected there{found_beside(root, WEIGHTS)}")
    try:
        content = json.loads((root / CONFIG).read_text())
        if "input_features" in content:
            raise UserError(
                f"{root} is a checkpoint of LeRobot, of policy {content.get('type')!r}: lerobot-eval and "
                "lerobot-rollout play it; here policies.train makes checkpoints"
            )
        contract = content.pop("contract")
        if contract != CONTRACT_VERSION:
            raise UserError(f"{root} has contract version {contract}, this code has {CONTRACT_VERSION}; train again")
        content, weights = migrate_checkpoint(content, load_file(root / WEIGHTS))
        config = typed(PolicyConfig, content.pop("policy"), "policy.")
        policy = config.build(typed(PolicySpec, content.pop("spec"), "spec."))
        policy.load_state_dict(weights)
    except (ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise UserError(f"checkpoint {root} is broken: {str(error).splitlines()[0]}") from error
    return policy.eval(), typed(CheckpointMetadata, content)
