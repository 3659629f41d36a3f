"""The small policy: normalization, what its parts may see, what the indicator reaches, grounding."""

import dataclasses

import numpy as np
import pytest
import torch
from learning import TINY, random_batch, tiny_model

from policies.heads.advantage_conditioning import DROPOUT, Indicator, drop, from_positive
from policies.models.small_vla import POINT_SCALE_M, SmallVla, VlaConfig
from policies.processing.data import join


@pytest.fixture
def model():
    return tiny_model().eval()


@pytest.fixture
def batch():
    return random_batch()


def fitted(batch) -> SmallVla:
    model = tiny_model()
    model.fit_normalization(batch.actions, batch.valid, batch.state, batch.points)
    return model


def act(model, batch, indicator=Indicator.POSITIVE, guidance=1.0, state=None):
    noise = torch.randn(len(batch.state), TINY.chunk, 7, generator=torch.Generator().manual_seed(3))
    state = batch.state if state is None else state
    return model.act(batch.maps, batch.words, batch.word_mask, state, noise, indicator, guidance)


# ---- normalization -----------------------------------------------------------------------------


def test_denormalize_inverts_normalize(batch):
    model = fitted(batch)
    there = model.normalize(batch.actions, batch.state)
    assert torch.allclose(model.denormalize(there, batch.state), batch.actions, atol=1e-5)


def test_normalized_actions_have_mean_zero_and_deviation_one_per_step_and_joint():
    batch = random_batch(4000)
    normalized = fitted(batch).normalize(batch.actions, batch.state)
    assert normalized.mean(0).abs().max() < 1e-4
    assert (normalized.std(0) - 1).abs().max() < 1e-2


def test_masked_steps_do_not_enter_the_normalization(batch):
    spoilt = dataclasses.replace(batch, actions=batch.actions.clone(), valid=batch.valid.clone())
    spoilt.valid[0, 1:] = False
    clean = fitted(spoilt)
    spoilt.actions[0, 1:] = 1e6
    again = fitted(spoilt)
    assert torch.equal(clean.action_mean, again.action_mean) and torch.equal(clean.action_std, again.action_std)


def test_joints_are_relative_to_the_measured_ones_and_the_gripper_is_absolute(model, batch):
    shift = torch.tensor([0.1, -0.2, 0.3, 0.1, 0.2, -0.1, 0.5])
    moved = model.normalize(batch.actions + shift, batch.state + shift) - model.normalize(batch.actions, batch.state)
    assert torch.allclose(moved[..., :6], torch.zeros(()), atol=1e-6)
    assert torch.allclose(moved[..., 6], torch.full((), 0.5), atol=1e-6)


def test_points_are_learned_around_their_centre(batch):
    model = fitted(batch)
    assert torch.allclose(model.point_center, batch.points.mean(0))
    assert torch.allclose(model.points_m(torch.ones(1, 4, 3)), model.point_center + POINT_SCALE_M)


# ---- the indicator -----------------------------------------------------------------------------


def test_the_indicator_is_dropped_as_often_as_said_and_never_flipped():
    told = from_positive(torch.arange(20000) % 3 > 0)
    kept = drop(told, torch.Generator().manual_seed(0))
    dropped = kept == Indicator.UNKNOWN
    assert dropped.float().mean() == pytest.approx(DROPOUT, abs=0.01)
    assert torch.equal(kept[~dropped], told[~dropped])
    assert torch.equal(drop(told, torch.Generator(), 0.0), told)
    assert (drop(told, torch.Generator(), 1.0) == Indicator.UNKNOWN).all()


def test_the_indicator_changes_actions_and_nothing_before_them(model, batch):
    positive, points = act(model, batch)
    negative, same_points = act(model, batch, Indicator.NEGATIVE)
    assert not torch.equal(positive, negative)
    assert torch.equal(points, same_points)


def test_the_indicator_is_the_last_token(model, batch):
    def context(indicator: Indicator) -> torch.Tensor:
        told = torch.full((len(batch.state),), int(indicator))
        return model.context(batch.maps, batch.words, batch.word_mask, batch.state, told)[0]

    positive, negative = context(Indicator.POSITIVE), context(Indicator.NEGATIVE)
    assert torch.equal(positive[:, :-1], negative[:, :-1]) and not torch.equal(positive[:, -1], negative[:, -1])
    assert torch.equal(positive[:, -1], model.indicator_token.weight[Indicator.POSITIVE].expand(len(positive), -1))


def test_guidance_one_is_the_told_policy_and_zero_the_untold(model, batch):
    assert torch.equal(act(model, batch, guidance=1.0)[0], act(model, batch)[0])
    assert torch.allclose(act(model, batch, guidance=0.0)[0], act(model, batch, Indicator.UNKNOWN)[0], atol=1e-6)


# ---- what it sees ------------------------------------------------------------------------------


def test_words_beyond_the_mask_do_not_matter(model, batch):
    spoilt = batch.words.clone()
    spoilt[~batch.word_mask] = 1e4
    changed = dataclasses.replace(batch, words=spoilt)
    assert torch.equal(act(model, batch)[0], act(model, changed)[0])


@pytest.mark.parametrize("what", ["words", "state", "front", "wrist"])
def test_everything_it_is_shown_reaches_the_actions(model, batch, what):
    if what in batch.maps:
        fine, coarse = batch.maps[what]
        changed = dataclasses.replace(batch, maps={**batch.maps, what: (fine.flip(-1), coarse.flip(-1))})
    else:
        changed = dataclasses.replace(batch, **{what: getattr(batch, what) * 0.5})
    first, _ = act(model, batch)
    second, _ = act(model, changed, state=batch.state if what != "state" else changed.state)
    relative = [chunk - state[:, None] for chunk, state in ((first, batch.state), (second, changed.state))]
    assert not torch.allclose(relative[0][..., :6], relative[1][..., :6])


def test_a_sample_does_not_see_its_neighbours(model, batch):
    whole, _ = act(model, batch)
    part = dataclasses.replace(
        batch, maps={c: (a[:2], b[:2]) for c, (a, b) in batch.maps.items()}, words=batch.words[:2],
        word_mask=batch.word_mask[:2], state=batch.state[:2],
    )  # fmt: skip
    noise = torch.randn(6, TINY.chunk, 7, generator=torch.Generator().manual_seed(3))[:2]
    alone, _ = model.act(part.maps, part.words, part.word_mask, part.state, noise, Indicator.POSITIVE)
    assert torch.allclose(whole[:2], alone, atol=1e-5)


# ---- losses ------------------------------------------------------------------------------------


def test_actions_do_not_train_the_grounding_head(batch):
    model = tiny_model()
    told = torch.full((len(batch.state),), 2)
    context, _ = model.context(batch.maps, batch.words, batch.word_mask, batch.state, told)
    context.square().sum().backward()
    assert all(weight.grad is None for weight in model.fusion.grounding.parameters())


def test_unknown_points_cost_nothing_and_give_no_gradient(model):
    points = torch.zeros(3, 4, 3, requires_grad=True)
    labels = torch.full((3, 4, 3), torch.nan)
    labels[0, 0] = 0.2
    loss = model.grounding_loss(points, labels)
    loss.backward()
    assert loss.item() == pytest.approx(0.2 / POINT_SCALE_M)
    assert (points.grad[0, 0] != 0).all() and points.grad.abs().sum() == pytest.approx(1.0)
    assert model.grounding_loss(points, torch.full((3, 4, 3), torch.nan)) == 0


def test_the_loss_is_flow_plus_weighted_grounding(batch):
    total, parts = tiny_model().loss(batch, torch.Generator().manual_seed(0))
    assert total.item() == pytest.approx(parts["flow"] + TINY.grounding_weight * parts["grounding"], rel=1e-5)


def test_it_overfits_one_batch():
    batch, model = random_batch(4), tiny_model()
    model.fit_normalization(batch.actions, batch.valid, batch.state, batch.points)
    optimizer, generator = torch.optim.Adam(model.parameters(), 3e-3), torch.Generator().manual_seed(0)
    seen = []
    for _ in range(300):
        loss, parts = model.loss(batch, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append([parts["flow"], parts["grounding"]])
    first, last = np.mean(seen[:10], 0), np.mean(seen[-20:], 0)
    assert (last < 0.3 * first).all(), (first, last)


def test_nothing_in_it_knows_how_many_joints_there_are():
    config = VlaConfig(
        cameras=("head",), state_dim=9, action_dim=9, chunk=3, execute=1, fusion=TINY.fusion, flow=TINY.flow
    )
    model = SmallVla(config)
    maps = {"head": (torch.zeros(1, 136, 4, 4), torch.zeros(1, 112, 2, 2))}
    words, mask = torch.zeros(1, 2, 384), torch.ones(1, 2, dtype=torch.bool)
    chunk, points = model.act(maps, words, mask, torch.zeros(1, 9), torch.zeros(1, 3, 9), Indicator.POSITIVE)
    assert chunk.shape == (1, 3, 9) and points.shape == (1, 4, 3)


def test_batches_are_joined_in_order():
    one, other = random_batch(2, seed=1), random_batch(3, seed=2)
    both = join([one, other])
    assert torch.equal(both.actions, torch.cat([one.actions, other.actions]))
    assert torch.equal(both.maps["wrist"][1], torch.cat([one.maps["wrist"][1], other.maps["wrist"][1]]))
