"""LoRA (Hu et al. 2022), by peft: a trained policy learns on by low-rank updates of its linear maps; all else stays.

The updates begin at zero and are merged into the weights in the end, so that training starts from the policy as it was
and its checkpoint is an ordinary one, no slower than before. Parts that are frozen anyway get none.
"""

import logging
import re
from typing import Any

import torch
from torch import nn

from policies.core.interface import Policy
from sim.core.errors import UserError

_log = logging.getLogger(__name__)


def add_updates(policy: Policy, rank: int, seed: int) -> None:
    """Let nothing but updates of `rank` of the linear maps learn, in place. UserError without peft."""
    try:
        import peft  # an extra, and slow to import
    except ImportError as error:
        raise UserError(f"lora_rank={rank} needs peft ({error}): python -m pip install 'fr3-vla[lora]'") from error
    torch.manual_seed(seed)
    maps = [name for name, part in policy.named_modules() if type(part) is nn.Linear and part.weight.requires_grad]
    exactly = "|".join(map(re.escape, maps))  # a list would match ends of names, frozen parts' among them
    peft.inject_adapter_in_model(peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=exactly), policy)
    learning = sum(one.numel() for one in policy.parameters() if one.requires_grad)
    given = sum(one.numel() for one in policy.parameters()) - learning
    _log.info("rank %d: %d numbers learn beside the %d given, %.1f %%", rank, learning, given, 100 * learning / given)


def merged(policy: Policy) -> Policy:
    """Add the updates to the weights, in place, and return the policy in the parts it had before them."""
    updated: list[tuple[str, Any]] = [one for one in policy.named_modules() if hasattr(one[1], "get_base_layer")]
    for name, part in updated:  # peft's; none where there are no updates
        part.merge()
        policy.set_submodule(name, part.get_base_layer())
    return policy
