"""A transformer layer, for heads that write tokens and fusions that read them.

Shapes: B batch, L tokens, H width.
"""

import torch
from torch import Tensor, cat, nn
from torch.nn import functional as F

HEAD_WIDTH = 32


class Layer(nn.Module):
    """Self-attention and a linear map to four times the width and back, each with norm and shortcut."""

    def __init__(self, width: int):
        super().__init__()
        self.heads = max(width // HEAD_WIDTH, 1)
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(
        self, x: Tensor, seen: tuple[Tensor, Tensor] | None = None, *, causal: bool = True, mask: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x (B, L, H) and keys and values of the tokens before -> (B, L, H) and those of all tokens.

        mask: bool (B, 1, L or 1, L), True where a token may look; it replaces `causal`.
        """
        parts = self.attention(self.before(x)).chunk(3, -1)
        query, key, value = (one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in parts)
        if seen is not None:
            key, value = cat([seen[0], key], 2), cat([seen[1], value], 2)
        causal = causal and seen is None and mask is None
        mixed = attend(query, key, value, mask, causal=causal)
        x = x + self.mix(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.between(x)), (key, value)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, *, causal: bool = False) -> Tensor:
    """Return softmax(query key^T / sqrt(width)) value, (B, heads, L, width); mask: True where a token may look.

    In float32 on a CPU, whatever autocast asks for: there torch 2.13 takes four times as long backwards in bfloat16.
    """
    if not torch.is_autocast_enabled("cpu"):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(
            query.float(), key.float(), value.float(), attn_mask=mask, is_causal=causal
        )
