"""A fusion from grounding pretraining on disk: fusion.safetensors and card.json, as `assets/fusion` ships it."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor

from policies.core.migrate import migrate_fusion
from policies.core.parts import Fusion, FusionConfig
from policies.core.weight_files import SHA256, as_bytes, read_weights
from sim.core.errors import UserError, did_you_mean, reason
from sim.core.files import write_together
from sim.core.provenance import plain
from sim.core.structured import typed

WEIGHTS, CARD = "fusion.safetensors", "card.json"

_log = logging.getLogger(__name__)


def save_fusion(root: Path, weights: Mapping[str, Tensor], card: dict) -> None:
    """Write the state dict of a fusion, and a card whose "fusion" is its configuration."""
    data, checksum = as_bytes(weights)
    write_together({root / CARD: (json.dumps({**card, **checksum}, indent=1) + "\n").encode(), root / WEIGHTS: data})


def read_fusion(root: Path, config: FusionConfig) -> tuple[dict[str, Tensor], dict]:
    """Return state dict and card. UserError when they are missing, broken or of another configuration."""
    made_for, weights, card = read_pretrained(root)
    if made_for != config:
        raise UserError(f"{root} was made for {plain(made_for)}, not {plain(config)}; give init_fusion=null")
    return weights, card


def load_fusion(fusion: Fusion, config: FusionConfig, root: Path) -> dict:
    """Load a folder's weights into the fusion of a configuration; return their card.

    A folder of a fusion of another kind, as the one that ships with the project, is left alone: {} and a warning.
    UserError for another configuration, robot or cameras, and for another kind where the fusion is frozen.
    """
    made_for, _, _ = read_pretrained(root)
    if made_for.name != config.name:
        if not any(parameter.requires_grad for parameter in fusion.parameters()):
            raise UserError(
                f"{root} is of fusion {made_for.name!r}, expected {config.name!r}, whose random weights nothing would "
                f"train: python -m policies.pretrain_grounding policy.fusion.name={config.name} out=DIR, then "
                f"init_fusion=DIR; or give policy.fusion.finder.name={made_for.name}"
            )
        _log.warning("%s is of fusion %r: fusion %r begins with random weights", root, made_for.name, config.name)
        return {}
    weights, card = read_fusion(root, config)
    try:
        fusion.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{root} was made for another robot, cameras or encoders; give init_fusion=null") from error
    return card


def read_pretrained(root: Path) -> tuple[FusionConfig, dict[str, Tensor], dict]:
    """Return what a folder's fusion was made for, its state dict and card. UserError when it is missing or broken."""
    if not (root / WEIGHTS).is_file():
        near = did_you_mean(str(root), [str(one.parent) for one in root.parent.glob(f"*/{WEIGHTS}")])
        raise UserError(
            f"no pretrained fusion in {root}{near}; make one with python -m policies.pretrain_grounding, "
            "or give init_fusion=null"
        )
    try:
        card = json.loads((root / CARD).read_text())
        stated, weights = migrate_fusion(card["fusion"], read_weights(root / WEIGHTS, card.get(SHA256)))
        return typed(FusionConfig, stated, "fusion."), weights, card
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise UserError(f"the pretrained fusion in {root} is broken: {reason(error)}") from error
