"""Early exit: paths end where arithmetic says, each sample on its own; the threshold keeps to its tolerance."""

import dataclasses

import numpy as np
import pytest
import torch
from learning import SPEC, TINY, about, tiny_model, write_demos
from test_flow import TOKENS, WIDTH, D, Field, T, draw, expert, joining

from policies.exit_early import THRESHOLDS, WITHIN, ExitEarlyConfig, choose, exit_early, exiting, held_out, mean_steps
from policies.heads.flow import FlowHead
from policies.heads.regression import RegressionConfig
from policies.models import checkpoint
from policies.models.checkpoint import WEIGHTS
from sim.core.errors import UserError


def leaving(head: FlowHead, below: float) -> FlowHead:
    head.config = dataclasses.replace(head.config, exit_below=below)
    return head


def counted(head: FlowHead, monkeypatch) -> list:
    """Return a list that grows by one at every step of the head."""
    calls, velocity = [], head.velocity
    monkeypatch.setattr(head, "velocity", lambda *inputs: calls.append(1) or velocity(*inputs))
    return calls


# ---- the path ----------------------------------------------------------------------------------


def test_a_straight_path_is_left_after_two_steps(monkeypatch):
    noise, target = draw(5, T, D), draw(5, T, D, seed=2)
    head = leaving(Field(lambda x, t, c: target - noise, 8), 1e-3)
    calls = counted(head, monkeypatch)
    assert torch.allclose(head.integrate(draw(5, TOKENS, WIDTH), noise), target, atol=1e-6)
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("below", "from_one", "from_two"),
    [(0.2, 1.546875, 3.09375), (0.05, 1.546875, 3.203613), (0.04, 1.582031, 3.203613), (1e-6, 1.601807, 3.203613)],
)
def test_every_sample_leaves_where_its_own_end_moved_less(below, from_one, from_two):
    """v = x / 2 in four steps from 1: ends in sight 1.5, 1.546875, 1.582031, 1.601807; from 2 twice that."""
    noise = torch.stack([torch.ones(T, D), 2 * torch.ones(T, D)])
    found = leaving(Field(lambda x, t, c: 0.5 * x, 4), below).integrate(draw(2, TOKENS, WIDTH), noise)
    expected = torch.tensor([from_one, from_two])[:, None, None].expand(2, T, D)
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_sample_does_not_depend_on_its_batch():
    head, context, noise = leaving(expert(), 0.1), draw(16, TOKENS, WIDTH, seed=3), draw(16, T, D)
    whole = leaving(expert(), 0.0).integrate(context, noise)
    batch = head.integrate(context, noise)
    alone = torch.cat([head.integrate(context[i : i + 1], noise[i : i + 1]) for i in range(16)])
    assert torch.allclose(batch, alone, atol=1e-5)
    assert not torch.allclose(batch, whole, atol=1e-3)  # some did leave


@pytest.mark.parametrize("beta", [0.0, 0.5, 2.5])
def test_guidance_bends_the_path_that_is_left(beta, monkeypatch):
    noise, told, untold = draw(2, T, D), torch.ones(2, TOKENS, WIDTH), torch.zeros(2, TOKENS, WIDTH)
    head = leaving(Field(lambda x, t, c: c.expand_as(x), 8), 1e-3)
    calls = counted(head, monkeypatch)
    assert torch.allclose(head.integrate(told, noise, untold, beta), noise + beta, atol=1e-5)
    assert len(calls) <= 2


def test_given_steps_stay_on_a_path_that_is_left(monkeypatch):
    head, noise, context = leaving(joining(), 0.5), draw(3, 4, D), draw(3, TOKENS, WIDTH, seed=3)
    given, calls = draw(3, 2, D, seed=4), counted(head, monkeypatch)
    assert torch.equal(head.integrate(context, noise, given=given)[:, :2], given)
    assert len(calls) < head.config.euler_steps


def test_a_traced_path_freezes_no_number_of_steps(monkeypatch):
    head, context, noise = (
        leaving(expert().requires_grad_(False), 0.15),
        draw(24, TOKENS, WIDTH, seed=3),
        draw(24, T, D),
    )
    traced = torch.jit.trace(lambda *inputs: head.integrate(*inputs), (context[:1], noise[:1]))
    steps = set()
    for i in range(24):
        calls = counted(head, monkeypatch)
        assert torch.allclose(
            traced(context[i : i + 1], noise[i : i + 1]),
            head.integrate(context[i : i + 1], noise[i : i + 1]),
            atol=1e-5,
        )
        steps.add(len(calls))
        monkeypatch.undo()
    assert len(steps) > 1  # else nothing was tested


# ---- the threshold -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    return write_demos(tmp_path_factory.mktemp("exit") / "demos")


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    return write_demos(tmp_path_factory.mktemp("exit") / "others", lengths=(12, 17, 13))


@pytest.fixture
def saved(tmp_path, demos):
    torch.manual_seed(0)
    config = dataclasses.replace(TINY, head=dataclasses.replace(TINY.head, euler_steps=8))
    policy = tiny_model(config=config)
    policy.normalizer.std[..., -1] *= 20  # the gripper strays more than any joint, and may
    checkpoint.save(tmp_path / "policy", policy, about(demos))
    return tmp_path / "policy"


def test_the_threshold_is_the_largest_that_keeps_to_the_tolerance(saved, others, tmp_path):
    out = tmp_path / "exits"
    config = ExitEarlyConfig(str(saved), str(others), str(out), tolerance_rad=0.02, frames=40)
    threshold = exit_early(config)
    before, metadata = checkpoint.load(saved)
    after, written = checkpoint.load(out)
    assert after.config.head.exit_below == threshold and written.provenance["exit_early"]["tolerance_rad"] == 0.02
    inputs = held_out(before, metadata, config)
    place = THRESHOLDS.index(threshold)
    assert 0 < place < len(THRESHOLDS) - 1  # the tolerance decided
    chunks = {
        below: exiting(before, below).act(inputs, torch.Generator().manual_seed(0)).chunk.numpy()
        for below in (0.0, threshold, THRESHOLDS[place - 1])
    }
    assert np.array_equal(chunks[0.0], before.act(inputs, torch.Generator().manual_seed(0)).chunk.numpy())
    within = [
        np.mean(
            [
                np.abs(one - whole)[: before.config.execute, :-1].max() <= 0.02
                for one, whole in zip(chunks[below], chunks[0.0], strict=True)
            ]
        )
        for below in (threshold, THRESHOLDS[place - 1])
    ]
    assert within[0] >= WITHIN > within[1]
    assert np.array_equal(
        after.act(inputs, torch.Generator().manual_seed(0)).chunk.numpy(), chunks[threshold]
    )  # plays with what was chosen


def test_steps_are_counted_of_single_frames(saved, others):
    policy, _ = checkpoint.load(saved)
    inputs = held_out(policy, about(), ExitEarlyConfig(str(saved), str(others), frames=20))
    taken = [mean_steps(exiting(policy, below), inputs, 1.0) for below in (0.0, 1e9)]
    assert taken == [8.0, 1.0]  # all of them; of any end the first


def test_a_tolerance_that_nothing_keeps_to_is_one_line(saved, others):
    policy, metadata = checkpoint.load(saved)
    inputs = held_out(policy, metadata, ExitEarlyConfig(str(saved), str(others), frames=20))
    with pytest.raises(UserError, match="tolerance_rad=1e-09: expected more"):
        choose(policy, inputs, 1e-9, 1.0)


def test_what_training_saw_is_refused(saved, demos, tmp_path):
    with pytest.raises(UserError, match="was trained on; name demonstrations of others"):
        exit_early(ExitEarlyConfig(str(saved), str(demos), str(tmp_path / "exits"), frames=20))
    assert not (tmp_path / "exits" / WEIGHTS).exists()


def test_one_episode_that_training_saw_is_enough_to_be_refused(others):
    """`others` holds the seeds 0, 1 and 2."""
    policy, config = tiny_model(), ExitEarlyConfig("policy", str(others), frames=20)
    with pytest.raises(UserError, match="was trained on; name demonstrations of others"):
        held_out(policy, about(provenance={"data": {}, "seeds": [[2, 9]]}), config)
    assert len(held_out(policy, about(provenance={"data": {}, "seeds": [[3, 9]]}), config)) == 20


def test_what_cannot_exit_or_be_written_is_refused(saved, others, demos, tmp_path):
    with pytest.raises(UserError, match="holds a finished checkpoint"):
        exit_early(ExitEarlyConfig(str(saved), str(others), str(saved)))
    (saved / "critic.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="has critic beside it"):
        exit_early(ExitEarlyConfig(str(saved), str(others), str(tmp_path / "exits")))
    flat = dataclasses.replace(TINY, head=RegressionConfig(hidden=16, blocks=1)).build(SPEC)
    checkpoint.save(tmp_path / "flat", flat, about(demos))
    with pytest.raises(UserError, match="has no flow head; expected a policy with policy.head.name=flow"):
        exit_early(ExitEarlyConfig(str(tmp_path / "flat"), str(others), str(tmp_path / "exits")))


def test_of_chunks_that_are_averaged_every_step_keeps_to_the_tolerance(saved, others):
    policy, metadata = checkpoint.load(saved)
    policy.normalizer.std[..., :-1] *= torch.linspace(0.2, 3.0, policy.config.chunk)[:, None]
    inputs = held_out(policy, metadata, ExitEarlyConfig(str(saved), str(others), frames=40))
    alone = choose(policy, inputs, 0.02, 1.0)
    policy.config = dataclasses.replace(policy.config, ensemble=0.01)
    averaged = choose(policy, inputs, 0.02, 1.0)
    whole, exits = (
        exiting(policy, below).act(inputs, torch.Generator().manual_seed(0)).chunk for below in (0.0, averaged)
    )
    assert averaged < alone
    assert ((exits - whole)[:, :, :-1].abs().amax((1, 2)) <= 0.02).float().mean() >= WITHIN
