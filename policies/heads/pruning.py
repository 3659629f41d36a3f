"""Structured pruning: residual blocks without the inner units that do least, as smaller dense maps.

A unit's effect on a block's output is its output weights times what it is; the part of it that never changes goes into
the output's bias, so that only its variance is lost (the squared error of the block, were units uncorrelated). All
blocks of a network share one condition of time and context, a row for each unit: unit i is kept in all or in none.

Shapes: H hidden width, I inner units.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from policies.core.parts import Head, HeadConfig
from policies.heads.flow import FlowHead, ResidualBlock
from policies.heads.network import ChunkNetwork
from sim.core.errors import UserError

Network = FlowHead | ChunkNetwork


@dataclass
class Pruned:
    """What a head becomes: its configuration, and its weights by name."""

    config: HeadConfig
    weights: dict[str, Tensor]


def pruned(config: HeadConfig, head: Head, keep: float, use: Callable[[], object]) -> Pruned:
    """Return a head with the share `keep` of the inner units of its residual blocks.

    use: runs the head on data, which tells what its units do. UserError for a head without residual blocks.
    """
    networks = {name: one for name, one in head.named_modules() if isinstance(one, Network)}
    if not networks:
        raise UserError(
            f"a head {config.name!r} has no residual blocks to prune; expected flow, diffusion, consistency, "
            "regression or cvae"
        )
    moments = _watched([block for one in networks.values() for block in _blocks(one)], use)
    weights, count = head.state_dict(), 0
    for name, network in networks.items():
        count = _count(network, keep)
        kept = _most_effect(_blocks(network), moments, count)
        weights |= {f"{name}.{key}".lstrip("."): value for key, value in _shrunk(network, kept, moments).items()}
    return Pruned(replace(cast(Any, config), inner=count), weights)


def _blocks(network: Network) -> list[ResidualBlock]:
    return [cast(ResidualBlock, block) for block in network.blocks]


def _count(network: Network, keep: float) -> int:
    return max(1, round(keep * network.condition.out_features))


class Moments(NamedTuple):
    """Of a block's inner units over all that passed through it, (I,) each."""

    mean: Tensor
    variance: Tensor


def _watched(blocks: list[ResidualBlock], use: Callable[[], object]) -> dict[ResidualBlock, Moments]:
    """Return what the blocks' inner units were while the head was used."""
    seen: dict[ResidualBlock, list[Tensor]] = {block: [] for block in blocks}
    hooks = [block.down.register_forward_pre_hook(_adds_to(sums)) for block, sums in seen.items()]
    use()
    for hook in hooks:
        hook.remove()
    return {block: _moments(torch.stack(parts).sum(0)) for block, parts in seen.items()}


def _adds_to(sums: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    """Return a hook that appends what a module is given."""
    return lambda _, inputs: sums.append(_sums(inputs[0]))


def _sums(units: Tensor) -> Tensor:
    """units (..., I) -> (3, I): how many, their sum, the sum of their squares."""
    units = units.detach().double().flatten(0, -2)
    return torch.stack([torch.full_like(units[0], len(units)), units.sum(0), units.square().sum(0)])


def _moments(sums: Tensor) -> Moments:
    count, total, squares = sums
    mean = total / count
    return Moments(mean.float(), (squares / count - mean.square()).clamp(min=0).float())


def _most_effect(blocks: list[ResidualBlock], moments: dict[ResidualBlock, Moments], count: int) -> Tensor:
    """Return which units have most effect, in order; each block's effects count in shares of their sum."""
    effects = [moments[block].variance * block.down.weight.detach().square().sum(0) for block in blocks]
    shares = [effect / effect.sum().clamp(min=1e-12) for effect in effects]
    return torch.stack(shares).sum(0).topk(count).indices.sort().values


@torch.no_grad()
def _shrunk(network: Network, kept: Tensor, moments: dict[ResidualBlock, Moments]) -> dict[str, Tensor]:
    """Return the weights that change when a network keeps these units."""
    condition = network.condition
    found = {"condition.weight": condition.weight[kept], "condition.bias": condition.bias[kept]}
    for i, block in enumerate(_blocks(network)):
        gone = moments[block].mean.clone()
        gone[kept] = 0
        found |= {
            f"blocks.{i}.up.weight": block.up.weight[kept],
            f"blocks.{i}.up.bias": block.up.bias[kept],
            f"blocks.{i}.down.weight": block.down.weight[:, kept],
            f"blocks.{i}.down.bias": block.down.bias + block.down.weight @ gone,
        }
    return found
