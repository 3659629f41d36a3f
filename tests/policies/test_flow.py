"""The action expert: sampler against closed forms, loss against what may and may not be learned from."""

import pytest
import torch

from policies.core.parts import HeadShape
from policies.heads.flow import FlowConfig, FlowHead
from sim.core.errors import UserError

T, D, TOKENS, WIDTH = 3, 2, 4, 8
SHAPE = HeadShape(T, D, TOKENS, WIDTH)


def expert(**config) -> FlowHead:
    torch.manual_seed(0)
    made = FlowHead(FlowConfig(hidden=16, blocks=2, **config), SHAPE)
    torch.nn.init.normal_(made.out.weight, std=0.3)  # it begins at zero
    return made


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Field(FlowHead):
    """An expert whose velocity is a given function of chunk, time and context."""

    def __init__(self, function, euler_steps: int):
        super().__init__(FlowConfig(hidden=16, blocks=1, euler_steps=euler_steps), SHAPE)
        self._function = function

    def encode(self, context: torch.Tensor) -> torch.Tensor:
        return context.mean((1, 2))[:, None, None]

    def conditions(self, time, encoded):
        return time

    def velocity(self, noisy, condition, encoded):
        return self._function(noisy, condition[:, None, None], encoded)


def test_a_straight_path_is_integrated_exactly():
    noise, target = draw(5, T, D), draw(5, T, D, seed=2)
    for steps in (1, 3, 8):
        sampled = Field(lambda x, t, c: target - noise, steps).integrate(draw(5, TOKENS, WIDTH), noise)
        assert torch.allclose(sampled, target, atol=1e-6)


def test_the_optimal_field_towards_one_point_arrives_there():
    """v = (a - x) / (1 - t): every Euler step stays on the straight path, the last one ends on it."""
    noise, target = draw(5, T, D), draw(1, T, D, seed=2)
    sampled = Field(lambda x, t, c: (target - x) / (1 - t), 8).integrate(draw(5, TOKENS, WIDTH), noise)
    assert torch.allclose(sampled, target.expand(5, T, D), atol=1e-5)


def test_a_linear_field_is_eulers_product():
    noise = draw(2, T, D)
    sampled = Field(lambda x, t, c: 0.5 * x, 8).integrate(draw(2, TOKENS, WIDTH), noise)
    assert torch.allclose(sampled, noise * (1 + 0.5 / 8) ** 8, atol=1e-6)


def test_conditions_of_all_times_at_once_are_those_of_each():
    model, context, x = expert(euler_steps=5), draw(4, TOKENS, WIDTH), draw(4, T, D)
    sampled = model.integrate(context, x)
    with torch.no_grad():
        for i in range(5):
            encoded = model.encode(context)
            x = x + model.velocity(x, model.conditions(torch.full((4,), i / 5), encoded), encoded) / 5
    assert torch.allclose(sampled, x, atol=1e-6)


def test_time_runs_from_noise_to_actions():
    field = Field(lambda x, t, c: 2 * t * torch.ones_like(x), 100)
    sampled = field.integrate(draw(1, TOKENS, WIDTH), torch.zeros(1, T, D))
    assert torch.allclose(sampled, torch.full((1, T, D), 0.99), atol=1e-5)  # Euler's sum of 2t from 0 to 1


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 2.5])
def test_guidance_goes_from_unconditional_through_conditional_and_beyond(beta):
    noise, told, untold = draw(2, T, D), torch.ones(2, TOKENS, WIDTH), torch.zeros(2, TOKENS, WIDTH)
    sampled = Field(lambda x, t, c: c.expand_as(x), 8).integrate(told, noise, untold, beta)
    assert torch.allclose(sampled, noise + beta, atol=1e-5)


def test_guidance_one_is_the_conditional_and_zero_the_unconditional_policy():
    model, noise = expert(), draw(4, T, D)
    told, untold = draw(4, TOKENS, WIDTH, seed=3), draw(4, TOKENS, WIDTH, seed=4)
    assert torch.equal(model.integrate(told, noise, untold, 1.0), model.integrate(told, noise))
    assert torch.allclose(model.integrate(told, noise, untold, 0.0), model.integrate(untold, noise), atol=1e-6)
    assert not torch.equal(model.integrate(told, noise), model.integrate(untold, noise))


def test_an_expert_that_knows_nothing_returns_the_noise():
    fresh = FlowHead(FlowConfig(hidden=16, blocks=1), SHAPE)
    noise = draw(2, T, D)
    assert torch.equal(fresh.integrate(draw(2, TOKENS, WIDTH), noise), noise)


def loss_of(model: FlowHead, actions: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    return model.loss(actions, valid, draw(len(actions), TOKENS, WIDTH, seed=9), torch.Generator().manual_seed(5))


def test_masked_steps_give_no_gradient():
    model, valid = expert(), torch.tensor([[True, True, False], [True, True, False]])
    loss_of(model, draw(2, T, D), valid).sum().backward()
    gradient = model.out.weight.grad.unflatten(0, (T, D)).abs().sum((1, 2))
    assert (gradient[:2] > 0).all() and gradient[2] == 0


def test_a_sample_without_a_valid_step_costs_nothing():
    assert torch.equal(loss_of(expert(), draw(2, T, D), torch.zeros(2, T, dtype=torch.bool)), torch.zeros(2))


def test_a_sample_counts_the_same_however_many_of_its_steps_are_valid():
    field = Field(lambda x, t, c: torch.zeros_like(x), 8)
    valid = (torch.arange(T) < 1).expand(4000, T)
    loss = field.loss(torch.full((4000, T, D), 2.0), valid, draw(4000, TOKENS, WIDTH), torch.Generator().manual_seed(0))
    assert loss.mean() == pytest.approx(2.0**2 + 1.0, rel=0.05)


def test_the_loss_of_a_perfect_field_is_zero():
    target = draw(1, T, D, seed=2)
    field = Field(lambda x, t, c: (target - x) / (1 - t), 8)
    valid = torch.ones(64, T, dtype=torch.bool)
    loss = field.loss(target.expand(64, T, D), valid, draw(64, TOKENS, WIDTH), torch.Generator().manual_seed(0))
    assert loss.max() < 1e-4


def test_the_loss_of_a_field_that_stands_still_is_the_energy_of_the_path():
    field = Field(lambda x, t, c: torch.zeros_like(x), 8)
    valid = torch.ones(4000, T, dtype=torch.bool)
    loss = field.loss(torch.full((4000, T, D), 2.0), valid, draw(4000, TOKENS, WIDTH), torch.Generator().manual_seed(0))
    assert loss.mean() == pytest.approx(2.0**2 + 1.0, rel=0.03)  # E |2 - noise|^2


def test_learning_finds_the_actions_of_each_context():
    model = expert(noise_samples=8)
    contexts = torch.eye(2).repeat_interleave(TOKENS * WIDTH // 2, 1).reshape(2, TOKENS, WIDTH)
    actions = torch.tensor([1.0, -1.0])[:, None, None].expand(2, T, D)
    optimizer, generator = torch.optim.Adam(model.parameters(), 5e-3), torch.Generator().manual_seed(0)
    for _ in range(300):
        loss = model.loss(actions, torch.ones(2, T, dtype=torch.bool), contexts, generator).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model.integrate(contexts, draw(2, T, D)) - actions).abs().max() < 0.25


# ---- first steps that are given ------------------------------------------------------------------


def joining(**config) -> FlowHead:
    torch.manual_seed(0)
    made = FlowHead(FlowConfig(hidden=32, blocks=2, joins=True, **config), HeadShape(4, D, TOKENS, WIDTH))
    torch.nn.init.normal_(made.out.weight, std=0.3)
    return made


def test_given_steps_stay_and_the_rest_follows_them():
    head, noise, context = joining(), draw(3, 4, D), draw(3, TOKENS, WIDTH, seed=3)
    assert head.given_steps == 2 and expert().given_steps == 0
    free = head.integrate(context, noise)
    for steps in (1, 2):
        given = draw(3, steps, D, seed=4)
        chunk = head.integrate(context, noise, given=given)
        assert torch.equal(chunk[:, :steps], given)
        assert not torch.allclose(chunk[:, steps:], free[:, steps:])
        moved = head.integrate(context, noise, given=given + 1)
        assert not torch.allclose(chunk[:, steps:], moved[:, steps:])


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_given_steps_are_not_learned(monkeypatch, steps):
    head = joining()
    monkeypatch.setattr(head, "_draw_given", lambda samples, _: torch.full((samples,), steps))
    loss_of(head, draw(2, 4, D), torch.ones(2, 4, dtype=torch.bool)).sum().backward()
    gradient = head.out.weight.grad.unflatten(0, (4, D)).abs().sum((1, 2))
    assert (gradient[:steps] == 0).all() and (gradient[steps:] > 0).all()


def test_a_chunk_of_one_step_that_is_to_join_is_one_line():
    joins = FlowConfig(hidden=16, blocks=1, joins=True)
    assert joins.build(HeadShape(2, D, TOKENS, WIDTH)).given_steps == 1
    with pytest.raises(UserError, match="joins=true policy.chunk=1: .*expected policy.chunk=2 or more"):
        joins.build(HeadShape(1, D, TOKENS, WIDTH))


def test_half_of_the_samples_are_given_nothing_and_the_others_any_number_of_steps():
    counts = torch.bincount(joining()._draw_given(20000, torch.Generator().manual_seed(0)), minlength=3)
    assert (counts / 20000 - torch.tensor([0.5, 0.25, 0.25])).abs().max() < 0.02


def test_a_chunk_goes_on_as_it_was_begun():
    """Of two ways to act at the same look, both are drawn; a given first step decides which."""
    head = joining(noise_samples=8)
    ways = torch.tensor([1.0, -1.0])[:, None, None].expand(2, 4, D)
    same = draw(1, TOKENS, WIDTH).expand(2, TOKENS, WIDTH)
    optimizer, generator = torch.optim.Adam(head.parameters(), 5e-3), torch.Generator().manual_seed(0)
    for _ in range(400):
        loss = head.loss(ways, torch.ones(2, 4, dtype=torch.bool), same, generator).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    noise, look = draw(64, 4, D, seed=7), same[:1].expand(64, TOKENS, WIDTH)
    free = head.integrate(look, noise).mean((1, 2))
    assert 0.2 < (free > 0).float().mean() < 0.8
    for way in (1.0, -1.0):
        chunk = head.integrate(look, noise, given=torch.full((64, 1, D), way))
        assert (chunk[:, 1:].mean((1, 2)).sign() == way).float().mean() > 0.95
