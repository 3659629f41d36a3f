"""The small policy: normalization, what its parts may see, what the indicator reaches, grounding."""

import dataclasses

import numpy as np
import pytest
import torch
from learning import SPEC, TINY, learn, random_batch, tiny_model

from policies.core.advantage_conditioning import DROPOUT, drop
from policies.core.indicator import Indicator
from policies.core.inputs import Batch, Inputs
from policies.core.parts import POINT_SCALE_M, grounding_loss
from policies.core.spec import PolicySpec
from policies.models.vla import Vla


@pytest.fixture
def model():
    return tiny_model().eval()


@pytest.fixture
def batch():
    return random_batch()


def fitted(batch) -> Vla:
    model = tiny_model()
    model.fit_normalization(batch.actions, batch.valid, batch.inputs.state, batch.points)
    return model


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def act(model, inputs, indicator=Indicator.POSITIVE, guidance=1.0):
    return model.act(inputs, generator(), indicator, guidance)


# ---- normalization -----------------------------------------------------------------------------


def test_denormalize_inverts_normalize(batch):
    model = fitted(batch)
    there = model.normalizer.normalize(batch.actions, batch.inputs.state)
    assert torch.allclose(model.normalizer.denormalize(there, batch.inputs.state), batch.actions, atol=1e-5)


def test_normalized_actions_have_mean_zero_and_deviation_one_per_step_and_joint():
    batch = random_batch(4000)
    normalized = fitted(batch).normalizer.normalize(batch.actions, batch.inputs.state)
    assert normalized.mean(0).abs().max() < 1e-4
    assert (normalized.std(0) - 1).abs().max() < 1e-2


def test_masked_steps_do_not_enter_the_normalization(batch):
    spoilt = dataclasses.replace(batch, actions=batch.actions.clone(), valid=batch.valid.clone())
    spoilt.valid[0, 1:] = False
    clean = fitted(spoilt)
    spoilt.actions[0, 1:] = 1e6
    again = fitted(spoilt)
    assert torch.equal(clean.normalizer.mean, again.normalizer.mean)
    assert torch.equal(clean.normalizer.std, again.normalizer.std)


def test_joints_are_relative_to_the_measured_ones_and_the_gripper_is_absolute(model, batch):
    shift = torch.tensor([0.1, -0.2, 0.3, 0.1, 0.2, -0.1, 0.5])
    normalize, state = model.normalizer.normalize, batch.inputs.state
    moved = normalize(batch.actions + shift, state + shift) - normalize(batch.actions, state)
    assert torch.allclose(moved[..., :6], torch.zeros(()), atol=1e-6)
    assert torch.allclose(moved[..., 6], torch.full((), 0.5), atol=1e-6)


def test_points_are_learned_around_their_centre_in_decimetres(batch):
    model = fitted(batch)
    assert torch.allclose(model.fusion.point_center, batch.points.mean(0))
    last = model.fusion.grounding[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.ones_(last.bias)
    found = model.fusion(batch.inputs).points
    assert torch.allclose(found, (model.fusion.point_center + POINT_SCALE_M).expand_as(found))


# ---- the indicator -----------------------------------------------------------------------------


def test_the_indicator_is_dropped_as_often_as_said_and_never_flipped():
    told = torch.where(torch.arange(20000) % 3 > 0, int(Indicator.POSITIVE), int(Indicator.NEGATIVE))
    kept = drop(told, torch.Generator().manual_seed(0))
    dropped = kept == Indicator.UNKNOWN
    assert dropped.float().mean() == pytest.approx(DROPOUT, abs=0.01)
    assert torch.equal(kept[~dropped], told[~dropped])
    assert torch.equal(drop(told, torch.Generator(), 0.0), told)
    assert (drop(told, torch.Generator(), 1.0) == Indicator.UNKNOWN).all()


def test_the_indicator_changes_actions_and_nothing_before_them(model, batch):
    positive, negative = act(model, batch.inputs), act(model, batch.inputs, Indicator.NEGATIVE)
    assert not torch.equal(positive.chunk, negative.chunk)
    assert torch.equal(positive.points, negative.points)


def test_the_indicator_is_the_last_token(model, batch):
    def context(indicator: Indicator) -> torch.Tensor:
        told = torch.full((len(batch.inputs),), int(indicator))
        return model.context(model.fusion(batch.inputs).tokens, batch.inputs, told)

    positive, negative = context(Indicator.POSITIVE), context(Indicator.NEGATIVE)
    assert torch.equal(positive[:, :-1], negative[:, :-1]) and not torch.equal(positive[:, -1], negative[:, -1])
    assert torch.equal(positive[:, -1], model.indicator_token.weight[Indicator.POSITIVE].expand(len(positive), -1))


def test_guidance_one_is_the_told_policy_and_zero_the_untold(model, batch):
    told, untold = act(model, batch.inputs).chunk, act(model, batch.inputs, Indicator.UNKNOWN).chunk
    assert torch.equal(act(model, batch.inputs, guidance=1.0).chunk, told)
    assert torch.allclose(act(model, batch.inputs, guidance=0.0).chunk, untold, atol=1e-6)


# ---- what it sees ------------------------------------------------------------------------------


def test_words_beyond_the_mask_do_not_matter(model, batch):
    spoilt = batch.inputs.words.clone()
    spoilt[~batch.inputs.word_mask] = 1e4
    changed = dataclasses.replace(batch.inputs, words=spoilt)
    assert torch.equal(act(model, batch.inputs).chunk, act(model, changed).chunk)


@pytest.mark.parametrize("what", ["words", "state", "front", "wrist"])
def test_everything_it_is_shown_reaches_the_actions(model, batch, what):
    inputs = batch.inputs
    if what in inputs.maps:
        fine, coarse = inputs.maps[what]
        changed = dataclasses.replace(inputs, maps={**inputs.maps, what: (fine.flip(-1), coarse.flip(-1))})
    else:
        changed = dataclasses.replace(inputs, **{what: getattr(inputs, what) * 0.5})
    relative = [act(model, one).chunk - one.state[:, None] for one in (inputs, changed)]
    assert not torch.allclose(relative[0][..., :6], relative[1][..., :6])
    assert not torch.allclose(model.embedding(inputs), model.embedding(changed))


def test_a_policy_that_joins_chunks_shows_the_value_how_far_the_arm_is_behind_its_command(batch):
    model = tiny_model(config=dataclasses.replace(TINY, head=dataclasses.replace(TINY.head, joins=True))).eval()
    command = batch.inputs.state + 0.05
    behind = dataclasses.replace(batch.inputs, commanded=command)
    still = dataclasses.replace(batch.inputs, commanded=batch.inputs.state)
    shown = model.embedding(behind) - model.embedding(still)
    assert not shown[:, : -SPEC.state_dim].any() and (shown[:, -SPEC.state_dim :] > 0.04).all()


def test_a_sample_does_not_see_its_neighbours(model, batch):
    alone = part(batch.inputs, slice(0, 2))
    shown = model.context(model.fusion(batch.inputs).tokens, batch.inputs, batch.indicator)
    context = model.context(model.fusion(alone).tokens, alone, batch.indicator[:2])
    assert torch.allclose(shown[:2], context, atol=1e-5)
    noise = torch.randn(6, TINY.chunk, 7, generator=generator())
    assert torch.allclose(model.head.integrate(shown, noise)[:2], model.head.integrate(context, noise[:2]), atol=1e-5)


def part(inputs: Inputs, rows: slice) -> Inputs:
    maps = {camera: tuple(maps[rows] for maps in pair) for camera, pair in inputs.maps.items()}
    return Inputs(inputs.state[rows], maps, inputs.words[rows], inputs.word_mask[rows])


# ---- losses ------------------------------------------------------------------------------------


def test_actions_do_not_train_the_grounding_head(batch):
    model = tiny_model()
    context = model.context(model.fusion(batch.inputs).tokens, batch.inputs, batch.indicator)
    context.square().sum().backward()
    assert all(weight.grad is None for weight in model.fusion.grounding.parameters())


def test_unknown_points_cost_nothing_and_give_no_gradient():
    points = torch.zeros(3, 4, 3, requires_grad=True)
    labels = torch.full((3, 4, 3), torch.nan)
    labels[0, 0] = 0.2
    loss = grounding_loss(points, labels)
    loss.backward()
    assert loss.item() == pytest.approx(0.2 / POINT_SCALE_M)
    assert (points.grad[0, 0] != 0).all() and points.grad.abs().sum() == pytest.approx(1 / POINT_SCALE_M)
    assert grounding_loss(points, torch.full((3, 4, 3), torch.nan)) == 0


def test_the_loss_is_flow_plus_weighted_grounding(batch):
    total, parts = tiny_model().loss(batch, torch.Generator().manual_seed(0))
    assert total.item() == pytest.approx((parts["flow"] + TINY.grounding_weight * parts["grounding"]).item(), rel=1e-5)


def test_it_overfits_one_batch():
    batch, model = random_batch(4), tiny_model()
    model.fit_normalization(batch.actions, batch.valid, batch.inputs.state, batch.points)
    parts = learn(model, lambda: batch, generator(0), steps=300, rate=3e-3)
    seen = [[one["flow"].item(), one["grounding"].item()] for one in parts]
    first, last = np.mean(seen[:10], 0), np.mean(seen[-20:], 0)
    assert (last < 0.3 * first).all(), (first, last)


def test_nothing_in_it_knows_how_many_joints_cameras_or_points_there_are():
    spec = PolicySpec("other", ("head",), (32, 32), 9, 9, ("grounding.cup",))
    model = dataclasses.replace(TINY, chunk=3, execute=1).build(spec)
    maps = {"head": (torch.zeros(1, 136, 4, 4), torch.zeros(1, 112, 2, 2))}
    words, mask = torch.zeros(1, 2, 384), torch.ones(1, 2, dtype=torch.bool)
    decision = act(model, Inputs(torch.zeros(1, 9), maps, words, mask))
    assert decision.chunk.shape == (1, 3, 9) and decision.points.shape == (1, 1, 3)


def test_batches_are_joined_in_order():
    one, other = random_batch(2, seed=1), random_batch(3, seed=2)
    both = Batch.concatenate([one, other])
    assert torch.equal(both.actions, torch.cat([one.actions, other.actions]))
    coarse = [batch.inputs.maps["wrist"][1] for batch in (one, other, both)]
    assert torch.equal(coarse[2], torch.cat(coarse[:2]))
    assert both.inputs.points is None and len(both.inputs) == 5
