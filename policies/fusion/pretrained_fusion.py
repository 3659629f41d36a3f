"""A fusion from grounding pretraining on disk: fusion.safetensors and card.json, as `assets/fusion` ships it."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor

from policies.core.migrate import migrate_fusion
from policies.core.parts import FusionConfig
from policies.core.weight_files import SHA256, as_bytes, read_weights
from sim.core.errors import UserError
from sim.core.provenance import plain
from sim.core.structured import typed
from sim.dataset.files import write_atomic

WEIGHTS, CARD = "fusion.safetensors", "card.json"


def save_fusion(root: Path, weights: Mapping[str, Tensor], card: dict) -> None:
    """Write the state dict of a fusion, and a card whose "fusion" is its configuration."""
    data, checksum = as_bytes(weights)
    write_atomic(root / CARD, (json.dumps({**card, **checksum}, indent=1) + "\n").encode())
    write_atomic(root / WEIGHTS, data)


def read_fusion(root: Path, config: FusionConfig) -> tuple[dict[str, Tensor], dict]:
    """Return state dict and card. UserError when they are missing, broken or of another configuration."""
    if not (root / WEIGHTS).is_file():
        raise UserError(
            f"no pretrained fusion in {root}; make one with python -m policies.pretrain_grounding, "
            "or give init_fusion=null"
        )
    try:
        card = json.loads((root / CARD).read_text())
        stated, weights = migrate_fusion(card["fusion"], read_weights(root / WEIGHTS, card.get(SHA256)))
        made_for = typed(FusionConfig, stated, "fusion.")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise UserError(f"the pretrained fusion in {root} is broken: {str(error).splitlines()[0]}") from error
    if made_for != config:
        raise UserError(f"{root} was made for {plain(made_for)}, not {plain(config)}; give init_fusion=null")
    return weights, card
