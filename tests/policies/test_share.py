"""Shares of a batch: what two of them find is what one process finds with the whole, on every policy and in bfloat16.

Processes are not needed to ask this: the mean over two shares is taken here.
"""

import dataclasses

import numpy as np
import pytest
import torch
from learning import SPEC, TINY, random_batch, write_demos
from test_presets import PRESETS, preset

from policies.core.registry import HEADS
from policies.processing.data import EpisodeTable, Source, TrainingData
from policies.processing.observation import ObservationProcessor
from policies.training.share import Share
from sim.core.errors import UserError

HALVES = (Share(0, 2), Share(1, 2))
BATCH = 4


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return EpisodeTable(Source(write_demos(tmp_path_factory.mktemp("share") / "demos")))


@pytest.fixture(scope="module", params=PRESETS)
def learning(request, table):
    """A policy with random weights, none of them zero, and what draws its batches."""
    torch.manual_seed(0)
    policy = preset(request.param).build(table.spec)
    for weights in policy.parameters():
        if weights.requires_grad and not weights.any():
            torch.nn.init.normal_(weights, std=0.02)
    return policy, TrainingData([table], ObservationProcessor(policy))


def learned(policy, loss, batch, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return loss and gradient (P,) of a batch."""
    policy.zero_grad()
    total, _ = loss(batch, torch.Generator().manual_seed(seed))
    total.backward()
    return total.detach(), torch.cat([(0 * p if p.grad is None else p.grad).flatten() for p in policy.parameters()])


def drawn(data, share: Share = HALVES[0], batch: int = BATCH):
    return share.batches(data.sample)(np.random.default_rng(1), batch)


def test_two_shares_find_what_the_whole_batch_does(learning):
    policy, data = learning
    loss, gradient = learned(policy, policy.loss, drawn(data, Share()))
    shares = [learned(policy, share.loss(policy.loss), drawn(data, share)) for share in HALVES]
    found, averaged = (torch.stack(parts).mean(0) for parts in zip(*shares, strict=True))
    assert not torch.equal(*(gradient for _, gradient in shares))
    assert found.item() == pytest.approx(loss.item(), rel=1e-5)
    assert (averaged - gradient).norm() <= 1e-4 * gradient.norm()


def test_bfloat16_loses_little_and_gradients_stay_float32(learning):
    policy, data = learning
    batch = drawn(data, Share())
    loss, gradient = learned(policy, policy.loss, batch)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, _ = policy.loss(batch, torch.Generator().manual_seed(0))
    policy.zero_grad()
    rounded.backward()
    assert rounded.item() == pytest.approx(loss.item(), rel=0.05) and not torch.equal(rounded.float(), loss)
    assert {p.grad.dtype for p in policy.parameters() if p.grad is not None} == {torch.float32}
    assert gradient.isfinite().all()


def test_no_part_leaves_something_on_the_cpu(learning):
    """The meta device refuses what lies elsewhere, as a GPU does."""
    policy, data = learning
    if policy.config.head.name == "fast":
        pytest.skip("its byte pairs are found by values, which meta tensors lack")
    meta = torch.device("meta")
    loss, _ = policy.to(meta).loss(drawn(data).to(meta), torch.Generator())
    assert loss.device.type == "meta"


@pytest.mark.parametrize("name", sorted(HEADS))
def test_every_head_draws_what_shares_can_share(name):
    config = HEADS.get(name)()
    policy = dataclasses.replace(TINY, head=config).build(SPEC)
    batch = random_batch(BATCH)
    policy.fit_normalization(batch.actions, batch.valid, batch.inputs.state, batch.points)
    states = []
    for share in (Share(), *HALVES):
        generator = torch.Generator().manual_seed(3)
        share.loss(policy.loss)(batch.take(torch.arange(BATCH // share.of)), generator)
        states.append(generator.get_state())
    assert torch.equal(states[0], states[1]) and torch.equal(states[0], states[2])


def test_draws_are_parts_of_the_whole_draw():
    def loss(batch, generator):
        return batch, {
            "randn": torch.randn(2, 3, generator=generator),
            "rand": torch.rand((2, 3), generator=generator),
            "below": torch.randint(9, (2,), generator=generator),
            "between": torch.randint(5, 9, (2, 2), generator=generator),
            "chosen": torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), 2, replacement=True, generator=generator),
        }

    g = torch.Generator().manual_seed(1)
    whole = [
        torch.randn(4, 3, generator=g), torch.rand(4, 3, generator=g), torch.randint(9, (4,), generator=g),
        torch.randint(5, 9, (4, 2), generator=g),
        torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), 4, replacement=True, generator=g),
    ]  # fmt: skip
    for index, share in enumerate(HALVES):
        _, found = share.loss(loss)(torch.zeros(()), torch.Generator().manual_seed(1))
        for part, expected in zip(found.values(), whole, strict=True):
            assert torch.equal(part, expected[2 * index : 2 * index + 2])


def test_a_draw_that_cannot_be_shared_is_one_line():
    def loss(batch, generator):
        return torch.zeros(3).normal_(generator=generator), {}

    with pytest.raises(UserError, match="this policy's loss draws by normal_, which processes cannot share"):
        HALVES[0].loss(loss)(None, torch.Generator())
