"""Every registered part, tiny: it builds, learns, acts, embeds, and is the same after it was saved and loaded."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from learning import SPEC, TINY, TURNS, FakeTextConfig, FakeVisionConfig, about, random_batch, write_demos

from policies.core.indicator import Indicator
from policies.core.inputs import Batch
from policies.core.interface import PolicyConfig
from policies.core.parts import Head, HeadConfig, HeadShape
from policies.core.registry import FUSIONS, HEADS, LANGUAGE, POLICIES, VISION
from policies.core.spec import PolicySpec
from policies.fusion.grounded_points import GroundedPointsConfig
from policies.fusion.pretrained_fusion import save_fusion
from policies.models import checkpoint
from policies.processing.data import EpisodeTable, Source, TrainingData
from policies.processing.features import cache_folder
from policies.processing.observation import ObservationProcessor
from policies.training.fit import fit, new_policy
from policies.training.optim import OptimConfig
from sim.core.errors import UserError
from sim.core.provenance import plain
from sim.core.structured import typed

# Small sizes of the parts that have any; a part that is missing here is built at its own size.
TINY_FUSIONS = {
    "keypoints": TINY.fusion,
    "grounded_points": GroundedPointsConfig(width=16, finder=TINY.fusion),
    "true_points": FUSIONS.get("true_points")(width=16),
    "transformer": FUSIONS.get("transformer")(width=32, layers=1, readouts=2),
    "state_space": FUSIONS.get("state_space")(width=32, layers=1, readouts=2, memory=4),
    "affordance": FUSIONS.get("affordance")(width=32, channels=16),
    "cross_attention": FUSIONS.get("cross_attention")(width=32, layers=2, readouts=2),
}
FINDERS = {"eye"}  # give points and no tokens, for `grounded_points`; test_eye.py tests it
SMALL = {"hidden": 32, "blocks": 1}
TINY_HEADS = {
    "flow": TINY.head,
    "regression": HEADS.get("regression")(**SMALL),
    "diffusion": HEADS.get("diffusion")(**SMALL, steps=10, sample_steps=4),
    "consistency": HEADS.get("consistency")(**SMALL, levels=10),
    "cvae": HEADS.get("cvae")(**SMALL, style=4),
    "bins": HEADS.get("bins")(bins=16, width=32, layers=1),
    "fast": HEADS.get("fast")(scale=4.0, limit=31, vocabulary=80, width=32, layers=1),
}
WITHOUT_NOISE = {"regression", "cvae"}  # heads: one observation has one chunk


def tiny_policies() -> dict[str, PolicyConfig]:
    """Every fusion with one head, every head with one fusion, every other policy as it is."""
    made = {f"fusion {name}": dataclasses.replace(TINY, fusion=TINY_FUSIONS.get(name) or FUSIONS.get(name)())
            for name in sorted(set(FUSIONS.names()) - FINDERS)}  # fmt: skip
    made |= {f"head {name}": dataclasses.replace(TINY, head=TINY_HEADS.get(name) or HEADS.get(name)())
             for name in HEADS.names()}  # fmt: skip
    encoders = {"vision": FakeVisionConfig(), "language": FakeTextConfig()}
    for name in ("grounded_points", "true_points"):
        made[f"fusion {name}, sentence"] = dataclasses.replace(
            TINY, fusion=dataclasses.replace(TINY_FUSIONS[name], sentence=3)
        )
    made["fusion transformer, subtask"] = dataclasses.replace(
        TINY, fusion=dataclasses.replace(TINY_FUSIONS["transformer"], subtask=True)
    )
    made["fusion cross_attention, goal"] = dataclasses.replace(
        TINY, fusion=dataclasses.replace(TINY_FUSIONS["cross_attention"], goal=True)
    )
    made["memory"] = dataclasses.replace(TINY, memory=2)
    return made | {f"policy {name}": POLICIES.get(name)(**encoders) for name in POLICIES.names() if name != "vla"}


POLICY_CONFIGS = tiny_policies()


@pytest.fixture(params=POLICY_CONFIGS)
def config(request) -> PolicyConfig:
    return POLICY_CONFIGS[request.param]


@pytest.fixture
def policy(config):
    torch.manual_seed(0)
    return config.build(SPEC)


def batch_for(policy, size: int = 5, seed: int = 0) -> Batch:
    """Random samples as the policy's network takes them."""
    batch = random_batch(size, seed)
    given = dataclasses.replace(batch.inputs, points=batch.points if policy.needs.ground_truth else None)
    given.goal = tuple(one.flip(0) for one in given.maps["front"]) if policy.needs.goal else ()
    return dataclasses.replace(batch, inputs=policy.condense(given))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_policy_learns_a_batch_by_heart(policy):
    batch = batch_for(policy)
    policy.fit_normalization(batch.actions, batch.valid, batch.inputs.state, batch.points)
    trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    optimizer, noise, losses = torch.optim.Adam(trained, 3e-3), generator(), []
    for _ in range(120):
        loss, parts = policy.loss(batch, noise)
        assert all(value.isfinite() and not value.requires_grad for value in parts.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])


def test_a_policy_acts_reproducibly_by_its_generator(policy):
    inputs = batch_for(policy).inputs
    first, again, other = (policy.act(inputs, generator(seed)) for seed in (1, 1, 2))
    assert first.chunk.shape == (5, policy.config.chunk, SPEC.action_dim) and first.chunk.isfinite().all()
    assert torch.equal(first.chunk, again.chunk)
    assert torch.equal(first.chunk, other.chunk) == (policy.config.head.name in WITHOUT_NOISE)
    assert not first.chunk.requires_grad
    if first.points is not None:
        assert first.points.shape == (5, len(SPEC.points), 3)


def test_a_trained_policy_obeys_indicator_and_guidance(policy):
    inputs = batch_for(policy).inputs
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator()))
    told, untold = (policy.act(inputs, generator(), indicator) for indicator in (Indicator.NEGATIVE, Indicator.UNKNOWN))
    assert not torch.equal(told.chunk, untold.chunk)
    zero = policy.act(inputs, generator(), Indicator.NEGATIVE, guidance=0.0)
    assert torch.allclose(zero.chunk, untold.chunk, atol=1e-5)


def test_an_embedding_is_of_the_observation_alone(policy):
    inputs = batch_for(policy).inputs
    embedding = policy.embedding(inputs)
    assert embedding.shape[0] == 5 and embedding.ndim == 2 and embedding.isfinite().all()
    assert not torch.equal(embedding, policy.embedding(dataclasses.replace(inputs, state=inputs.state + 1)))


def test_a_policy_is_the_same_after_a_round_trip(policy, tmp_path):
    checkpoint.save(tmp_path, policy, about())
    loaded, _ = checkpoint.load(tmp_path)
    assert loaded.config == policy.config and loaded.spec == policy.spec
    inputs = batch_for(policy).inputs
    assert torch.equal(loaded.act(inputs, generator()).chunk, policy.eval().act(inputs, generator()).chunk)


def test_a_configuration_is_the_same_after_a_round_trip(config):
    assert typed(PolicyConfig, plain(config)) == config


def test_a_policy_is_trained_from_a_dataset(config, tmp_path):
    table = EpisodeTable(Source(write_demos(tmp_path / "demos", lengths=(6, 7))))
    policy = config.build(table.spec)
    data = TrainingData([table], ObservationProcessor(policy))
    trained = fit(policy, data, OptimConfig(steps=2, batch=4, threads=1), tmp_path / "out", about())
    assert trained.config == config and (tmp_path / "out" / checkpoint.WEIGHTS).is_file()


def test_every_encoder_has_a_test_of_its_own():
    """test_{vision,eye,text,hub,hub_vlm}.py test these; a new one gets a test and a name here."""
    assert set(VISION.names()) == {"efficientnet", "pixels", "hub_vision", "hub_vlm", "beside", "fake"}
    assert set(LANGUAGE.names()) == {"minilm", "word_pieces", "hub_text", "fake"}


# ---- parts that do not fit ---------------------------------------------------------------------


class MapHead(Head):
    """Needs something that no fusion gives."""

    needs = frozenset({"tokens", "affordances"})


@dataclass(frozen=True)
class MapHeadConfig(HeadConfig):
    name: str = "map"

    def build(self, shape: HeadShape) -> Head:
        return MapHead()


def test_a_head_whose_prefix_the_fusion_does_not_give_is_one_line():
    with pytest.raises(UserError, match="head 'map' needs affordances in the prefix, fusion 'keypoints' gives points"):
        dataclasses.replace(TINY, head=MapHeadConfig()).build(SPEC)


def test_a_fusion_without_its_encoders_is_one_line():
    with pytest.raises(UserError, match="fusion 'keypoints' needs a language part and a vision part"):
        dataclasses.replace(TINY, vision=None).build(SPEC)


def test_names_of_parts_are_checked_with_the_nearest():
    for values, message in (
        ({"name": "vlaa"}, "unknown policy 'vlaa'.*did you mean 'vla'"),
        ({"name": "vla", "head": {"name": "flwo"}}, "unknown head 'flwo'.*did you mean 'flow'"),
        ({"name": "vla", "fusion": {"name": "keypoints", "widht": 3}}, "'policy.fusion.widht'.*'policy.fusion.width'"),
        ({"chunk": 3}, "policy.name is missing, expected one of .*vla"),
    ):
        with pytest.raises(UserError, match=message):
            typed(PolicyConfig, values, "policy.")


# ---- frozen and true points --------------------------------------------------------------------


def pretrained(tmp_path, spec: PolicySpec = SPEC):
    """A fusion from pretraining, with random weights."""
    torch.manual_seed(5)
    fusion = TINY.fusion.build(spec, TINY.vision, TINY.language)
    save_fusion(tmp_path / "fusion", fusion.state_dict(), {"fusion": plain(TINY.fusion)})
    return tmp_path / "fusion", fusion


def test_frozen_points_are_computed_once_and_cached_in_a_few_bytes(tmp_path):
    root, fusion = pretrained(tmp_path)
    table = EpisodeTable(Source(write_demos(tmp_path / "demos")))
    config = dataclasses.replace(TINY, fusion=TINY_FUSIONS["grounded_points"])
    policy, _ = new_policy(config, [table], 0, root)
    processor = ObservationProcessor(policy)
    data = TrainingData([table], processor)
    batch = data.batch(0, np.arange(len(table.frame)))
    assert not batch.inputs.maps and batch.inputs.words is None
    cached = cache_folder(table.dataset.root) / processor.fingerprint
    assert sum(path.stat().st_size for path in cached.glob("*.rows")) == 4 * 3 * len(SPEC.points) * len(table.frame)

    direct = ObservationProcessor(TINY.build(SPEC))
    for episode in range(table.dataset.num_episodes):
        rows = np.flatnonzero(table.episode == episode)
        images = {camera: table.dataset.images(episode, camera) for camera in SPEC.cameras}
        seen = direct.inputs(images, table.state[rows], [table.dataset.instruction(episode)] * len(rows))
        with torch.no_grad():
            assert torch.allclose(batch.inputs.points[rows], fusion(seen).points, atol=1e-5)


def test_training_leaves_a_frozen_fusion_as_it_was(tmp_path):
    root, fusion = pretrained(tmp_path)
    table = EpisodeTable(Source(write_demos(tmp_path / "demos")))
    policy, _ = new_policy(dataclasses.replace(TINY, fusion=TINY_FUSIONS["grounded_points"]), [table], 0, root)
    data = TrainingData([table], ObservationProcessor(policy))
    trained = fit(policy, data, OptimConfig(steps=3, batch=4, threads=1), tmp_path / "out", about())
    kept = trained.fusion.finder.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in fusion.state_dict().items())


def test_what_finds_the_points_stays_in_evaluation_mode():
    policy = dataclasses.replace(TINY, fusion=TINY_FUSIONS["grounded_points"]).build(SPEC)
    for mode in (True, False):
        policy.train(mode)
        assert policy.head.training is mode
        assert not any(part.training for part in policy.fusion.finder.modules())


def test_other_frozen_weights_have_a_cache_of_their_own(tmp_path):
    policy = dataclasses.replace(TINY, fusion=TINY_FUSIONS["grounded_points"]).build(SPEC)
    before = ObservationProcessor(policy).fingerprint
    assert ObservationProcessor(policy).fingerprint == before != ObservationProcessor(TINY.build(SPEC)).fingerprint
    policy.fusion.finder.point_center.add_(1e-3)
    assert ObservationProcessor(policy).fingerprint != before


def test_a_frozen_fusion_needs_pretrained_weights(tmp_path):
    table = EpisodeTable(Source(write_demos(tmp_path / "demos", lengths=(5,))))
    with pytest.raises(UserError, match="init_fusion=null: this policy's fusion is frozen"):
        new_policy(dataclasses.replace(TINY, fusion=TINY_FUSIONS["grounded_points"]), [table], 0, None)


def test_true_points_look_at_no_image(tmp_path):
    table = EpisodeTable(Source(write_demos(tmp_path / "demos")))
    policy = dataclasses.replace(TINY, fusion=TINY_FUSIONS["true_points"]).build(table.spec)
    processor = ObservationProcessor(policy)
    assert processor.vision is None and processor.language is None and processor.cameras == ()
    batch = TrainingData([table], processor).batch(0, np.arange(6))
    assert not (cache_folder(table.dataset.root)).exists()
    assert np.array_equal(batch.inputs.points, table.truth[:6])
    assert np.array_equal(batch.inputs.turn, table.turn[:6])
    assert np.array_equal(table.turn[0], np.float32(TURNS))


@pytest.mark.parametrize("name", ["grounded_points", "true_points"])
def test_few_numbers_of_an_instruction_are_read_beside_points(name, tmp_path):
    table = EpisodeTable(Source(write_demos(tmp_path / "demos", lengths=(5, 5))))
    assert table.dataset.instruction(0) != table.dataset.instruction(1)
    policy = POLICY_CONFIGS[f"fusion {name}, sentence"].build(table.spec)
    batch = TrainingData([table], ObservationProcessor(policy)).batch(0, np.array([0, 1, 5]))
    for name in ("points", "state"):
        setattr(batch.inputs, name, getattr(batch.inputs, name)[[0, 0, 0]])
    tokens = policy.fusion(batch.inputs).tokens
    assert tokens.shape[1] == policy.fusion.prefix_tokens == 2
    torch.testing.assert_close(tokens[0], tokens[1])  # the same words, points and state
    torch.testing.assert_close(tokens[0, 0], tokens[2, 0])
    assert not torch.allclose(tokens[0, 1], tokens[2, 1])


def test_an_instruction_needs_a_language_part_to_be_read():
    config = dataclasses.replace(POLICY_CONFIGS["fusion true_points, sentence"], language=None)
    with pytest.raises(UserError, match="sentence=3 needs a language part; add policy.language.name=minilm"):
        config.build(SPEC)


def test_points_that_are_unknown_or_far_away_stay_finite():
    policy = dataclasses.replace(TINY, fusion=TINY_FUSIONS["true_points"]).build(SPEC)
    batch = batch_for(policy)
    batch.inputs.points[0, 0], batch.inputs.points[1] = torch.nan, 1e6
    assert policy.act(batch.inputs, generator()).chunk.isfinite().all()
