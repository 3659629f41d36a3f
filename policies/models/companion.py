"""Networks that an RL algorithm writes beside a checkpoint: NAME.safetensors, and NAME.json with their sizes."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load as read
from safetensors.torch import save as as_bytes
from torch import nn

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
    """Write both files or neither; the weights last."""
    weights = as_bytes({key: value.contiguous() for key, value in module.state_dict().items()})
    write_together({root / f"{name}.json": json.dumps(sizes, indent=1).encode(), root / f"{name}.safetensors": weights})


def load(root: Path | str, name: str, build: Callable[..., M]) -> M | None:
    """Return a checkpoint's network in evaluation mode, None where it has none. UserError when it is broken.

    build: called with what NAME.json holds, as keywords.
    """
    if not is_there(root, name):
        return None
    try:
        module = build(**json.loads((Path(root) / f"{name}.json").read_text()))
        module.load_state_dict(read((Path(root) / f"{name}.safetensors").read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise UserError(f"the {name.replace('_', ' ')} in {root} is broken: {reason(error)}") from error
    return module.eval()
