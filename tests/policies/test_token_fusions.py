"""Fusions over tokens: what may be seen of what, whatever the padding; what gradients and pretrained weights reach."""

import dataclasses
import json

import pytest
import torch
from learning import SPEC, TINY, about, random_batch

from policies.core.attention import Layer
from policies.core.inputs import Inputs
from policies.core.parts import Fusion
from policies.core.registry import FUSIONS
from policies.core.spec import PolicySpec
from policies.fusion import token_fusion
from policies.fusion.affordance import AffordanceMaps
from policies.fusion.grounded_points import GroundedPointsConfig, TruePointsConfig
from policies.fusion.keypoint_fusion import KeypointFusionConfig, grid
from policies.fusion.pretrained_fusion import CARD, save_fusion
from policies.fusion.state_space import selective_scan
from policies.fusion.token_fusion import ReadoutConfig, TokenFusionConfig
from policies.fusion.tokens import ImageCells, PixelCells, waves
from policies.language.word_pieces import WordPieces, WordPiecesConfig
from policies.models import checkpoint
from policies.processing.observation import ObservationProcessor
from policies.vision.pixels import PixelsConfig
from sim.core.errors import UserError
from sim.core.provenance import plain
from sim.robots.robot import RobotConfig

SMALL = {"width": 32, "layers": 2, "readouts": 3}
TOKEN_FUSIONS = {
    name: FUSIONS.get(name) for name in FUSIONS.names() if issubclass(FUSIONS.get(name), TokenFusionConfig)
}
VARIANTS = {name: made(**SMALL) for name, made in TOKEN_FUSIONS.items() if issubclass(made, ReadoutConfig)}
VARIANTS |= {name: made(width=32) for name, made in TOKEN_FUSIONS.items() if not issubclass(made, ReadoutConfig)}
VARIANTS |= {
    "transformer, causal": FUSIONS.get("transformer")(**SMALL, causal=True, reads=("words", "images", "state")),
    "cross_attention, goal": FUSIONS.get("cross_attention")(**SMALL, goal=True),
    "cross_attention, goal by words": FUSIONS.get("cross_attention")(**SMALL, goal=True, by_words=True),
    "transformer, subtask": FUSIONS.get("transformer")(**SMALL, subtask=True),
    "transformer, blind": FUSIONS.get("transformer")(**SMALL, reads=("words",)),
    "cross_attention, by words": FUSIONS.get("cross_attention")(**SMALL, by_words=True),
}


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def build(name: str) -> Fusion:
    torch.manual_seed(0)
    return VARIANTS[name].build(SPEC, TINY.vision, TINY.language).eval()


def changed(inputs: Inputs, **values) -> Inputs:
    return dataclasses.replace(inputs, **values)


@pytest.fixture
def inputs() -> Inputs:
    inputs = random_batch(4).inputs
    return changed(inputs, goal=tuple(one.flip(0) for one in inputs.maps["front"]))


@pytest.mark.parametrize("name", VARIANTS)
def test_what_lies_behind_the_last_word_changes_nothing(name, inputs):
    fusion, words = build(name), inputs.words.clone()
    words[:, 3:] = 7.0
    longer = changed(
        inputs,
        words=torch.cat([words, 9.0 + words], 1),
        word_mask=torch.cat([inputs.word_mask, torch.zeros_like(inputs.word_mask)], 1),
    )
    assert torch.allclose(fusion(inputs).tokens, fusion(longer).tokens, atol=1e-5)
    words = inputs.words.clone()
    words[:, 2] = 1.0
    assert not torch.allclose(fusion(inputs).tokens, fusion(changed(inputs, words=words)).tokens, atol=1e-3)


def test_words_alone_look_where_they_are_to(inputs):
    """Without words the images are not seen; by the learned tokens' own looks they are."""
    wordless = changed(inputs, word_mask=torch.zeros_like(inputs.word_mask))
    moved = changed(
        wordless, maps={camera: tuple(one.roll(1, -1) for one in maps) for camera, maps in inputs.maps.items()}
    )
    for name, seen in (("cross_attention, by words", False), ("cross_attention", True)):
        fusion = build(name)
        assert torch.allclose(fusion(wordless).tokens, fusion(moved).tokens, atol=1e-6) != seen


@pytest.mark.parametrize("name", VARIANTS)
def test_each_sample_is_read_alone(name, inputs):
    fusion = build(name)
    together, alone = fusion(inputs).tokens, fusion(inputs.take(torch.tensor([2]))).tokens
    assert torch.allclose(together[2:3], alone, atol=1e-5)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_thing_that_moved_in_one_image_is_seen(name, inputs):
    fusion = build(name)
    for camera in SPEC.cameras:
        moved = tuple(one.roll(1, -1) for one in inputs.maps[camera])
        seen = fusion(changed(inputs, maps=inputs.maps | {camera: moved})).tokens
        assert torch.allclose(seen, fusion(inputs).tokens, atol=1e-3) == name.endswith("blind")


@pytest.mark.parametrize("name", VARIANTS)
def test_a_goal_is_seen_where_one_is_shown(name, inputs):
    fusion = build(name)
    other = changed(inputs, goal=tuple(one.roll(1, -1) for one in inputs.goal))
    assert torch.allclose(fusion(other).tokens, fusion(inputs).tokens, atol=1e-3) == (not fusion.needs.goal)


@pytest.mark.parametrize("name", VARIANTS)
def test_actions_do_not_train_what_finds_the_points(name, inputs):
    fusion = build(name)
    fusion(inputs).tokens.square().sum().backward()
    assert all(parameter.grad is None for parameter in fusion.points.parameters())
    fusion(inputs).points.square().sum().backward()
    assert all(parameter.grad is not None for parameter in fusion.points.parameters())
    assert any(parameter.grad.abs().sum() > 0 for name, parameter in fusion.named_parameters() if "points" not in name)


def test_points_are_found_around_their_mean():
    fusion, points = build("transformer"), torch.randn(50, len(SPEC.points), 3)
    points[0, 0] = torch.nan
    fusion.fit_points(points)
    for layer in (fusion.points[-1].weight, fusion.points[-1].bias):
        torch.nn.init.zeros_(layer)
    assert torch.allclose(fusion(random_batch(2).inputs).points, points.nanmean(0).expand(2, -1, -1), atol=1e-6)


# ---- a finder ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["transformer", "cross_attention", "state_space", "affordance"])
def test_the_points_of_a_frozen_finder_stand_in_for_those_that_a_fusion_finds(name, inputs):
    torch.manual_seed(0)
    told = dataclasses.replace(VARIANTS[name], finder=KeypointFusionConfig()).build(SPEC, TINY.vision, TINY.language)
    assert told.requires_pretrained and told.prefix_tokens == build(name).prefix_tokens
    seen = told.condense(inputs)
    assert seen.maps is inputs.maps and seen.words is inputs.words
    assert torch.equal(seen.points, told.found.finder(inputs).points)
    prefix = told(seen)
    assert prefix.tokens.shape[1] == told.prefix_tokens
    moved = changed(seen, points=seen.points + 0.05)
    differs = (told(moved).tokens - prefix.tokens).abs().amax((0, 2)) > 1e-4
    assert differs.tolist() == [False] * (told.prefix_tokens - 1) + [True]  # it alone tells them
    assert torch.equal(prefix.points, seen.points) and not any("points" in key for key, _ in told.named_children())
    prefix.tokens.square().sum().backward()
    assert all(one.grad is None for one in told.found.finder.parameters())
    assert any(one.grad is not None for one in told.found.parameters())
    assert told.frozen_weights().keys() == told.found.finder.state_dict().keys()


def test_half_of_the_training_samples_are_told_what_the_finder_found_alone():
    config = dataclasses.replace(VARIANTS["transformer"], finder=KeypointFusionConfig(), subtask=True)
    told, tokens = config.build(SPEC, TINY.vision, TINY.language), torch.ones(400, 2 * 5, 32)  # two looks
    assert told.prefix_tokens == 5 and told.gathered == 3
    dropped = told.drop(tokens, torch.Generator().manual_seed(0))
    looks = dropped.unflatten(1, (2, 5))
    assert (looks[:, :, 3:] == 1).all()
    alone = looks[:, :, :3].flatten(1)
    assert ((alone == 0).all(1) | (alone == 1).all(1)).all()
    assert (alone == 0).all(1).float().mean().item() == pytest.approx(0.5, abs=0.1)
    for other in ({"insulated": True}, {"finder": None}):
        kept = dataclasses.replace(config, **other).build(SPEC, TINY.vision, TINY.language)
        assert kept.drop(tokens, torch.Generator()) is tokens


def test_points_that_a_frozen_finder_finds_are_told_of_and_no_part_of_the_loss():
    torch.manual_seed(0)
    fusion = dataclasses.replace(VARIANTS["transformer"], finder=KeypointFusionConfig())
    policy, batch = dataclasses.replace(TINY, fusion=fusion).build(SPEC), random_batch(4)
    total, parts = policy.loss(dataclasses.replace(batch, inputs=policy.condense(batch.inputs)), seeded())
    assert parts["grounding"] > 0 and torch.equal(total, parts["flow"])


def test_a_trunk_is_dropped_in_training_and_told_when_acting(monkeypatch):
    monkeypatch.setattr(token_fusion, "FINDER_ALONE", 1.0)
    torch.manual_seed(0)
    fusion = dataclasses.replace(VARIANTS["transformer"], finder=KeypointFusionConfig())
    policy, batch = dataclasses.replace(TINY, fusion=fusion).build(SPEC), random_batch(4)
    with torch.no_grad():
        policy.head.out.weight.normal_()  # zero at first: nothing would be handed back
    batch = dataclasses.replace(batch, inputs=policy.condense(batch.inputs))
    for loss, trains in ((policy.loss(batch, seeded())[0], False), (policy.losses(batch, seeded()).mean(), True)):
        policy.zero_grad()
        loss.backward()
        assert policy.fusion.readouts.grad.any().item() is trains


@pytest.mark.parametrize("name", ["transformer", "cross_attention", "state_space", "affordance"])
def test_actions_do_not_train_an_insulated_fusion(name):
    """The flow loss alone gives no gradient in what reads the inputs; ground truth does."""
    torch.manual_seed(0)
    fusion = dataclasses.replace(VARIANTS[name], insulated=True, subtask=True)
    policy = dataclasses.replace(TINY, fusion=fusion).build(SPEC)
    batch = random_batch(4)
    with torch.no_grad():
        policy.head.out.weight.normal_()  # zero at first: nothing would be handed back
    policy.losses(batch, torch.Generator().manual_seed(0)).mean().backward()

    def trained() -> set[str]:
        return {key for key, one in policy.named_parameters() if one.grad is not None and one.grad.any()}

    reads = {
        f"fusion.{key}" for key, _ in policy.fusion.named_parameters() if not key.startswith(("point_t", "subtask"))
    }
    assert any(key.startswith("head.") for key in trained()) and not trained() & reads
    points, subtask = (getattr(policy.fusion(batch.inputs), part) for part in ("points", "subtask"))
    (points.square().sum() + subtask.square().sum()).backward()
    assert trained() & reads


def test_an_insulated_fusion_that_nothing_teaches_is_refused():
    with pytest.raises(UserError, match=r"insulated and has a finder.*policy\.fusion\.subtask=true"):
        dataclasses.replace(VARIANTS["transformer"], insulated=True, finder=KeypointFusionConfig()).build(
            SPEC, TINY.vision, TINY.language
        )


def test_a_finder_is_what_pretrained_weights_are_loaded_into(tmp_path):
    told = dataclasses.replace(VARIANTS["transformer"], finder=KeypointFusionConfig())
    first, second = (told.build(SPEC, TINY.vision, TINY.language) for _ in range(2))
    save_fusion(tmp_path, first.found.finder.state_dict(), {"fusion": plain(told.finder)})
    second.load_pretrained(tmp_path)
    for name, value in first.frozen_weights().items():
        assert torch.equal(value, second.frozen_weights()[name])
    own = [fusion.readouts for fusion in (first, second)]
    assert not torch.equal(*own)


FINDS = {
    "grounded_points": lambda finder: GroundedPointsConfig(finder=finder),
    "transformer": lambda finder: dataclasses.replace(VARIANTS["transformer"], finder=finder),
}


@pytest.mark.parametrize("name", FINDS)
def test_a_finder_for_another_number_of_joints_is_refused_and_what_learns_to_read_them_begins(name, tmp_path, caplog):
    seven = PolicySpec.of(RobotConfig("franka").load(), SPEC.image_size)
    made = TINY.fusion.build(SPEC, TINY.vision, TINY.language)
    save_fusion(tmp_path, made.state_dict(), {"fusion": plain(TINY.fusion)})
    told = FINDS[name](TINY.fusion).build(seven, TINY.vision, TINY.language)
    with pytest.raises(UserError, match="another number of joints.*pretrain_grounding robot=NAME out=DIR, then init_"):
        told.load_pretrained(tmp_path)
    assert not caplog.text
    TINY.fusion.build(seven, TINY.vision, TINY.language).load_pretrained(tmp_path)
    assert "another number of joints: what reads the joints is learned anew" in caplog.text


@pytest.mark.parametrize("name", FINDS)
def test_a_finder_never_stays_random(name, tmp_path, caplog, monkeypatch):
    made = TINY.fusion.build(SPEC, TINY.vision, TINY.language)
    save_fusion(tmp_path, made.state_dict(), {"fusion": plain(TINY.fusion)})
    told = FINDS[name](VARIANTS["affordance"]).build(SPEC, TINY.vision, TINY.language)
    with pytest.raises(UserError, match="is of fusion 'keypoints', expected 'affordance'.*finder.name=keypoints"):
        told.load_pretrained(tmp_path)
    assert not caplog.text
    told = FINDS[name](TINY.fusion).build(SPEC, TINY.vision, TINY.language)
    monkeypatch.setattr(type(made), "load_pretrained", Fusion.load_pretrained)  # as of a plugin that has none
    with pytest.raises(UserError, match="has no weights for the finder"):
        told.load_pretrained(tmp_path)


@pytest.mark.parametrize("name", FINDS)
@pytest.mark.parametrize("finder", ["true_points", *FINDS])
def test_a_finder_that_finds_no_points_itself_is_one_line(name, finder):
    config = TruePointsConfig() if finder == "true_points" else FINDS[finder](TINY.fusion)
    with pytest.raises(UserError, match=f"finder.name={finder} finds no points by itself.*finder.name=keypoints"):
        FINDS[name](config).build(SPEC, TINY.vision, TINY.language)


def test_what_is_cached_of_a_finder_is_not_taken_for_its_points_alone():
    """One lays down maps and points, the other points; both with the same frozen weights."""
    torch.manual_seed(0)
    fusions = (dataclasses.replace(VARIANTS["transformer"], finder=KeypointFusionConfig()), GroundedPointsConfig())
    policies = [dataclasses.replace(TINY, fusion=fusion).build(SPEC) for fusion in fusions]
    policies[1].fusion.finder.load_state_dict(policies[0].fusion.found.finder.state_dict())
    frozen = [policy.frozen_weights() for policy in policies]
    assert all(torch.equal(value, frozen[1][name]) for name, value in frozen[0].items())
    assert len({ObservationProcessor(policy).fingerprint for policy in policies}) == 2


# ---- attention ---------------------------------------------------------------------------------


def test_a_mask_and_the_causal_flag_mean_what_torch_says():
    """Against torch's own layer with the same weights."""
    torch.manual_seed(0)
    layer, x = Layer(64), torch.randn(3, 5, 64)
    theirs = torch.nn.TransformerEncoderLayer(64, 2, 256, 0.0, "gelu", batch_first=True, norm_first=True)
    theirs.self_attn.in_proj_weight.data, theirs.self_attn.in_proj_bias.data = (
        layer.attention.weight,
        layer.attention.bias,
    )
    for ours, other in (
        (layer.mix, theirs.self_attn.out_proj), (layer.before, theirs.norm1), (layer.between, theirs.norm2),
        (layer.mlp[0], theirs.linear1), (layer.mlp[2], theirs.linear2),
    ):  # fmt: skip
        other.load_state_dict(ours.state_dict())
    absent = torch.tensor([[False] * 5, [False, True, False, False, True], [False] * 3 + [True] * 2])
    expected = theirs(x, src_key_padding_mask=absent)
    assert torch.allclose(layer(x, mask=~absent[:, None, None])[0], expected, atol=1e-5)
    later = torch.ones(5, 5).triu(1).bool()
    assert torch.allclose(layer(x)[0], theirs(x, src_mask=later), atol=1e-5)
    assert torch.allclose(layer(x, causal=False)[0], theirs(x), atol=1e-5)


def test_a_causal_prefix_does_not_tell_words_what_comes_later(inputs):
    """Seen through what the layers hand on: words first, so what they become is the same whatever the images show."""
    fusion, seen = build("transformer, causal"), []
    fusion.layers[-1].register_forward_hook(lambda layer, given, result: seen.append(result[0]))
    fusion(inputs)
    fusion(changed(inputs, maps={camera: tuple(one + 1 for one in maps) for camera, maps in inputs.maps.items()}))
    words = inputs.words.shape[1]
    assert torch.equal(seen[0][:, :words], seen[1][:, :words])
    assert not torch.allclose(seen[0][:, words:], seen[1][:, words:], atol=1e-3)


# ---- state space -------------------------------------------------------------------------------


def test_a_scan_is_what_its_recurrence_says():
    torch.manual_seed(0)
    x, decay = torch.randn(2, 7, 3, 4), -torch.rand(2, 7, 3)
    write, read = torch.randn(2, 7, 5), torch.randn(2, 7, 5)
    state, expected = torch.zeros(2, 3, 4, 5), []
    for t in range(7):
        new = torch.einsum("bhp,bs->bhps", x[:, t], write[:, t])
        state = decay[:, t].exp()[..., None, None] * state + new
        expected.append(torch.einsum("bhps,bs->bhp", state, read[:, t]))
    assert torch.allclose(selective_scan(x, decay, write, read), torch.stack(expected, 1), atol=1e-5)


def test_a_long_scan_that_forgets_fast_stays_finite_and_has_gradients():
    x, decay = torch.randn(1, 300, 2, 4, requires_grad=True), torch.full((1, 300, 2), -5.0, requires_grad=True)
    ones = torch.ones(1, 300, 3)
    found = selective_scan(x, decay, ones, ones)
    found.sum().backward()
    assert found.isfinite().all() and x.grad.isfinite().all() and decay.grad.isfinite().all()
    assert torch.allclose(found[:, -1], 3 * (x[:, -1] + torch.tensor(-5.0).exp() * x[:, -2]), atol=1e-3)


# ---- affordance --------------------------------------------------------------------------------


def test_the_place_that_suits_the_words_is_where_the_token_looks():
    """One cell of the fine map stands out; the scores' softmax finds its x and y, row by row as images are stored."""
    torch.manual_seed(0)
    maps = AffordanceMaps(FUSIONS.get("affordance")(width=32, channels=16), features=3)
    scores = torch.zeros(1, 2, 8 * 4)
    scores[0, 0, 5 * 4 + 1] = scores[0, 1, 2 * 4 + 3] = 50.0
    maps.token = torch.nn.Identity()
    found = maps.look(scores, torch.zeros(1, 32, 16), grid(torch.zeros(1, 3, 8, 4)))[0, :, 16:18]
    assert torch.allclose(found, torch.tensor([[-1 + 2 / 3, -1 + 10 / 7], [1.0, -1 + 4 / 7]]), atol=1e-5)


def test_other_words_score_the_same_places_otherwise():
    torch.manual_seed(0)
    maps, places = AffordanceMaps(FUSIONS.get("affordance")(channels=16), 8), torch.randn(1, 32, 16)
    one, other = (maps.score(places, torch.randn(1, 2, 16)) for _ in range(2))
    assert one.shape == (1, 2, 32)
    assert not torch.allclose(one - one.mean(-1, keepdim=True), other - other.mean(-1, keepdim=True), atol=1e-3)


# ---- cells -------------------------------------------------------------------------------------


def test_a_cell_holds_the_finer_cells_in_it_and_no_others():
    torch.manual_seed(0)
    cells, maps = ImageCells((3, 5), ("front",), 16), (torch.randn(1, 3, 8, 8), torch.randn(1, 5, 4, 4))
    assert cells.project.in_features == 4 * 3 + 5
    before = cells(Inputs(torch.zeros(1, 7), {"front": maps}))
    maps[0][:, :, 5, 2] += 1.0  # of cell row 2, column 1
    changed_cells = (cells(Inputs(torch.zeros(1, 7), {"front": maps})) - before).abs().sum(-1)[0].nonzero().flatten()
    assert changed_cells.tolist() == [2 * 4 + 1]


def test_cells_of_equal_content_differ_by_their_place_and_camera():
    cells = ImageCells((4,), ("front", "wrist"), 16)
    tokens = cells(Inputs(torch.zeros(1, 7), {name: (torch.ones(1, 4, 3, 3),) for name in ("front", "wrist")}))[0]
    distance = torch.cdist(tokens, tokens) + torch.eye(len(tokens))
    assert distance.min() > 1e-3


def test_waves_tell_places_apart():
    places = torch.cartesian_prod(torch.linspace(-1, 1, 9), torch.linspace(-1, 1, 9))
    assert (torch.cdist(waves(places), waves(places)) + 9 * torch.eye(81)).min() > 0.3


# ---- nothing pretrained ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", sorted(name for name, made in TOKEN_FUSIONS.items() if issubclass(made, ReadoutConfig))
)
def test_pixels_and_word_pieces_are_read_and_learned(name):
    torch.manual_seed(0)
    fusion = VARIANTS[name].build(SPEC, PixelsConfig(), WordPiecesConfig())
    words, mask = WordPieces(WordPiecesConfig()).encode(["put the red cube on the blue plate", "open the drawer"])
    images = {camera: (torch.randint(0, 256, (2, 64, 32, 3), dtype=torch.uint8),) for camera in SPEC.cameras}
    inputs = Inputs(torch.zeros(2, 7), images, torch.from_numpy(words), torch.from_numpy(mask))
    prefix = fusion(inputs)
    assert prefix.tokens.shape == (2, 4, 32) and prefix.tokens.isfinite().all()
    prefix.tokens.square().sum().backward()
    used = fusion.readers["words"].piece.weight.grad.abs().sum(1).nonzero().flatten()
    assert set(used.tolist()) <= set(words[mask].astype(int).ravel().tolist()) and len(used) > 8
    assert fusion.readers["images"].stem[0].weight.grad.abs().sum() > 0
    cached = {camera: (one.half().float(),) for camera, (one,) in images.items()}  # as the feature cache gives them
    assert torch.equal(fusion(changed(inputs, maps=cached)).tokens, prefix.tokens)


def test_a_cell_of_pixels_sees_its_place_and_those_beside_it():
    torch.manual_seed(0)
    cells, image = PixelCells(("front",), 32), torch.zeros(1, 64, 96, 3, dtype=torch.uint8)
    before = cells(Inputs(torch.zeros(1, 7), {"front": (image,)}))
    image[:, 38:42, 70:74] = 255  # the middle of cell row 2, column 4
    seen = (cells(Inputs(torch.zeros(1, 7), {"front": (image,)})) - before).abs().sum(-1)[0].unflatten(0, (4, 6)) > 0
    assert seen[1:4, 3:6].all() and seen.sum() == 9


@pytest.mark.parametrize(("name", "given"), [("keypoints", {}), ("affordance", {}), ("true_points", {"sentence": 4})])
def test_numbers_of_pieces_are_refused_by_who_needs_states_of_words(name, given):
    config = FUSIONS.get(name)(**given)
    with pytest.raises(UserError, match=f"language.name=word_pieces gives numbers.*fusion '{name}'.*minilm"):
        config.build(SPEC, TINY.vision, WordPiecesConfig())


def test_pixels_are_refused_by_who_needs_feature_maps():
    with pytest.raises(UserError, match="'affordance' needs feature maps; expected policy.vision.name=efficientnet"):
        VARIANTS["affordance"].build(SPEC, PixelsConfig(), TINY.language)


# ---- pretrained weights ------------------------------------------------------------------------


def test_pretrained_weights_are_loaded_into_the_same_configuration(tmp_path, inputs):
    made = build("transformer")
    save_fusion(tmp_path, made.state_dict(), {"fusion": plain(made.config), "made": "here"})
    torch.manual_seed(1)
    fresh = VARIANTS["transformer"].build(SPEC, TINY.vision, TINY.language)
    assert fresh.load_pretrained(tmp_path)["made"] == "here"
    assert torch.equal(fresh(inputs).points, made(inputs).points)


def test_pretrained_weights_of_another_fusion_are_left_alone(tmp_path, caplog):
    made, fresh = TINY.fusion.build(SPEC, TINY.vision, TINY.language), build("transformer")
    save_fusion(tmp_path, made.state_dict(), {"fusion": plain(made.config)})
    before = {name: value.clone() for name, value in fresh.state_dict().items()}
    assert fresh.load_pretrained(tmp_path) == {}
    assert "fusion 'transformer' begins with random weights" in caplog.text
    assert all(torch.equal(value, before[name]) for name, value in fresh.state_dict().items())


def test_pretrained_weights_of_other_sizes_or_cameras_are_one_line(tmp_path):
    made = build("transformer")
    save_fusion(tmp_path, made.state_dict(), {"fusion": plain(made.config)})
    with pytest.raises(UserError, match="was made for .*'readouts': 3.*init_fusion=null"):
        dataclasses.replace(made.config, readouts=4).build(SPEC, TINY.vision, TINY.language).load_pretrained(tmp_path)
    one_camera = dataclasses.replace(SPEC, cameras=SPEC.cameras[:1])
    with pytest.raises(UserError, match="another robot, cameras or encoders"):
        made.config.build(one_camera, TINY.vision, TINY.language).load_pretrained(tmp_path)
    (tmp_path / CARD).write_text(json.dumps({"fusion": {"name": "transfomer"}}))
    with pytest.raises(UserError, match="did you mean 'transformer'"):
        made.load_pretrained(tmp_path)


def slow_parts(policy) -> set[str]:
    """Return the parts of a policy that learn at `optim.pretrained_rate`, each of them as a whole."""
    slow = {id(parameter) for parameter in policy.pretrained_parameters()}
    learns = [(".".join(name.split(".")[:2]), id(one) in slow) for name, one in policy.named_parameters()]
    parts = {part for part, is_slow in learns if is_slow}
    assert all(is_slow == (part in parts) for part, is_slow in learns)
    return {part.removeprefix("fusion.") for part in parts}


READ = {"keypoints": {"encoders", "text"}, "transformer": {"readers", "layers", "readouts", "norm"}}


@pytest.mark.parametrize("name", READ)
def test_what_is_pretrained_and_reads_learns_slowly_and_nothing_that_begins_random(name, tmp_path):
    fusion = TINY.fusion if name == "keypoints" else VARIANTS[name]
    config = dataclasses.replace(TINY, fusion=fusion)
    made, pretrained, other = (config.build(SPEC) for _ in range(3))
    assert slow_parts(made) == set()
    save_fusion(tmp_path / "fusion", made.fusion.state_dict(), {"fusion": plain(fusion)})
    pretrained.load_pretrained(tmp_path / "fusion")
    assert slow_parts(pretrained) == READ[name]
    checkpoint.save(tmp_path / "policy", made, about())
    assert slow_parts(checkpoint.load(tmp_path / "policy")[0]) == READ[name]
    if name == "transformer":  # weights of another kind are left alone
        keypoints = TINY.build(SPEC).fusion
        save_fusion(tmp_path / "other", keypoints.state_dict(), {"fusion": plain(TINY.fusion)})
        other.load_pretrained(tmp_path / "other")
        assert slow_parts(other) == set()


def test_beside_a_frozen_finder_nothing_is_pretrained(tmp_path):
    made = dataclasses.replace(TINY, fusion=dataclasses.replace(VARIANTS["transformer"], finder=TINY.fusion))
    save_fusion(tmp_path, TINY.build(SPEC).fusion.state_dict(), {"fusion": plain(TINY.fusion)})
    policy = made.build(SPEC)
    policy.load_pretrained(tmp_path)
    assert slow_parts(policy) == set()


def test_a_missing_encoder_is_one_line():
    with pytest.raises(UserError, match="fusion 'transformer' needs a language part and a vision part"):
        VARIANTS["transformer"].build(SPEC, None, TINY.language)
