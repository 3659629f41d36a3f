"""Pruning: units that never change go without a trace, sizes are those of arithmetic, what is left goes on learning."""

import dataclasses

import pytest
import torch
from learning import QUICK, TINY, about, killed_at, tiny_model, write_demos

from policies.core.parts import HeadConfig, HeadShape
from policies.heads.bins import BinsConfig
from policies.heads.consistency import ConsistencyConfig
from policies.heads.cvae import CvaeConfig
from policies.heads.diffusion import DiffusionConfig
from policies.heads.flow import FlowConfig, FlowHead, ResidualBlock
from policies.heads.network import ChunkNetwork
from policies.heads.pruning import pruned
from policies.heads.regression import RegressionConfig
from policies.models import checkpoint
from policies.prune import PruneConfig, prune
from sim.core.errors import UserError

SHAPE = HeadShape(chunk=3, action_dim=2, context_tokens=4, width=8)
SIZES = {"hidden": 16, "blocks": 3}
HEADS = [kind(**SIZES) for kind in (FlowConfig, DiffusionConfig, ConsistencyConfig, RegressionConfig, CvaeConfig)]


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def alive(config: HeadConfig):
    """Return a head without weights that are zero."""
    torch.manual_seed(0)
    head = config.build(SHAPE)
    for one in head.parameters():
        if not one.any():
            torch.nn.init.normal_(one, std=0.3)
    return head


def loss(head, seed: int = 0) -> torch.Tensor:
    batch = draw(32, 3, 2), torch.ones(32, 3, dtype=torch.bool), draw(32, 4, 8, seed=3)
    return head.loss(*batch, torch.Generator().manual_seed(seed))


def make_constant(head, units: list[int]) -> None:
    """Let these units of every block be numbers that no input changes."""
    with torch.no_grad():
        for one in head.modules():
            if isinstance(one, FlowHead | ChunkNetwork):
                one.condition.weight[units] = 0
            if isinstance(one, ResidualBlock):
                one.up.weight[units] = 0


@pytest.mark.parametrize("config", HEADS, ids=lambda config: config.name)
def test_units_that_never_change_go_without_a_trace(config):
    head, constant = alive(config), [0, 3, 7, 12, 15, 21, 22, 31]
    make_constant(head, constant)
    found = pruned(config, head, 0.75, lambda: loss(head))
    smaller = found.config.build(SHAPE)
    smaller.load_state_dict(found.weights)
    assert found.config.inner == 24
    for seed in range(3):
        torch.testing.assert_close(loss(smaller, seed), loss(head, seed), atol=1e-4, rtol=1e-4)
    context = draw(6, 4, 8, seed=5)
    chunks = [one.sample(context, torch.Generator().manual_seed(2)) for one in (head, smaller)]
    torch.testing.assert_close(*chunks, atol=1e-4, rtol=1e-4)


def test_units_of_most_effect_are_kept():
    config = RegressionConfig(**SIZES)
    head = alive(config)
    with torch.no_grad():
        for block in head.network.blocks:
            block.down.weight[:, [4, 9]] *= 100
    found = pruned(config, head, 2 / 32, lambda: loss(head))
    for i, block in enumerate(head.network.blocks):
        assert torch.equal(found.weights[f"network.blocks.{i}.up.weight"], block.up.weight[[4, 9]])
        assert torch.equal(found.weights[f"network.blocks.{i}.down.weight"], block.down.weight[:, [4, 9]])
    assert torch.equal(found.weights["network.condition.bias"], head.network.condition.bias[[4, 9]])


def test_sizes_are_those_of_arithmetic_and_pruning_again_counts_from_there():
    config = RegressionConfig(**SIZES)
    head = alive(config)
    once = pruned(config, head, 0.75, lambda: loss(head))
    before, after = (sum(one.numel() for one in weights.values()) for weights in (head.state_dict(), once.weights))
    assert before - after == 8 * (17 + 3 * (17 + 16))  # of a condition's row, of each block's row and column
    smaller = once.config.build(SHAPE)
    smaller.load_state_dict(once.weights)
    assert pruned(once.config, smaller, 0.5, lambda: loss(smaller)).config.inner == 12


def test_a_head_is_left_as_it_was():
    config = FlowConfig(**SIZES)
    head = alive(config)
    before = {name: value.clone() for name, value in head.state_dict().items()}
    pruned(config, head, 0.5, lambda: loss(head))
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())
    assert not any(block.down._forward_pre_hooks for block in head.blocks)


def test_a_head_without_residual_blocks_is_refused():
    config = BinsConfig()
    with pytest.raises(UserError, match="a head 'bins' has no residual blocks to prune"):
        pruned(config, config.build(SHAPE), 0.75, lambda: None)


# ---- the program -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    return write_demos(tmp_path_factory.mktemp("prune") / "demos")


@pytest.fixture
def saved(tmp_path, demos):
    metadata = about(demos, guidance=1.5, tasks=("stack",))
    metadata.provenance["seeds"] = [[70, 80]]
    checkpoint.save(tmp_path / "policy", tiny_model(), metadata)
    return tmp_path / "policy"


def test_a_checkpoint_of_smaller_sizes_is_written_and_was_trained_on(saved, demos, tmp_path):
    out = tmp_path / "pruned"
    prune(PruneConfig(str(saved), (str(demos),), str(out), optim=QUICK))
    policy, metadata = checkpoint.load(out)
    assert policy.config == dataclasses.replace(TINY, head=dataclasses.replace(TINY.head, inner=48))
    assert policy.head.blocks[0].up.weight.shape == (48, 32)
    assert metadata.guidance == 1.5 and metadata.tasks == ("pick_place", "stack")
    assert metadata.provenance["seeds"] == [[70, 80], [0, 2]]
    assert metadata.provenance["config"]["keep"] == 0.75
    again = tmp_path / "untrained"
    barely = dataclasses.replace(QUICK, steps=1, learning_rate=1e-12)
    prune(PruneConfig(str(saved), (str(demos),), str(again), optim=barely))
    assert not torch.allclose(checkpoint.load(again)[0].head.out.weight, policy.head.out.weight, atol=1e-4)
    with pytest.raises(UserError, match="holds a finished checkpoint"):
        prune(PruneConfig(str(saved), (str(demos),), str(out), optim=QUICK))


def test_a_killed_run_goes_on_to_the_same_weights(saved, demos, tmp_path):
    whole, parts = (PruneConfig(str(saved), (str(demos),), str(tmp_path / name), optim=QUICK) for name in "ab")
    prune(whole)
    with killed_at(9):
        prune(parts)
    with pytest.raises(UserError):  # begun with other sizes
        prune(dataclasses.replace(parts, keep=0.5))
    prune(parts)
    first, second = (checkpoint.load(config.out)[0].state_dict() for config in (whole, parts))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_resuming_from_another_checkpoint_is_refused(saved, demos, tmp_path):
    checkpoint.save(tmp_path / "other", tiny_model(seed=1), about(demos))
    begun = PruneConfig(str(saved), (str(demos),), str(tmp_path / "pruned"), optim=QUICK)
    with killed_at(9):
        prune(begun)
    with pytest.raises(UserError, match="begun with other weights to begin from; name a new out=DIR"):
        prune(dataclasses.replace(begun, checkpoint=str(tmp_path / "other")))


def test_what_cannot_be_pruned_is_refused(saved, demos, tmp_path):
    (saved / "critic.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="has critic beside it"):
        prune(PruneConfig(str(saved), (str(demos),), str(tmp_path / "pruned")))
    with pytest.raises(UserError, match="keep=1, expected"):
        PruneConfig(keep=1.0)
