"""A small transformer that reads context tokens and writes action tokens, one after the other or all at once.

Shapes: B batch, N context tokens, W their width, L action tokens, V vocabulary, H width.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from policies.core.attention import Layer
from policies.core.parts import HeadShape
from policies.heads.network import Guided, gumbel

INIT = 0.02  # standard deviation of tokens and places before training (Radford et al. 2019)
Cache = list[tuple[Tensor, Tensor]]  # keys and values (B, heads, seen, H / heads) of every layer


class TokenDecoder(nn.Module):
    """Logits of every action token given the context, and the action tokens before it or none."""

    def __init__(self, shape: HeadShape, vocabulary: int, length: int, width: int, layers: int):
        super().__init__()
        self.context = nn.Linear(shape.width, width)
        self.token = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.token.weight, std=INIT)  # as of places: louder tokens would drown them
        self.place = nn.Parameter(INIT * torch.randn(shape.context_tokens + length, width))
        self.layers = nn.ModuleList(Layer(width) for _ in range(layers))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, vocabulary)
        self.length = length

    def forward(self, context: Tensor, tokens: Tensor) -> Tensor:
        """context (B, N, W), tokens (B, L) -> logits (B, L, V): of each token, who sees only those before it."""
        x = torch.cat([self.context(context), self.token(tokens[:, :-1])], 1)
        logits, _ = self._read(x, [])
        return logits[:, context.shape[1] - 1 :]

    def at_once(self, context: Tensor) -> Tensor:
        """context (B, N, W) -> logits (B, L, V), each token for itself: what stands in its place is empty."""
        x = self.context(context)
        x = torch.cat([x, x.new_zeros(len(x), self.length, x.shape[-1])], 1) + self.place
        for layer in self.layers:
            x, _ = layer(x, causal=False)
        return self.out(self.norm(x[:, context.shape[1] :]))

    @torch.no_grad()
    def write(self, context: Tensor, choose: Callable[[Tensor], Tensor], end: int | None = None) -> Tensor:
        """Return tokens (B, L) chosen one after the other, up to `length`, or until all have chosen `end`.

        choose: logits (C, V) -> tokens (B,), where context is (C, N, W), C = B or, guided, 2 B.
        """
        logits, cache = self._read(self.context(context), [])
        tokens = [choose(logits[:, -1])]
        end = -1 if end is None else end  # no token is
        ended = tokens[0] == end
        while len(tokens) < self.length and not ended.all():
            last = tokens[-1].repeat(len(context) // len(tokens[-1]))
            logits, cache = self._read(self.token(last)[:, None], cache)
            tokens.append(choose(logits[:, -1]))
            ended = ended | (tokens[-1] == end)
        return torch.stack(tokens, 1)

    def _read(self, x: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """x (B, L, H) behind what the cache holds -> logits (B, L, V) and the cache of all."""
        begun = cache[0][0].shape[2] if cache else 0
        x = x + self.place[begun : begun + x.shape[1]]
        now: Cache = []
        for i, layer in enumerate(self.layers):
            x, seen = layer(x, cache[i] if cache else None)
            now.append(seen)
        return self.out(self.norm(x)), now


def distorted(tokens: Tensor, most: float, vocabulary: int, generator: torch.Generator) -> Tensor:
    """Return tokens (B, L) of which a share, drawn for each sample from 0 to `most`, is replaced by any others.

    What was done tells so well what is done next that a decoder copies it and does not look at the context; acting, it
    then follows its own mistakes (copycats, Wen et al. 2020). Words dropped at random are an old cure (Bowman et al.
    2016).
    """
    if most == 0:
        return tokens
    share = most * torch.rand(len(tokens), 1, generator=generator)
    replaced = torch.rand(tokens.shape, generator=generator) < share
    others = torch.randint(vocabulary, tokens.shape, generator=generator)
    return torch.where(replaced.to(tokens.device), others.to(tokens.device), tokens)


def drawing(guided: Guided, temperature: float, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Return what draws tokens (B, ...) from the guided softmax of logits (C, ..., V); temperature 0: the likeliest."""

    def choose(logits: Tensor) -> Tensor:
        logits = guided.combine(logits)
        return (logits + temperature * gumbel(logits.shape, generator).to(logits)).argmax(-1)

    return choose
