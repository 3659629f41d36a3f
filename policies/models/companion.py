"""Networks that an RL algorithm writes beside a checkpoint: NAME.safetensors, and NAME.json with their sizes."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from torch import nn

from policies.core.weight_files import SHA256, as_bytes, read_weights
from policies.models.checkpoint import check_finite
from sim.core.errors import UserError, reason
from sim.core.files import write_together

M = TypeVar("M", bound=nn.Module)


def is_there(root: Path | str, name: str) -> bool:
    """Return whether a checkpoint directory holds the network."""
    return (Path(root) / f"{name}.safetensors").is_file()


def check_alone(root: Path | str) -> None:
    """UserError when a network lies beside a checkpoint: it was learned for how that very policy acts."""
    if names := sorted(one.stem for one in Path(root).glob("*.safetensors") if one.stem != "model"):
        raise UserError(
            f"checkpoint {root} has {' and '.join(names)} beside it, learned for this very policy; expected it alone"
        )


def save(root: Path, name: str, module: nn.Module, sizes: Mapping[str, Any]) -> None:
    """Write both files or neither; the weights last. UserError for weights that are no numbers."""
    check_finite(module.state_dict(), f"the {_spoken(name)} for {root}")
    weights, checksum = as_bytes(module.state_dict())
    content = json.dumps({**sizes, **checksum}, indent=1).encode()
    write_together({root / f"{name}.json": content, root / f"{name}.safetensors": weights})


def load(root: Path | str, name: str, build: Callable[..., M]) -> M | None:
    """Return a checkpoint's network in evaluation mode, None where it has none. UserError when it is broken or was
    changed.

    build: called with what NAME.json holds of `save`'s sizes, as keywords.
    """
    if not is_there(root, name):
        return None
    try:
        sizes = json.loads((Path(root) / f"{name}.json").read_text())
        sha256 = sizes.pop(SHA256, None)  # older files lack it
        module = build(**sizes)
        module.load_state_dict(read_weights(Path(root) / f"{name}.safetensors", sha256))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise UserError(f"the {_spoken(name)} in {root} is broken: {reason(error)}") from error
    check_finite(module.state_dict(), f"the {_spoken(name)} in {root}")
    return module.eval()


def _spoken(name: str) -> str:
    return name.replace("_", " ")
