"""ConRFT: what it imitates, its loss typed out, a Q that is not pushed below what was reached, and its new head."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_chunk_critics import OPTIM, demonstrators_samples, transitions, world  # noqa: F401 - fixtures
from test_dsrl import SPEC, frames, policy  # noqa: F401 - fixtures

from policies.core.indicator import Indicator
from policies.core.inputs import Batch, Inputs
from policies.core.interface import Decision
from policies.heads.consistency import ConsistencyConfig
from policies.models.vla import with_head
from rl.algorithms.conrft import ConRft, Weights, tuned_loss
from rl.algorithms.cql import fit_cql


def test_imitated_are_successes_and_interventions(pool):
    positive = ConRft().label(SimpleNamespace(pool=pool)).positive
    source, success = pool.per_frame(pool.source), pool.per_frame(pool.success)
    assert positive[source == "expert"].all()
    assert (positive[source == "policy"] == success[source == "policy"]).all()
    assert (positive[source == "intervention"] == pool.intervention[source == "intervention"]).all()


class Acting:
    """A policy with losses 1, 2, 3, 4, whose chunk is its parameter."""

    def __init__(self):
        self.config, self.spec = SimpleNamespace(chunk=1), SimpleNamespace(action_dim=1)
        self.chunk = torch.tensor(0.25, requires_grad=True)

    def to(self, device):
        return self

    def losses(self, batch, generator):
        assert (batch.indicator == Indicator.POSITIVE).all()
        return torch.tensor([1.0, 2.0, 3.0, 4.0])

    def steer(self, inputs, noise):
        assert noise.shape == (4, 1, 1)
        return Decision(self.chunk.expand(4, 1, 1))

    def embedding(self, inputs):
        return torch.zeros(4, 2)


class Square(torch.nn.Module):
    """Values -a^2 and -2 a^2, of which the lower counts."""

    def inputs(self, embedding, state, chunk):
        return chunk[:, 0, 0]

    def forward(self, chunk):
        return torch.stack([-(chunk**2), -2 * chunk**2])


def test_the_loss_weighs_imitation_of_what_is_positive_and_the_lower_value_of_what_it_would_do():
    indicator = torch.tensor([int(Indicator.POSITIVE), int(Indicator.NEGATIVE)] * 2)
    batch = Batch(
        Inputs(torch.zeros(4, 1)),
        torch.zeros(4, 1, 1),
        torch.ones(4, 1, dtype=torch.bool),
        indicator,
        torch.zeros(4, 0, 3),
    )
    acting = Acting()
    loss, _ = tuned_loss(acting, acting, Square(), Weights(0.5, 3.0))(batch, torch.Generator())
    assert loss.item() == pytest.approx(0.5 * (1 + 3) / 2 + 3.0 * 2 * 0.25**2)
    loss.backward()
    assert acting.chunk.grad.item() == pytest.approx(3.0 * 4 * 0.25)
    begun, parts = tuned_loss(acting, acting, None, Weights(1.0, 0.0))(batch, torch.Generator())
    assert begun.item() == 2.0 and list(parts) == ["imitation"]


def test_values_are_pushed_down_to_what_was_reached_and_no_farther(transitions):  # noqa: F811
    """With a return of 0 reached everywhere nothing is conservative; with the true floor at -1 all of it is."""
    samples = demonstrators_samples(transitions)

    def offered(reached: float) -> float:
        critic = fit_cql(transitions, samples, replace(OPTIM, steps=250), torch.full((len(samples),), reached))
        rows = torch.arange(0, len(samples), 7)
        with torch.no_grad():
            seen = transitions.features[rows], transitions.state[rows]
            return np.mean([critic(critic.inputs(*seen, samples[rows, i])).amin(0).mean() for i in range(4)])

    free, pushed = offered(0.0), offered(-1.0)
    assert pushed < free - 0.01


def test_a_new_head_leaves_what_is_seen_as_it_was_and_makes_chunks_with_gradient(policy, frames):  # noqa: F811
    changed = with_head(policy, ConsistencyConfig(hidden=16, blocks=1, levels=4))
    assert torch.equal(changed.embedding(frames), policy.embedding(frames))
    assert torch.equal(changed.normalizer.state_dict()["mean"], policy.normalizer.state_dict()["mean"])
    noise = torch.randn((5, policy.config.chunk, SPEC.action_dim), generator=torch.Generator().manual_seed(2))
    found = changed.steer(frames, noise).chunk
    assert torch.allclose(found.detach(), changed.act(frames, torch.Generator().manual_seed(2)).chunk, atol=1e-6)
    found.sum().backward()
    assert any(one.grad is not None and one.grad.abs().sum() > 0 for one in changed.action_parameters())
