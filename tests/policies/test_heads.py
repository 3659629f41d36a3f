"""Action heads: what each makes of two ways, closed forms of its mathematics, what may and may not be learned from."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.fft import dct, idct
from scipy.special import log_softmax
from scipy.stats import norm
from tokenizers import Tokenizer, models, trainers

from policies.core.parts import Head, HeadShape
from policies.core.registry import HEADS
from policies.heads.bins import BinsConfig, medians, smoothed_cross_entropy
from policies.heads.byte_pairs import PAD, encode, expand, learn_merges
from policies.heads.consistency import LEAST_NOISE, ConsistencyConfig, noise_levels
from policies.heads.cvae import CvaeConfig
from policies.heads.decoder import TokenDecoder, distorted
from policies.heads.diffusion import DiffusionConfig, DiffusionHead, squared_cosine
from policies.heads.fast import FastConfig, cosine_transform, held
from policies.heads.network import Guided
from policies.heads.regression import RegressionConfig
from policies.training.share import Share
from sim.core.errors import UserError

T, D, TOKENS, WIDTH = 3, 2, 2, 8
SHAPE = HeadShape(T, D, TOKENS, WIDTH)
SMALL = {"hidden": 32, "blocks": 2}
TRANSFORMER = {"width": 32, "layers": 1}
BINS = {"bins": 32, **TRANSFORMER}
FAST = {"limit": 31, "vocabulary": 100, **TRANSFORMER}
RAMP = torch.tensor([0.6, 1.0, 1.2])[:, None] * torch.tensor([1.0, 0.7])  # one way; the other is its negative
VARIANTS = {name: HEADS.get(name)(**SMALL) for name in ("flow", "regression", "diffusion", "cvae", "consistency")}
VARIANTS |= {"bins": BinsConfig(**BINS), "bins, parallel": BinsConfig(**BINS, decoding="parallel")}
VARIANTS |= {"fast": FastConfig(**FAST)}
ONE_CHUNK = {"regression", "cvae"}  # of an observation


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed))


def two_ways(n: int, generator: torch.Generator) -> torch.Tensor:
    """Chunks (n, T, D) that all go one way or all the other, with a little noise."""
    side = torch.where(torch.rand(n, generator=generator) < 0.5, 1.0, -1.0)
    return side[:, None, None] * RAMP + 0.05 * torch.randn(n, T, D, generator=generator)


def build(name: str) -> Head:
    torch.manual_seed(0)
    head = VARIANTS[name].build(SHAPE)
    head.fit(two_ways(500, seeded(3)), torch.ones(500, T, dtype=torch.bool))
    return head


def with_last_layers(head: Head) -> Head:
    """The head with last layers that are not zero, as they begin."""
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=seeded()))
    return head


def whole(n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    return two_ways(n, generator), torch.ones(n, T, dtype=torch.bool)


def three_values(n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Chunks of 0.2, 0.3 or 1.0 throughout, each as often."""
    values = torch.tensor([0.2, 0.3, 1.0])[torch.randint(3, (n,), generator=generator)]
    return values[:, None, None].expand(n, T, D), torch.ones(n, T, dtype=torch.bool)


def learn(head: Head, steps: int = 350, batch: int = 96, draws=whole) -> Head:
    optimizer, generator = torch.optim.Adam(head.parameters(), 3e-3), seeded()
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    context = torch.ones(batch, TOKENS, WIDTH)
    for _ in range(steps):
        loss = head.loss(*draws(batch, generator), context, generator).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        rate.step()
    return head


def ways(head: Head, n: int = 300) -> tuple[float, float]:
    """Return which shares of sampled chunks are near the one way and near the other."""
    sampled = head.sample(torch.ones(n, TOKENS, WIDTH), seeded(5))
    return tuple(((sampled - side * RAMP).abs().amax((1, 2)) < 0.3).float().mean().item() for side in (1, -1))


def test_every_head_is_tested_here():
    assert {name.partition(",")[0] for name in VARIANTS} == set(HEADS.names()) - {"mlp_l1"}  # the plug-in's own


@pytest.mark.parametrize("name", ["flow", "diffusion", "consistency", "bins", "fast"])
def test_a_head_that_draws_chunks_keeps_both_ways(name):
    one, other = ways(learn(build(name)))
    assert one > 0.25 and other > 0.25 and one + other > 0.7


@pytest.mark.parametrize("name", sorted(ONE_CHUNK))
def test_a_head_with_one_chunk_an_observation_cannot_keep_both_ways(name):
    head = learn(build(name), steps=150)
    sampled = head.sample(torch.ones(2, TOKENS, WIDTH), seeded())
    assert torch.equal(sampled[0], sampled[1])
    assert min(ways(head)) == 0.0


ALL_OPTIONS = VARIANTS | {
    "bins, median": BinsConfig(**BINS, choice="median"),
    "bins, likeliest": BinsConfig(**BINS, temperature=0.0),
    "bins, parallel median": BinsConfig(**BINS, decoding="parallel", choice="median"),
    "fast, likeliest": FastConfig(**FAST, temperature=0.0),
    "flow, joining": HEADS.get("flow")(**SMALL, joins=True),
}


@pytest.mark.parametrize("name", ALL_OPTIONS)
def test_a_head_says_whether_noise_decides_between_its_chunks(name):
    torch.manual_seed(0)
    head = ALL_OPTIONS[name].build(SHAPE)
    head.fit(two_ways(500, seeded(3)), torch.ones(500, T, dtype=torch.bool))
    head, context = with_last_layers(head), draw(4, TOKENS, WIDTH)
    one, other = (head.sample(context, seeded(k)) for k in (1, 2))
    assert head.draws_chunks == (not torch.equal(one, other))


def test_bins_drawn_each_for_itself_mix_the_ways_within_a_chunk():
    """Each number is on either side as often: a chunk on one side throughout is as rare as six equal coins."""
    head = learn(build("bins, parallel"))
    side = head.sample(torch.ones(600, TOKENS, WIDTH), seeded(5)).sign().flatten(1)
    assert (side > 0).float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert (side.sum(1).abs() == T * D).float().mean().item() == pytest.approx(2 / 2 ** (T * D), abs=0.05)


# ---- every head --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_a_sample_without_a_valid_step_costs_nothing(name):
    loss = build(name).loss(draw(2, T, D), torch.zeros(2, T, dtype=torch.bool), draw(2, TOKENS, WIDTH), seeded())
    assert torch.equal(loss, torch.zeros(2))


@pytest.mark.parametrize("name", sorted(set(VARIANTS) - {"bins"}))
def test_steps_that_are_not_to_be_imitated_change_nothing(name):
    head, actions, valid = with_last_layers(build(name)), draw(4, T, D), torch.tensor([[True, True, False]] * 4)
    spoilt = actions.clone()
    spoilt[:, 2] = 1.5
    one, other = (head.loss(given, valid, draw(4, TOKENS, WIDTH), seeded()) for given in (actions, spoilt))
    assert (one > 0).all() and torch.equal(one, other)


@pytest.mark.parametrize("name", ["flow", "diffusion", "consistency"])
def test_what_a_corrector_does_next_does_not_lead_a_head_astray(name):
    """Both ways are kept where a third of the chunks is cut short and goes on the other way."""

    def cut_short(n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        chunks, valid = two_ways(n, generator), torch.ones(n, T, dtype=torch.bool)
        valid[: n // 3, 1:] = False
        return torch.where(valid[..., None], chunks, -chunks), valid

    one, other = ways(learn(build(name), draws=cut_short))
    assert one > 0.2 and other > 0.2 and one + other > 0.6


@pytest.mark.parametrize("name", VARIANTS)
def test_guidance_one_is_the_conditional_and_zero_the_unconditional_policy(name):
    head = with_last_layers(build(name))
    told, untold = draw(3, TOKENS, WIDTH, seed=3), draw(3, TOKENS, WIDTH, seed=4)
    assert torch.equal(head.sample(told, seeded(), untold, 1.0), head.sample(told, seeded()))
    assert torch.allclose(head.sample(told, seeded(), untold, 0.0), head.sample(untold, seeded()), atol=1e-5)
    assert not torch.equal(head.sample(told, seeded()), head.sample(untold, seeded()))
    assert not torch.equal(head.sample(told, seeded(), untold, 3.0), head.sample(told, seeded()))


def test_guidance_is_a_straight_line_through_both_results():
    network = torch.nn.Linear(4, 3)
    told, untold, inputs = torch.zeros(2, 5, 1), torch.ones(2, 5, 1), draw(2, 4)
    guided = Guided.of(told, untold, 2.5)
    found = guided(lambda x: network(x) + guided.contexts.mean((1, 2))[:, None], inputs)
    assert torch.allclose(found, network(inputs) + 1 - 2.5, atol=1e-6)


# ---- regression and CVAE -----------------------------------------------------------------------


def test_regression_is_the_mean_absolute_error_of_valid_steps():
    head = RegressionConfig(**SMALL).build(SHAPE)  # its last layer begins at zero: it returns zeros
    actions = torch.tensor([[[1.0, -3.0], [0.5, 0.5], [9.0, 9.0]]])
    loss = head.loss(actions, torch.tensor([[True, True, False]]), draw(1, TOKENS, WIDTH), seeded())
    assert loss.item() == pytest.approx((2.0 + 0.5) / 2)


def test_the_divergence_of_a_style_is_that_of_two_gaussians():
    head = CvaeConfig(**SMALL, style=2, beta=1.0).build(SHAPE)
    head.encoder.out.bias.data = torch.tensor([0.3, -1.0, 0.2, -0.4])  # mean, log variance
    mean, deviation = torch.tensor([0.3, -1.0]), torch.tensor([0.2, -0.4]).mul(0.5).exp()
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, deviation), normal(0.0, 1.0)).sum()
    loss = head.loss(torch.zeros(1, T, D), torch.ones(1, T, dtype=torch.bool), draw(1, TOKENS, WIDTH), seeded())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)  # the decoder returns zeros: no L1


# ---- diffusion ---------------------------------------------------------------------------------


class KnownNoise(DiffusionHead):
    """Knows that there is one chunk, and so its noise and velocity."""

    target = 0.5 * torch.arange(T * D).float().unflatten(0, (T, D)) - 1

    def found(self, noisy, level, encoded):
        signal = self.signal[level, None, None]
        noise = (noisy - signal.sqrt() * self.target) / (1 - signal).sqrt()
        return noise if self.config.predicts == "noise" else signal.sqrt() * noise - (1 - signal).sqrt() * self.target


@pytest.mark.parametrize("predicts", ["velocity", "noise"])
@pytest.mark.parametrize("steps", [1, 3, 10])
def test_whoever_knows_the_noise_arrives_at_the_chunk_and_has_no_loss(steps, predicts):
    head = KnownNoise(DiffusionConfig(**SMALL, sample_steps=steps, predicts=predicts), SHAPE)
    sampled = head.denoise(draw(4, TOKENS, WIDTH), draw(4, T, D))
    assert torch.allclose(sampled, head.target.expand(4, T, D), atol=2e-3)
    valid = torch.ones(4, T, dtype=torch.bool)
    assert head.loss(head.target.expand(4, T, D), valid, draw(4, TOKENS, WIDTH), seeded()).max() < 1e-5


@pytest.mark.parametrize(("sampled", "levels"), [(20, [*range(19, -1, -1)]), (5, [19, 15, 11, 8, 4])])
def test_as_many_sampling_steps_as_levels_visit_each_once(sampled, levels):
    """As conf/policy/octo.yaml asks; fewer are spread evenly."""
    visited = []

    class Noting(KnownNoise):
        def found(self, noisy, level, encoded):
            visited.extend(level.unique().tolist())
            return super().found(noisy, level, encoded)

    Noting(DiffusionConfig(**SMALL, steps=20, sample_steps=sampled), SHAPE).denoise(
        draw(4, TOKENS, WIDTH), draw(4, T, D)
    )
    assert visited == levels


def test_the_schedule_is_the_published_one():
    """Nichol & Dhariwal 2021, eq. 17, divided by its value at 0; the last step is cut off."""
    steps = 50
    published = [math.cos((t / steps + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(steps + 1)]
    found = squared_cosine(steps)
    assert np.allclose(found[:-1], np.array(published[1:-1]) / published[0], rtol=1e-5)
    assert found[-1] / found[-2] == pytest.approx(0.001, rel=1e-3)


def test_more_sampling_steps_than_levels_are_one_line():
    with pytest.raises(UserError, match="policy.head.sample_steps=20, expected 1 to policy.head.steps, which is 10"):
        DiffusionConfig(steps=10, sample_steps=20)


# ---- consistency -------------------------------------------------------------------------------


def test_without_noise_a_chunk_is_returned_as_it_is():
    head = ConsistencyConfig(**SMALL).build(SHAPE)
    torch.nn.init.normal_(head.denoiser.network.out.weight)
    chunk, encoded = draw(4, T, D), head.denoiser.encode(draw(4, TOKENS, WIDTH))
    assert torch.allclose(head.clean(chunk, torch.zeros(4, dtype=torch.long), encoded), chunk, atol=1e-6)
    assert not torch.allclose(head.clean(chunk, torch.full((4,), 5), encoded), chunk, atol=0.1)


def test_noise_levels_reach_from_the_least_to_the_strongest():
    levels = noise_levels(9, 20.0)
    assert levels[0].item() == pytest.approx(LEAST_NOISE) and levels[-1].item() == pytest.approx(20.0, rel=1e-5)
    middle = ((LEAST_NOISE ** (1 / 7) + 20.0 ** (1 / 7)) / 2) ** 7  # Karras et al. 2022, eq. 5, i = 4 of 8
    assert levels[4].item() == pytest.approx(middle, rel=1e-4)


# ---- bins --------------------------------------------------------------------------------------


def test_bins_cut_evenly_between_the_quantiles():
    head = BinsConfig(**{**BINS, "bins": 10}).build(SHAPE)
    spread = torch.linspace(0, 1, 1001)[:, None, None] * torch.tensor([1.0, 4.0]).expand(1001, T, D)
    head.fit(spread, torch.ones(1001, T, dtype=torch.bool))
    assert torch.allclose(head.low, torch.tensor([0.01, 0.04])) and torch.allclose(
        head.high, torch.tensor([0.99, 3.96])
    )
    tokens = head.tokens(torch.tensor([[[0.0, 4.5], [0.5, 2.0], [0.109, 0.04]]]))
    assert tokens.tolist() == [[0, 9, 5, 5, 1, 0]]
    back = head.actions(torch.tensor([[0, 9, 5, 5, 1, 0]]))
    assert back[0, 0].tolist() == pytest.approx([0.01 + 0.049, 3.96 - 0.196])


def test_the_neighbours_of_a_bin_are_taught_as_a_gaussian():
    logits, tokens = draw(2, 3, 9), torch.tensor([[0, 4, 8], [3, 1, 6]])
    bins = np.arange(9)
    taught = norm.pdf(bins, loc=tokens[..., None].numpy(), scale=1.5)
    taught /= taught.sum(-1, keepdims=True)
    expected = -(taught * log_softmax(logits.numpy(), axis=-1)).sum(-1)
    assert np.allclose(smoothed_cross_entropy(logits, tokens, 1.5).numpy(), expected, atol=1e-5)
    assert torch.allclose(smoothed_cross_entropy(logits, tokens, 0.05), smoothed_cross_entropy(logits, tokens, 0.0))


def test_a_median_is_between_two_hills_of_which_neither_is_likeliest():
    """Half of the probability is on either side of it: of 0.4, 0, 0.15, 0.1, 0.35 the third."""
    likely = torch.tensor([[[0.4, 0.0, 0.15, 0.1, 0.35], [0.1, 0.9, 0.0, 0.0, 0.0]]])
    assert medians(Guided.of(likely, None, 1.0))(likely.log()).tolist() == [[2, 1]]


def test_bins_taught_smoothly_find_the_median_of_what_is_shown():
    """Of 0.2, 0.3 and 1.0 alike often the median is 0.3, the mean 0.5: what an L1 loss finds."""
    config = BinsConfig(**{**BINS, "bins": 64}, decoding="parallel", smoothing=1.0, choice="median")
    head = config.build(SHAPE)
    head.fit(*three_values(500, seeded(3)))
    learn(head, draws=three_values)
    sampled = head.sample(torch.ones(2, TOKENS, WIDTH), seeded())
    assert torch.equal(sampled[0], sampled[1])
    assert sampled.median().item() == pytest.approx(0.3, abs=0.05)


def test_distortion_of_tokens_that_nothing_reads_is_refused():
    with pytest.raises(UserError, match=r"distortion=0.5 policy.head.decoding=parallel"):
        BinsConfig(decoding="parallel", distortion=0.5)


def test_what_is_within_the_quantiles_comes_back_within_half_a_bin():
    head, actions = build("bins"), two_ways(200, seeded(8))
    inside = ((actions > head.low) & (actions < head.high)).all((1, 2))
    back = head.actions(head.tokens(actions))
    assert inside.any() and ((back - actions)[inside].abs() <= (head.high - head.low) / 64 + 1e-6).all()


# ---- the decoder -------------------------------------------------------------------------------


def decoder(length: int = 6) -> TokenDecoder:
    torch.manual_seed(0)
    return TokenDecoder(SHAPE, vocabulary=9, length=length, **TRANSFORMER).eval()


def test_a_token_sees_those_before_it_alone():
    model, context, tokens = decoder(), draw(2, TOKENS, WIDTH), torch.randint(9, (2, 6), generator=seeded())
    changed = tokens.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 9
    before, after = model(context, tokens), model(context, changed)
    assert before.shape == (2, 6, 9)
    assert torch.allclose(before[:, :4], after[:, :4], atol=1e-6) and not torch.allclose(before[:, 4:], after[:, 4:])


def test_tokens_are_read_wrong_in_every_share_up_to_the_largest():
    tokens = torch.full((4000, 50), 7)
    wrong = (distorted(tokens, 0.6, 100, seeded()) != tokens).float().mean(1)
    assert wrong.mean().item() == pytest.approx(0.3 * 0.99, abs=0.01)
    assert wrong.std().item() == pytest.approx(math.sqrt(0.6**2 / 12 + 0.3 / 50 - 0.12 / 50), abs=0.01)
    assert torch.equal(distorted(tokens, 0.0, 100, seeded()), tokens)


def follows_context(distortion: float) -> float:
    """Return how often a chunk that stands still where its context says, begun wrong, goes on where it says."""
    torch.manual_seed(0)
    head = BinsConfig(**{**BINS, "bins": 8}, distortion=distortion).build(SHAPE)
    contexts, places = draw(8, TOKENS, WIDTH), torch.linspace(-2.6, 2.6, 8)
    optimizer, generator = torch.optim.Adam(head.parameters(), 3e-3), seeded()
    for _ in range(300):
        drawn = torch.randint(8, (96,), generator=generator)
        chunks = places[drawn, None, None].expand(96, T, D)
        loss = head.loss(chunks, torch.ones(96, T, dtype=torch.bool), contexts[drawn], generator).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    true = torch.arange(8)[:, None].expand(8, T * D)
    begun_wrong = torch.cat([(true[:, :1] + 4) % 8, true[:, 1:]], 1)
    return (head.decoder(contexts, begun_wrong).argmax(-1)[:, 1] == true[:, 1]).float().mean().item()


def test_a_decoder_that_read_wrong_tokens_looks_at_the_context():
    assert follows_context(0.0) < 0.8 and follows_context(1.0) == 1.0


def test_writing_with_a_cache_is_reading_what_was_written():
    model, context = decoder(), draw(3, TOKENS, WIDTH)
    written = model.write(context, lambda logits: logits.argmax(-1))
    assert written.shape == (3, 6) and torch.equal(model(context, written).argmax(-1), written)


def test_writing_stops_when_all_have_ended():
    tokens = iter(torch.tensor([[1, 8], [8, 2], [3, 3], [4, 4], [5, 5], [6, 6]]))
    written = decoder().write(draw(2, TOKENS, WIDTH), lambda logits: next(tokens), end=8)
    assert written.tolist() == [[1, 8], [8, 2]]


# ---- FAST --------------------------------------------------------------------------------------


def test_the_cosine_transform_is_scipys():
    chunk = draw(16, 7).numpy()
    assert np.allclose(cosine_transform(16).numpy() @ chunk, dct(chunk, axis=0, norm="ortho"), atol=1e-5)
    assert np.allclose(cosine_transform(16).numpy().T @ chunk, idct(chunk, axis=0, norm="ortho"), atol=1e-5)


def smooth(n: int, generator: torch.Generator) -> torch.Tensor:
    """Chunks (n, 16, 7) of slow waves."""
    time = torch.linspace(0, 1, 16)[None, :, None]
    amplitude, phase = (torch.randn(n, 1, 7, generator=generator) for _ in range(2))
    return 0.5 * amplitude.clamp(-3, 3) * torch.sin(2 * time + phase)


def test_a_chunk_comes_back_from_its_tokens_within_the_rounding():
    head, chunks = FastConfig(scale=20.0).build(HeadShape(16, 7, TOKENS, WIDTH)), smooth(300, seeded())
    head.fit(chunks[:200], torch.ones(200, 16, dtype=torch.bool))
    tokens = head.tokens(chunks[200:])
    back = head.actions(tokens)
    assert torch.allclose(back, head.chunk(head.coefficients(chunks[200:])), atol=1e-6)  # byte pairs lose nothing
    rms = (back - chunks[200:]).square().mean().sqrt().item()
    assert rms < 0.5 / 20  # each of the orthonormal coefficients is off by at most so much
    lengths = (tokens != PAD).sum(1).float()
    assert lengths.mean() < 112 / 2  # the first 112 coefficients in fewer than half as many tokens


def test_low_frequencies_come_first_all_dimensions_together():
    head = FastConfig(**FAST).build(SHAPE)
    constant = torch.tensor([0.5, -1.0]).expand(1, T, D)
    found = head.coefficients(constant)[0] - 31
    assert found.tolist() == [round(10 * 0.5 * math.sqrt(3)), round(-10 * math.sqrt(3)), 0, 0, 0, 0]


def test_tokens_and_chunks_are_the_same_under_autocast():
    """As under optim.precision=bfloat16: what is taught is what is fit and written without."""
    head, chunks = FastConfig(scale=20.0).build(HeadShape(16, 7, TOKENS, WIDTH)), smooth(100, seeded())
    head.fit(chunks, torch.ones(100, 16, dtype=torch.bool))
    tokens = head.tokens(chunks)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head.tokens(chunks), tokens)
        back = head.actions(tokens)
    assert back.dtype == torch.float32 and torch.equal(back, head.actions(tokens))


def test_shares_of_a_batch_distort_their_tokens_as_the_whole_does():
    """One share's longest sequence is shorter than the other's."""
    head = with_last_layers(FastConfig(**FAST, distortion=1.0).build(SHAPE))
    still, noise = torch.zeros(4, T, D), draw(4, T, D)
    head.fit(still, torch.ones(4, T, dtype=torch.bool))
    assert head.tokens(still).shape[1] < head.tokens(noise).shape[1]
    batch = torch.cat([still, noise])

    def loss(actions: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, dict]:
        valid = torch.ones(actions.shape[:2], dtype=torch.bool)
        return head.loss(actions, valid, torch.ones(len(actions), TOKENS, WIDTH), generator), {}

    whole, _ = loss(batch, seeded())
    shares = [Share(i, 2).loss(loss)(part, seeded())[0] for i, part in enumerate((still, noise))]
    assert torch.allclose(torch.cat(shares), whole, atol=1e-5)


def test_shares_of_a_batch_draw_chunks_as_the_whole_does():
    """As of a teacher; one share's longest sequence is shorter than the other's."""
    torch.manual_seed(0)
    head, context, lengths = FastConfig(**FAST).build(SHAPE), torch.randn(8, TOKENS, WIDTH), []
    head.fit(smooth(40, seeded())[:, :T, :D], torch.ones(40, T, dtype=torch.bool))
    with torch.no_grad():
        head.decoder.out.bias[head.end] += 4.0
    actions = head.actions
    head.actions = lambda tokens: lengths.append(tokens.shape[1]) or actions(tokens)

    def drawn(context: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, dict]:
        return head.sample(context, generator), {"state": generator.get_state()}

    whole, after = drawn(context, seeded())
    shares = [Share(i, 2).loss(drawn)(part, seeded()) for i, part in enumerate(context.chunk(2))]
    assert lengths[1] != lengths[2]
    assert torch.equal(torch.cat([chunk for chunk, _ in shares]), whole)
    assert all(torch.equal(one["state"], after["state"]) for _, one in shares)


def test_a_sequence_too_short_has_no_higher_frequencies_and_one_too_long_is_cut():
    head = FastConfig(**FAST).build(SHAPE)
    short = head.actions(torch.tensor([[40, head.end, 7, 7, 7, 7, 7]]))
    assert torch.allclose(short[0], torch.tensor([0.9 / math.sqrt(3), 0.0]).expand(T, D), atol=1e-6)
    assert head.actions(torch.tensor([[31] * 7])).abs().max() == 0


def test_tokens_that_stand_for_nothing_are_never_written():
    """Few chunks teach few merges; the decoder would write anything as it knows nothing yet."""
    torch.manual_seed(0)
    head = FastConfig(scale=20.0).build(HeadShape(16, 7, TOKENS, WIDTH))
    head.fit(smooth(30, seeded()), torch.ones(30, 16, dtype=torch.bool))
    merged = int((head.merges[:, 0] != PAD).sum())
    assert merged < len(head.merges) / 2
    written = []
    head.actions = lambda tokens: written.append(tokens)
    head.sample(torch.randn(64, TOKENS, WIDTH), seeded(), torch.randn(64, TOKENS, WIDTH), 2.0)
    known = (written[0] < head.config.alphabet + merged) | (written[0] == head.end)
    assert known.all() and (written[0] >= head.config.alphabet).any()


def test_what_is_not_to_be_imitated_repeats_the_last_step_before_it():
    actions = torch.arange(4.0).reshape(1, 4, 1)
    assert held(actions, torch.tensor([[True, True, False, False]])).flatten().tolist() == [0, 1, 1, 1]
    assert held(actions, torch.tensor([[True, False, True, False]])).flatten().tolist() == [0, 0, 2, 2]


def test_a_vocabulary_smaller_than_the_coefficients_is_one_line():
    with pytest.raises(UserError, match="policy.head.vocabulary=20, expected 63 or more"):
        FastConfig(limit=31, vocabulary=20)


def test_byte_pairs_of_a_known_text():
    """abababaa: ab and ba are seen three times, and the smaller is taken; then cc of c = ab, twice; then none is."""
    merges = learn_merges(torch.tensor([[0, 1, 0, 1, 0, 1, 0, 0]]), alphabet=2, count=3)
    assert merges.tolist() == [[0, 1], [2, 2], [PAD, PAD]]
    assert encode(torch.tensor([[0, 0, 0, 0, 0]]), torch.tensor([[0, 0]]), 2).tolist() == [[2, 2, 0]]
    assert expand([3, 0], [[0, 1], [2, 2]], 2) == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("seed", range(5))
def test_byte_pairs_are_learned_as_the_tokenizers_package_learns_them(seed):
    letters = "abcd"
    rows = (draw(20, 12, seed=seed).abs() * 1.5).long().clamp(0, 3)
    oracle, pieces = Tokenizer(models.BPE()), list(letters)
    taught = trainers.BpeTrainer(vocab_size=14, min_frequency=2, initial_alphabet=list(letters), show_progress=False)
    oracle.train_from_iterator(["".join(letters[i] for i in row) for row in rows.tolist()], taught)
    found = []
    for left, right in learn_merges(rows, alphabet=4, count=10).tolist():
        found.append([pieces[left], pieces[right]])
        pieces.append("".join(found[-1]))
    assert found == [list(one) for one in json.loads(oracle.to_str())["model"]["merges"]]


def test_byte_pairs_are_read_as_the_tokenizers_package_reads_them():
    letters = "abcdef"
    rows = (draw(60, 30).abs() * 2.2).long().clamp(0, 5)
    merges = learn_merges(rows, alphabet=6, count=20)
    pieces = list(letters)
    for left, right in merges.tolist():
        pieces.append(pieces[left] + pieces[right])
    assert PAD not in merges and len(set(pieces)) == len(pieces)
    oracle = Tokenizer(
        models.BPE(
            {piece: i for i, piece in enumerate(pieces)},
            [(pieces[left], pieces[right]) for left, right in merges.tolist()],
        )
    )
    found = encode(rows, merges, 6)
    for row, tokens in zip(rows.tolist(), found.tolist(), strict=True):
        tokens = [token for token in tokens if token != PAD]
        assert tokens == oracle.encode("".join(letters[i] for i in row)).ids
        assert expand(tokens, merges.tolist(), 6) == row
    assert (found != PAD).sum() < 0.7 * rows.numel()
