"""Attention against its formula, in and outside autocast."""

import pytest
import torch

from policies.core.attention import Layer, attend


def formula(query, key, value, mask):
    logits = (query @ key.transpose(-1, -2)) / query.shape[-1] ** 0.5
    return logits.masked_fill(~mask, -torch.inf).softmax(-1) @ value


@pytest.fixture
def parts():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, 5, 8, generator=generator) for _ in range(3)]


def test_attention_is_a_masked_mean_of_the_values(parts):
    mask = torch.tensor([[True, True, True, False, False], [True] * 5])[:, None, None]
    assert torch.allclose(attend(*parts, mask), formula(*parts, mask), atol=1e-6)
    earlier = torch.ones(5, 5, dtype=torch.bool).tril()
    assert torch.allclose(attend(*parts, causal=True), formula(*parts, earlier), atol=1e-6)


def test_autocast_rounds_the_products_around_attention_and_not_attention_itself(parts):
    half = [part.bfloat16() for part in parts]
    with torch.autocast("cpu", torch.bfloat16):
        found = attend(*half)
        layer = Layer(32)(torch.randn(2, 5, 32))[0]
    assert found.dtype == torch.float32
    assert torch.equal(found, attend(*(part.float() for part in half)))
    assert layer.isfinite().all()
